"""What is waiting or at work in the run store: runs of this server, and runs of other processes."""

from __future__ import annotations

import os
from pathlib import Path

import streamlit as st

from ctbench_core.errors import CtbenchError
from ctbench_core.jobs import active_runs, get_runner
from ctbench_core.runs import RunPaths, Status, read_status
from ctbench_core.studies import StudyPaths
from ctbench_ui import form
from ctbench_ui.shared import feedback


def folders() -> list[Path]:
    """Return the active runs: the one at work here, those that wait here, then those of other processes.

    The files decide: between the queue and the worker, a run is for a moment in neither.
    """
    runner = get_runner()
    here = [folder for folder in (runner.active(), *runner.queued()) if folder is not None]
    return list(dict.fromkeys([*(folder for folder in here if is_active(folder)), *active_runs(form.outputs_root())]))


def jobs() -> list[Path]:
    """Return what a person started: active runs, and for those of a study or search the folder of that, once."""
    runner = get_runner()
    studies = [folder for folder in (runner.active(), *runner.queued()) if folder is not None and is_study(folder)]
    own = [folder.parent if is_study(folder.parent) else folder for folder in folders()]
    return list(dict.fromkeys([*studies, *own]))


def is_study(folder: Path) -> bool:
    """Whether a folder is that of a study or a search."""
    return any((folder / name).is_file() for name in (StudyPaths(folder).plan.name, StudyPaths(folder).search.name))


def status_of(folder: Path) -> Status | None:
    """Return a run's status; None when its files have gone."""
    try:
        return read_status(RunPaths(folder).status)
    except CtbenchError:
        return None


def is_active(folder: Path) -> bool:
    """Whether a run waits or is at work, as its files tell."""
    status = status_of(folder)
    return status is not None and status.active


def place(status: Status) -> str:
    """Name the process that has a run; empty when it is this one."""
    return "" if status.pid == os.getpid() else f"process {status.pid} on {status.host}"


def stop(folder: Path) -> None:
    """Ask a run to stop, wherever it is; its best checkpoint is kept."""
    status = status_of(folder)
    with feedback.guarded("This run cannot be stopped"):
        get_runner().cancel(folder)
        if status is not None and (elsewhere := place(status)):
            st.toast(f"Asked {elsewhere} to stop this run.", icon=":material/pending:")
