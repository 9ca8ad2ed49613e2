"""Runs by label budget: metrics as a table and a curve, and the comparison of two label sources."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import streamlit as st

from ctbench_core.formatting import format_mean_sd, plural
from ctbench_core.legacy import (
    PRIMARY_METRICS,
    budget_keys,
    by_budget_table,
    evaluate_runs,
    per_run_table,
    scaling_figure,
)
from ctbench_core.runs import open_run
from ctbench_ui.frame import readonly
from ctbench_ui.runs import two_sources
from ctbench_ui.shared import cache, draw_tabs, exports, folders, leak_badge, progress_bar, show_errors
from ctbench_ui.shared.pictures import draw_plot

_DONE = "by-budget.done"


def draw(rows: pd.DataFrame) -> None:
    """Draw the view.

    Args:
        rows: rows of `cache.run_row`; only the finished ones count.
    """
    finished = rows[rows["state"] == "finished"]
    if finished.empty:
        st.info("None of these runs has finished.", icon=":material/hourglass_empty:")
        return
    with show_errors("These runs cannot be aggregated"):
        if not readonly.is_on():
            _evaluate(list(finished["run_dir"]))
        version = json.dumps(list(zip(finished["run_dir"], finished["updated"], finished["tests"])))
        table = per_run(version)
        if table[list(PRIMARY_METRICS)].isna().all(axis=None):
            advice = "" if readonly.is_on() else " Evaluate these runs on test above."
            st.info(f"No test results yet.{advice}", icon=":material/query_stats:")
            return
        contents = {
            "Budgets": lambda: _budgets(table),
            "Curve": lambda: _curve(table),
            "Two sources": lambda: two_sources.draw(table, version),
        }
        draw_tabs(contents, "by-budget-tabs", error_title="These results cannot be shown")


@cache.remember(max_entries=8, spinner="Reading the runs")
def per_run(version: str) -> pd.DataFrame:
    """Return the table of runs that `aggregate` writes.

    Args:
        version: JSON of each run directory, its time of change and its test results: a table belongs to exactly these.
    """
    return per_run_table([open_run(run_dir) for run_dir, *_ in json.loads(version)])


def _evaluate(run_dirs: list[str]) -> None:
    """Evaluate all runs on their own test sets, or on other manifests."""
    if message := st.session_state.pop(_DONE, None):
        st.success(message, icon=":material/check:")
    count = plural(len(run_dirs), "run")
    with st.expander(f"Evaluate {count} on test", icon=":material/query_stats:", key="by-budget"):
        st.markdown("Stored results stay as they are. Each evaluation is logged in `evaluations.jsonl`.")
        left, right = st.columns(2)
        folder = left.text_input(
            "Manifest folder", key="by-budget.folder", placeholder="each run's own", persist_state="session"
        )
        names = right.multiselect(
            "Manifests",
            folders.list_manifests(Path(folder or st.session_state.get("paths.manifest_dir") or ".")),
            key="by-budget.tests",
            accept_new_options=True,
            placeholder="each run's own test sets",
        )
        if st.button("Evaluate on test", key="by-budget-evaluate"):
            with progress_bar("Evaluating runs") as progress:
                runs = [open_run(run_dir) for run_dir in run_dirs]
                warnings = evaluate_runs(runs, names or None, folder or None, progress=progress)
            leaks = [text for text in warnings if "Leak" in text or "patients" in text]
            st.session_state[_DONE] = f"{plural(len(runs), 'run')} evaluated. {' '.join(leaks[:1])}".strip()
            st.rerun()


def _budgets(table: pd.DataFrame) -> None:
    by_budget = by_budget_table(table)
    shown = by_budget[budget_keys(by_budget)].astype({"budget_n": "Int64"})
    if "source" in shown and shown["source"].nunique() == 1:
        shown = shown.drop(columns="source")  # says nothing
    for metric, title in two_sources.TITLES.items():
        pairs = zip(by_budget[f"{metric}_mean"], by_budget[f"{metric}_std"])
        shown[f"Test {title}"] = [format_mean_sd(mean, sd) for mean, sd in pairs]
    shown["runs"] = by_budget[f"{PRIMARY_METRICS[0]}_count"]
    names = {"source": "Source", "budget_n": "Budget", "runs": "Runs", "encoder": "Encoder", "model": "Head"}
    names |= {"inputs": "Inputs", "settings": "Settings"}
    st.dataframe(shown, hide_index=True, column_config=names, height="content", alt="Test metrics by label budget")
    st.caption(
        "Mean ± SD over the runs of one recipe, which differ in seed, draw and fold alone; the test sets of a run are averaged first. For a run without a budget, Budget is the size of "
        "its training and validation sets together."
    )
    if leaking := int((table["shared_patients"] > 0).sum()):
        st.markdown(leak_badge(int(table["shared_patients"].max())) + f" in {plural(leaking, 'run')}")
    with st.container(horizontal=True):
        exports.download("Download budgets as CSV", by_budget, "by_budget.csv", "by-budget-csv")
        exports.download("Download runs as CSV", table, "per_run.csv", "per-run-csv")


def _curve(table: pd.DataFrame) -> None:
    figure = scaling_figure(by_budget_table(table))
    if figure is None:
        st.caption("None of these runs has a known budget.")
        return
    draw_plot(figure, "by-budget-curve", "by_budget", "Test metrics against the label budget")
    st.caption(
        "A line a recipe: mean ± SD over its runs. A study also fits curves and estimates the labels needed to reach a value."
    )
