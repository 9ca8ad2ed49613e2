"""Templates of the study form: save the present fields under a name, pick saved ones."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from ctbench_core.studies import Template, delete_template, read_templates, save_template
from ctbench_ui import form
from ctbench_ui.shared import as_text, show_error, show_errors


def draw(present: Callable[[], Template], apply: Callable[[str, Template], None]) -> None:
    """Draw the box of templates.

    Args:
        present: returns the fields as a template. apply: sets the fields from one with a name.
    """
    root = form.outputs_root()
    help_ = "Saved fields of this form, for everybody who uses this run store."
    with st.popover(
        "Templates", icon=":material/bookmark:", key="study-templates", help=help_, on_change="rerun"
    ) as box:
        if not box.open:
            return
        templates, damaged = read_templates(root)
        for name, template in templates.items():
            with st.container(horizontal=True, vertical_alignment="center", gap="small"):
                label = as_text(name)
                st.button(label, key=f"template-{name}", on_click=apply, args=(name, template), width="stretch")
                if st.button("Delete", key=f"template-delete-{name}", type="tertiary", icon=":material/close:"):
                    with show_errors("Not deleted"):
                        delete_template(root, name)
                        st.rerun()
        for name, reason in damaged.items():
            show_error(f"Template {name} is damaged", reason)
        if not templates and not damaged:
            st.caption("No templates yet.")
        with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
            name = st.text_input("Name", key="study-template-name", placeholder="five encoders")
            if st.button("Save template", key="template-save", disabled=not name):
                with show_errors("Not saved"):
                    save_template(root, name, present())
                    st.rerun()
