"""The queue: the run at work with its curves, and those that wait, in order."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from ctbench_core.jobs import get_runner
from ctbench_core.runs import Status
from ctbench_ui.shared import active_jobs, alignment_progress, live
from ctbench_ui.shared.style import state_badge


def draw() -> None:
    """Draw what is at work, with Stop, and what waits, with Up and Remove."""
    going = [
        (folder, status) for folder in active_jobs.folders() if (status := active_jobs.status_of(folder)) is not None
    ]
    busy = [(folder, status) for folder, status in going if status.state != "queued"]
    waiting = [(folder, status) for folder, status in going if status.state == "queued"]
    for place, (folder, status) in enumerate(busy):
        if status.kind == "align":
            alignment_progress.draw(folder)
            continue
        with st.container(border=True):
            _stop(folder, status, titled=place > 0)
            if place == 0:
                live.draw(folder, "runs-live")
    if waiting:
        with st.container(border=True, gap="small"):
            _waiting(waiting)


def _stop(folder: Path, status: Status, titled: bool) -> None:
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        elsewhere = active_jobs.place(status)
        title = f"{state_badge(status.state)} **{status.label}**" if titled else "**At work**"
        st.markdown(f"{title} :gray[in {elsewhere}]" if elsewhere else title)
        key = "stop" if not elsewhere else f"stop-{folder.name}"
        said = "Keeps the best epoch so far; Resume goes on from where it stopped."
        if st.button("Stop", icon=":material/stop:", key=key, help=said, disabled=status.state == "cancelling"):
            active_jobs.stop(folder)
            st.rerun()


def _waiting(waiting: list[tuple[Path, Status]]) -> None:
    movable = get_runner().queued()
    for place, (folder, status) in enumerate(waiting, start=1):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            elsewhere = active_jobs.place(status)
            said = f"in {elsewhere}" if elsewhere else "next" if place == 1 else "waiting"
            st.markdown(f":material/schedule: **{status.label}** :gray[{folder.name} · {said}]", width="stretch")
            if st.button(
                "Up",
                icon=":material/arrow_upward:",
                key=f"up-{folder.name}",
                disabled=folder not in movable[1:],
                help="Train it before the one above.",
            ):
                get_runner().move_up(folder)
                st.rerun()
            if st.button("Remove", icon=":material/close:", key=f"remove-{folder.name}"):
                active_jobs.stop(folder)
                st.rerun()
