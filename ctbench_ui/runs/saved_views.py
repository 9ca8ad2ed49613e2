"""Saved views of the Runs page: query, view, grouping, order and columns under a name, in the run store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import streamlit as st

from ctbench_core.runs import delete_view, read_views, save_view
from ctbench_ui.frame import readonly
from ctbench_ui.shared import as_text, show_errors
from ctbench_ui.shared.controls import set_value

# Session keys that a view holds, all of them in the address too.
KEYS = ("runs.filter", "runs.view", "runs.group", "runs.order", "runs.columns")
_LOST = "runs.view-lost"
_RENAMED = {"By key": "By setting", "N ↑": "Volumes ↑", "N ↓": "Volumes ↓"}  # in views that were saved before


def draw(outputs_root: Path, known: Mapping[str, Sequence[str]]) -> None:
    """Draw the saved views, and the field that saves the present one.

    Args:
        known: the values that a key can have, where they are limited.
    """
    box = st.popover("Views", icon=":material/bookmark:", help="Saved queries, orders and columns.", key="runs-views")
    with box, show_errors("The saved views cannot be read"):
        views = read_views(outputs_root)
        for name, view in views.items():
            with st.container(horizontal=True, vertical_alignment="center", gap="small"):
                st.button(as_text(name), key=f"view-{name}", on_click=_apply, args=(view, known), width="stretch")
                if readonly.is_on():
                    continue
                if st.button("Delete", key=f"view-delete-{name}", type="tertiary", icon=":material/close:"):
                    delete_view(outputs_root, name)
                    st.rerun()
        if not views:
            st.caption("No saved views.")
        if not readonly.is_on():
            _draw_save(outputs_root)
    if lost := st.session_state.pop(_LOST, None):
        st.toast(
            f"This view asks for what is not there any more: {as_text(', '.join(lost))}.", icon=":material/warning:"
        )


def _draw_save(outputs_root: Path) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        name = st.text_input("Name", key="runs-view-name", placeholder="Table 2")
        help_ = "Saved for everybody who uses this run store."
        if st.button("Save view", key="view-save", disabled=not name, help=help_):
            save_view(outputs_root, name, _present())
            st.rerun()


def _present() -> dict[str, list[str]]:
    """Return the present values; a key that has its default is left out."""
    values = {key: st.session_state.get(key) for key in KEYS}
    return {key: value if isinstance(value, list) else [str(value)] for key, value in values.items() if value}


def _apply(view: Mapping[str, list[str]], known: Mapping[str, Sequence[str]]) -> None:
    lost = []
    for key in KEYS:
        values = [_RENAMED.get(value, value) for value in view.get(key, [])]
        kept = [value for value in values if key not in known or value in known[key]]
        lost += [value for value in values if value not in kept]
        if key == "runs.columns":
            if kept:
                set_value(key, kept)
            else:
                st.session_state.pop(key, None)
        elif kept or key == "runs.filter":
            set_value(key, kept[0] if kept else "")
        else:
            st.session_state.pop(key, None)
    if lost:
        st.session_state[_LOST] = lost
