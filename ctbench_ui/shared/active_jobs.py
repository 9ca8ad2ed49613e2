"""Runs that wait or are running, of this server or of other processes: how far they are, and Stop."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import streamlit as st

from ctbench_core.errors import CtbenchError
from ctbench_core.jobs import get_runner
from ctbench_core.runs import RunPaths, Status, active_runs, is_own, name_of, owner_of, read_status, remaining_seconds
from ctbench_core.studies import StudyPaths
from ctbench_ui import form
from ctbench_ui.shared import feedback
from ctbench_ui.shared.style import duration
from ctbench_ui.shared.text import as_text

EVERY_S = 1.0


def list_runs(stored: Iterable[Path] | None = None) -> list[Path]:
    """Return the active runs: the one running here, those queued here, then those of other processes.

    The files decide: between the queue and the worker, a run is for a moment in neither.

    Args:
        stored: the active runs of the store, where they are known already.
    """
    here = [folder for folder in _queue() if is_active(folder)]
    return list(
        dict.fromkeys([*here, *(active_runs(form.outputs_root(), is_quick=True) if stored is None else stored)])
    )


def list_jobs() -> list[Path]:
    """Return what a user started: active runs, and for those of a study or search its folder, once."""
    studies = [folder for folder in _queue() if is_study(folder)]
    own = [folder.parent if is_study(folder.parent) else folder for folder in list_runs()]
    return list(dict.fromkeys([*studies, *own]))


def list_alignments() -> list[Path]:
    """Return the active alignments, of whichever process."""
    statuses = [(folder, status_of(folder)) for folder in list_runs()]
    return [folder for folder, status in statuses if status is not None and status.kind == "align"]


def _queue() -> list[Path]:
    runner = get_runner()
    return [*runner.active(), *runner.queued()]


def is_study(folder: Path) -> bool:
    """Whether a folder is that of a study or a search."""
    return any((folder / name).is_file() for name in (StudyPaths(folder).plan.name, StudyPaths(folder).search.name))


def status_of(folder: Path) -> Status | None:
    """Return a run's status; None when its files are gone."""
    try:
        return read_status(RunPaths(folder).status)
    except CtbenchError:
        return None


def is_active(folder: Path) -> bool:
    """Whether a run waits or is running, by its files."""
    status = status_of(folder)
    return status is not None and status.active


def other_process(status: Status) -> str:
    """Name the process that has a run; empty when it is this one."""
    return "" if is_own(status) else owner_of(status)


def share_done(status: Status) -> float:
    """Return the share of a run's epochs that is done, 0 to 1."""
    return min(1.0, status.epoch / max(1, status.max_epochs))


def time_left(status: Status) -> str:
    """Write the longest time that is left: ``at most 3:20 left``; empty while it is unknown."""
    seconds = remaining_seconds(status)
    return "" if seconds is None else f"at most {duration(seconds)} left"


def stop(folder: Path) -> None:
    """Ask a run of any process to stop; its best checkpoint is kept."""
    status = status_of(folder)
    with feedback.show_errors("This run cannot be stopped"):
        get_runner().cancel(folder)
        if status is not None and (process := other_process(status)):
            st.toast(f"Asked {process} to stop this run.", icon=":material/pending:")


def draw_alignment(folder: Path) -> None:
    """Draw an alignment until it is finished: its progress with Stop, or why it ended."""
    status = status_of(folder)
    if status is None or status.state == "finished":
        return
    if status.active:
        with st.container(border=True, horizontal=True, vertical_alignment="center"):
            st.fragment(_draw_bar, run_every=EVERY_S)(str(folder))
            stopping = status.state == "cancelling"
            if st.button("Stop", icon=":material/stop:", key=f"stop-{folder.name}", disabled=stopping):
                stop(folder)
                st.rerun()
    elif status.state == "cancelled":
        st.caption(f"{as_text(name_of(folder, status))}: stopped. No result was kept.")
    else:
        feedback.show_error("The alignment failed", status.error or status.state)


def _draw_bar(folder: str) -> None:
    status = status_of(Path(folder))
    if status is None or not status.active:
        st.rerun(scope="app")
    phase = " · queued" if status.state == "queued" else " · reading features" if not status.epoch else ""
    st.progress(share_done(status), text=f"**{as_text(name_of(Path(folder), status))}**{phase}")
