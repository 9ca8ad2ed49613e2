"""Delete a run, and put it back."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from ctbench_core.runs import Run, delete_run, restore_run
from ctbench_ui import feedback, form

_LAST = "runs.deleted"


def delete(run: Run) -> None:
    """Move a run to the trash, and offer to put it back.

    Raises:
        InputError: the run is at work, or lies outside the run store.
    """
    st.session_state[_LAST] = (run.name, run.run_id, str(delete_run(form.outputs_root(), run)))


def offer_undo() -> None:
    """Offer to put the last deleted run back, until the offer is closed."""
    if _LAST not in st.session_state:
        return
    name, run_id, trashed = st.session_state[_LAST]
    with st.container(border=True, horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(f":material/delete: Deleted **{name}** :gray[{run_id}]", width="stretch")
        if st.button("Undo", icon=":material/undo:", key="undo", type="primary"):
            with feedback.guarded("The run cannot be put back"):
                restore_run(form.outputs_root(), Path(trashed))
                st.session_state.pop(_LAST)
                st.rerun()
        st.button("Close", key="undo-close", type="tertiary", on_click=lambda: st.session_state.pop(_LAST, None))
