"""Runs by label budget, as the Runs page groups them: figures and curve by budget, and two label sources set side by side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from ctbench_core.formatting import format_mean_sd, plural
from ctbench_core.legacy.aggregate import PRIMARY, budget_parts, by_budget_table, evaluate_runs, per_run_table
from ctbench_core.legacy.plots import TITLES, scaling_figure
from ctbench_core.runs import open_run
from ctbench_ui.runs import two_sources
from ctbench_ui.shared import charts, feedback, folders, tables

_DONE = "by-budget.done"


def draw(rows: pd.DataFrame) -> None:
    """Draw the view.

    Args:
        rows: rows of `cache.run_row`; the finished ones are taken.
    """
    finished = rows[rows["state"] == "finished"]
    if finished.empty:
        st.info("None of these runs has finished.", icon=":material/hourglass_empty:")
        return
    with feedback.guarded("These runs cannot be put together"):
        _evaluate(list(finished["run_dir"]))
        at = _key(finished)
        table = per_run(at)
        if table[list(PRIMARY)].isna().all(axis=None):
            st.info(
                "None of these runs has opened a test set. Open one for all of them above.", icon=":material/lock_open:"
            )
            return
        contents: dict[str, Any] = {
            "Budgets": lambda: _budgets(table),
            "Curve": lambda: _curve(table),
            "Two sources": lambda: two_sources.draw(table, at),
        }
        for tab, show in zip(st.tabs(list(contents), key="by-budget-tabs", on_change="rerun"), contents.values()):
            if tab.open:
                with tab, feedback.guarded("This cannot be shown"):
                    show()


def _key(rows: pd.DataFrame) -> str:
    """Return the runs and what their tests say: a table belongs to exactly these."""
    return json.dumps(list(zip(rows["run_dir"], rows["updated"], rows["tests"])))


@st.cache_data(max_entries=8, show_spinner="Reading the runs")
def per_run(key: str) -> pd.DataFrame:
    """Return the table of runs that `aggregate` writes.

    Args:
        key: JSON of the run directories, with what tells whether they have changed.
    """
    return per_run_table([open_run(run_dir) for run_dir, *_ in json.loads(key)])


def _evaluate(run_dirs: list[str]) -> None:
    """Open test sets for all runs that have not: their own, or other manifests."""
    if told := st.session_state.pop(_DONE, None):
        st.success(told, icon=":material/check:")
    with st.expander(
        f"Open test sets for {plural(len(run_dirs), 'run')}", icon=":material/lock_open:", key="by-budget"
    ):
        st.markdown(
            "Those that a run has opened already stay as they are. Every opening is written into `evaluations.jsonl`."
        )
        where, which = st.columns(2)
        with where:
            folder = st.text_input(
                "Manifest folder", key="by-budget.folder", placeholder="each run's own", persist_state="session"
            )
        near = Path(folder or st.session_state.get("paths.manifest_dir") or ".")
        with which:
            names = st.multiselect(
                "Manifests",
                folders.manifests(near),
                key="by-budget.tests",
                accept_new_options=True,
                placeholder="each run's own test sets",
            )
        if st.button("Open and evaluate", icon=":material/query_stats:", key="by-budget-evaluate"):
            with feedback.progress("Evaluating runs") as progress:
                runs = [open_run(run_dir) for run_dir in run_dirs]
                warnings = evaluate_runs(runs, names or None, folder or None, progress=progress)
            leaks = [text for text in warnings if "Leak" in text or "patients" in text]
            st.session_state[_DONE] = f"{plural(len(runs), 'run')} evaluated. {' '.join(leaks[:1])}".strip()
            st.rerun()


def _budgets(table: pd.DataFrame) -> None:
    by_budget = by_budget_table(table)
    parts = budget_parts(by_budget)
    shown = by_budget[parts].astype({"budget_n": "Int64"})
    for figure, title in TITLES.items():
        pairs = zip(by_budget[f"{figure}_mean"], by_budget[f"{figure}_std"])
        shown[title] = [format_mean_sd(mean, sd) for mean, sd in pairs]
    shown["runs"] = by_budget[f"{PRIMARY[0]}_count"]
    names = {"source": "Source", "budget_n": "Budget", "runs": "Runs", "encoder": "Encoder", "model": "Head"}
    st.dataframe(shown, hide_index=True, column_config=names, height="content", alt="Test figures by label budget")
    leaking = int((table["shared_patients"] > 0).sum())
    st.caption(
        "Mean ± standard deviation over runs, each the mean over its test sets. A run without a budget counts what it "
        "was trained and chosen on."
    )
    if leaking:
        st.markdown(feedback.leak_badge(int(table["shared_patients"].max())) + f" in {plural(leaking, 'run')}")
    with st.container(horizontal=True):
        tables.download("By budget (CSV)", by_budget, "by_budget.csv", "by-budget-csv")
        tables.download("By run (CSV)", table, "per_run.csv", "per-run-csv")


def _curve(table: pd.DataFrame) -> None:
    found = scaling_figure(by_budget_table(table))
    if found is None:
        st.caption("None of these runs tells its budget.")
        return
    st.plotly_chart(found, key="by-budget-curve", config=charts.CONFIG, alt="Test figures against the label budget")
    st.caption(
        "Mean ± standard deviation over runs. A study also fits curves and tells how many labels a figure takes."
    )
