"""An alignment that waits or is at work: how far it is, and Stop; or why it came to nothing."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from ctbench_ui.frame import status_bar
from ctbench_ui.shared import active_jobs, feedback

EVERY_S = 1.0


def going() -> list[Path]:
    """Return the alignments that wait or are at work, whichever process has them."""
    found = [(folder, active_jobs.status_of(folder)) for folder in active_jobs.folders()]
    return [folder for folder, status in found if status is not None and status.kind == "align"]


def draw(folder: Path) -> None:
    """Draw one alignment until it is finished."""
    status = active_jobs.status_of(folder)
    if status is None or status.state == "finished":
        return
    if status.active:
        with st.container(border=True, horizontal=True, vertical_alignment="center"):
            st.fragment(_bar, run_every=EVERY_S)(str(folder))
            stopping = status.state == "cancelling"
            if st.button("Stop", icon=":material/stop:", key=f"stop-{folder.name}", disabled=stopping):
                active_jobs.stop(folder)
                st.rerun()
    elif status.state == "cancelled":
        st.caption(f"{status.label}: stopped, nothing of it was kept.")
    else:
        feedback.problem("Alignment cannot be measured", status.error or status.state)


def _bar(folder: str) -> None:
    status = active_jobs.status_of(Path(folder))
    if status is None or not status.active:
        st.rerun(scope="app")
    waits = " · waits its turn" if status.state == "queued" else " · reading features" if not status.epoch else ""
    st.progress(status_bar.share(status), text=f"**{status.label}**{waits}")
