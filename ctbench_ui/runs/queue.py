"""The queue: the running job with its curves, and the waiting ones in order."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import streamlit as st

from ctbench_core.jobs import get_runner
from ctbench_core.runs import Status, name_of
from ctbench_ui.shared import active_jobs, as_text, live, state_badge


def draw(run_dirs: Iterable[str]) -> None:
    """Draw what runs, with Stop, and what waits, with Up and Remove.

    Args:
        run_dirs: those of the active runs of the store, oldest first.
    """
    folders = active_jobs.list_runs(map(Path, run_dirs))
    jobs = [(folder, status) for folder in folders if (status := active_jobs.status_of(folder))]
    for place, (folder, status) in enumerate([job for job in jobs if job[1].state != "queued"]):
        if status.kind == "align":
            active_jobs.draw_alignment(folder)
            continue
        with st.container(border=True):
            _header(folder, status, titled=place > 0)
            if place == 0:
                live.draw_run(folder, "runs-live")
    if waiting := [job for job in jobs if job[1].state == "queued"]:
        with st.container(border=True, gap="small"):
            _waiting(waiting)


def _header(folder: Path, status: Status, titled: bool) -> None:
    """Draw the name of a running job and its Stop button."""
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        elsewhere = active_jobs.other_process(status)
        title = f"{state_badge(status.state)} **{as_text(name_of(folder, status))}**" if titled else "**Running**"
        st.markdown(title + (f" :gray[in {elsewhere}]" if elsewhere else "") + _by(status))
        key = f"stop-{_key(folder)}" if titled or elsewhere else "stop"
        hint = "Keeps the best epoch so far. Resume continues from here."
        if st.button("Stop", icon=":material/stop:", key=key, help=hint, disabled=status.state == "cancelling"):
            active_jobs.stop(folder)
            st.rerun()


def _by(status: Status) -> str:
    """Return who started a run, where users sign in."""
    return f" :gray[by {as_text(status.started_by)}]" if status.started_by else ""


def _key(folder: Path) -> str:
    """Return a name for a run's buttons; a folder that was copied has the same name in another job."""
    alike = [other for other in active_jobs.list_runs() if other.name == folder.name]
    return folder.name if alike[:1] in ([], [folder]) else f"{folder.parent.name}-{folder.name}"


def _waiting(jobs: list[tuple[Path, Status]]) -> None:
    movable = get_runner().queued()[1:]
    for place, (folder, status) in enumerate(jobs, start=1):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            elsewhere = active_jobs.other_process(status)
            where = f"in {elsewhere}" if elsewhere else "next" if place == 1 else "waiting"
            st.markdown(
                f":material/schedule: **{as_text(name_of(folder, status))}** :gray[{as_text(folder.name)} · {where}]{_by(status)}",
                width="stretch",
            )
            if st.button(
                "Move up",
                icon=":material/arrow_upward:",
                key=f"up-{_key(folder)}",
                disabled=folder not in movable,
                help="Starts before the run above.",
            ):
                get_runner().move_up(folder)
                st.rerun()
            if st.button("Remove", icon=":material/close:", key=f"remove-{_key(folder)}"):
                active_jobs.stop(folder)
                st.rerun()
