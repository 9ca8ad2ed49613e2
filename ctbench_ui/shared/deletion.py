"""What was deleted last, with Undo: runs, alignment results, studies."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from ctbench_core.runs import count_deleted_runs, for_each, restore
from ctbench_ui import form
from ctbench_ui.frame import readonly
from ctbench_ui.pages import page
from ctbench_ui.shared.feedback import show_warning
from ctbench_ui.shared.text import as_text

_DELETED, _REFUSED = "deleted", "deleted.refused"


def note(title: str, trashed: Sequence[Path]) -> None:
    """Remember what `offer_undo` restores.

    Args:
        title: what was deleted, as in ``run mlp 3`` or ``38 runs``. trashed: its places in the trash.
    """
    if trashed:
        st.session_state[_DELETED] = (title, [str(folder) for folder in trashed])


def offer_undo() -> None:
    """Offer to restore what was deleted last, until the offer is closed; pages where something is deleted draw it."""
    with st.container():  # what follows keeps its place
        for name, reason in st.session_state.pop(_REFUSED, {}).items():
            show_warning(f"{name} was not restored", reason)
        if _DELETED in st.session_state and not readonly.is_on():
            _draw_offer(st.session_state[_DELETED][0])


def link_to_deleted() -> None:
    """Draw how many runs were deleted, as a link to where they are restored; nothing without any."""
    if readonly.is_on():
        return
    if count := count_deleted_runs(form.outputs_root()):
        st.page_link(
            page("system"),
            label=f"{count:,} deleted",
            icon=":material/delete:",
            help="Restore them on System.",
            width="content",
            query_params={"system.open": "deleted"},
        )


def _draw_offer(title: str) -> None:
    with st.container(border=True, horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(
            f":material/delete: Deleted **{as_text(title)}**. Undo now, or later under *Deleted* on System.",
            width="stretch",
        )
        st.button("Undo", icon=":material/undo:", key="undo", type="primary", on_click=_undo)
        st.button("Close", key="undo-close", type="tertiary", on_click=_close)


def _undo() -> None:
    title, trashed = st.session_state.pop(_DELETED)
    result = for_each(trashed, lambda folder: restore(form.outputs_root(), folder))
    note(title, [Path(folder) for folder in trashed if Path(folder).name in result.refused])
    st.session_state[_REFUSED] = result.refused
    if result.done:
        st.toast(f"Restored {as_text(title)}", icon=":material/check:")


def _close() -> None:
    st.session_state.pop(_DELETED, None)
