"""Workers of a study or search: how many a new one gets, and what each of them does."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import streamlit as st

from ctbench_core.errors import CtbenchError
from ctbench_core.executors import ClusterOptions, has_dask, read_options, read_session, write_options
from ctbench_core.formatting import plural
from ctbench_core.studies import StudyPaths
from ctbench_ui.shared import as_text


def draw_field(key: str) -> None:
    """Draw how many processes of this machine a new study or search trains in."""
    can = has_dask()
    help_ = (
        "Processes of this machine that train, one a GPU where there are GPUs. 1: this server alone. Clusters: the command "
        "line's --cluster."
        if can
        else "More than one worker needs Dask: pip install 'ctbench[cluster]'"
    )
    st.number_input(
        "Workers",
        1,
        max(2, os.cpu_count() or 1),
        key=key,
        help=help_,
        disabled=not can,
        width=130,
        persist_state="session",
    )


def store_field(key: str, paths: StudyPaths) -> None:
    """Write the number that the field has into the folder of a study or search that is about to start."""
    workers = int(st.session_state.get(key) or 1)
    write_options(paths.root, ClusterOptions(workers if workers > 1 else 0))


def are_elsewhere(folder: Path) -> bool:
    """Whether workers train a study or search, so that it takes no place in this server's queue."""
    try:
        return not read_options(folder).is_here
    except CtbenchError:  # starting it says what is wrong
        return False


def show(folder: Path) -> None:
    """Draw the workers of a study at work: what each does, what was begun again, and the scheduler's pages."""
    session = read_session(folder)
    if session is None:
        return
    parts = [f"{plural(len(session.workers), 'worker')} of {session.wanted}"]
    retries = sum(session.retries.values())
    parts += [f"{plural(retries, 'bank')} begun again after a lost worker"] if retries else []
    with st.expander(" · ".join(parts), icon=":material/lan:", key="study-workers"):
        if session.workers:
            rows = [
                {
                    "Worker": as_text(worker.name),
                    "Host": as_text(worker.host),
                    "Process": str(worker.pid),
                    "Threads": worker.threads,
                    "GPU": worker.gpu or "–",
                    "Trains": worker.task or "–",
                    "Begun again": session.retries.get(worker.task, 0),
                }
                for worker in session.workers
            ]
            st.dataframe(pd.DataFrame(rows), hide_index=True, key="study-workers-table")
        if session.dashboard.startswith(("http://", "https://")):
            st.markdown(f"[Pages of the scheduler]({session.dashboard}), on the machine that leads the study.")
