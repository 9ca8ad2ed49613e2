"""Which run the Train page shows: the one started here, kept in the address so that a refresh finds it again."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from ctbench_core.jobs import get_runner
from ctbench_ui import form
from ctbench_ui.pages import go
from ctbench_ui.shared import active_jobs, cache

_KEY = "train_run"


def choose(run_dir: Path) -> None:
    """Show a run from now on."""
    st.session_state[_KEY] = str(run_dir)
    st.query_params[_KEY] = run_dir.name


def chosen() -> Path | None:
    """Return the run to show: the chosen one, else the one at work, else none."""
    if _KEY in st.session_state:
        return Path(st.session_state[_KEY])
    wanted = st.query_params.get(_KEY)
    rows = cache.run_rows(str(form.outputs_root())) if wanted else []
    found = next((Path(row["run_dir"]) for row in rows if row["run_id"] == wanted), None)
    return found or get_runner().active()


def actions(run_dir: Path) -> None:
    """Draw what can be done with the shown run: stop it, or go on to its figures."""
    if active_jobs.is_active(run_dir):
        if st.button("Stop", icon=":material/stop:", key="stop", help="Keeps the best epoch so far."):
            active_jobs.stop(run_dir)
        return
    if st.button("Evaluate this run", icon=":material/query_stats:", key="to-evaluate"):
        go("evaluate", {"run": run_dir.name})
    st.button("Close", key="close", type="tertiary", on_click=_close)


def _close() -> None:
    st.session_state.pop(_KEY, None)
    st.query_params.pop(_KEY, None)
