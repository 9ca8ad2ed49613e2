"""One run in detail: what was set, what it was made with, its files, and what can be done with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from ctbench_core.config import changed_keys
from ctbench_core.jobs import get_runner
from ctbench_core.runs import RESUMABLE, Run, open_run, read_json
from ctbench_core.words import to_command
from ctbench_ui import cache, feedback, form, live
from ctbench_ui.navigation import go
from ctbench_ui.style import state_badge

# What a clone does not take over: where the run lies.
_PLACE = ("paths.run_dir", "paths.output_dir", "paths.outputs_root", "paths.checkpoint_dir", "training.resume")


def draw(run_dir: Path) -> None:
    """Draw the card of a run."""
    with feedback.guarded("This run cannot be read"), st.container(border=True):
        run = open_run(run_dir)
        st.subheader(run.name, anchor=False)
        st.markdown(f"{state_badge(run.status.state)} `{run.paths.root}`")
        if run.status.error:
            feedback.problem("What happened", run.status.error)
        _actions(run)
        settings, curves, made = st.tabs(
            ["Settings", "Curves", "Provenance and files"], on_change="rerun", key="card-tabs"
        )
        if settings.open:
            with settings:
                _settings(run)
        if curves.open:
            with curves:
                live.curves_of(run, "card")
        if made.open:
            with made:
                _made(run)


def _actions(run: Run) -> None:
    with st.container(horizontal=True):
        if run.paths.final_model.is_file() and st.button(
            "Evaluate", icon=":material/query_stats:", key="card-evaluate", type="primary"
        ):
            go("evaluate", {"run": run.run_id})
        if run.status.state in RESUMABLE and st.button("Resume", icon=":material/resume:", key="card-resume"):
            get_runner().resume(run.paths.root)
            st.rerun()
        if st.button(
            "Clone", icon=":material/content_copy:", key="card-clone", help="Fill the Train form with these settings."
        ):
            form.fill_next(run.config, lambda key: not key.startswith(_PLACE))
            go("train")


def _settings(run: Run) -> None:
    st.caption("Only what differs from the defaults.")
    rows = [{"key": key, "value": str(value)} for key, value in changed_keys(run.config).items()]
    st.dataframe(pd.DataFrame(rows), hide_index=True, alt="Settings that differ from the defaults")
    st.code(to_command(run.config), language="bash", wrap_lines=True)


def _made(run: Run) -> None:
    content: dict[str, Any] = read_json(run.paths.provenance) or {}
    left, right = st.columns(2)
    with left:
        st.json(content, expanded=1)
    with right:
        files = [file for file in sorted(run.paths.root.rglob("*")) if file.is_file()]
        rows = [
            {"file": file.relative_to(run.paths.root).as_posix(), "KiB": cache.stamp(file)[2] / 1024} for file in files
        ]
        config = {"KiB": st.column_config.NumberColumn(format="%.1f")}
        st.dataframe(pd.DataFrame(rows), hide_index=True, column_config=config, alt="Files of the run")
