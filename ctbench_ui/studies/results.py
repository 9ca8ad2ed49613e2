"""What a study says: scaling curves, labels needed, crossings, heat map, differences, bottlenecks, and every run behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from ctbench_core.formatting import plural
from ctbench_core.studies import METRICS, PARTS, VALIDATION, StudyPaths, bottlenecks, cell_axes
from ctbench_ui.shared import charts, feedback, tables
from ctbench_ui.shared.figures import with_note, with_note_below
from ctbench_ui.studies import curves, frames, plots, progress, report, run_tables

_MARKED_AT_ONCE = 200  # runs: up to so many, the best are marked unasked; a table of 100 runs takes ten seconds


def draw(folder: str) -> None:
    """Draw the tabs of a study's results."""
    at = frames.results_stamp(folder)
    with st.skeleton(height=420):  # a thousand runs are read once
        runs = frames.runs(folder, at)
    if not len(runs):
        st.caption("The first figures come when a run has finished.")
        return
    _complete(folder, at)
    source = frames.source(folder, at)
    st.caption(source.note)
    if source.marks and source.marks.banner:
        st.warning(source.marks.banner, icon=":material/warning:")
    axes = cell_axes(frames.plan_of(folder))
    contents: dict[str, Any] = {"Curves": curves.draw} if frames.BUDGET in axes else {}
    contents |= {
        "Overview": _overview,
        "Findings": _heat,
        "Differences": _differences,
        "Bottlenecks": _bottlenecks,
        "Runs": _runs,
        "Export": _export,
    }
    for tab, show in zip(st.tabs(list(contents), key="study-tabs", on_change="rerun"), contents.values()):
        if tab.open:
            with tab, feedback.guarded("This cannot be shown"):
                st.fragment(show)(folder, at)


def _complete(folder: str, at: frames.Stamp) -> None:
    """Offer the intervals of a finished study that lacks them: whoever trained it was ended before."""
    paths = StudyPaths(Path(folder))
    if len(frames.runs(folder, at)) < len(frames.plan_of(folder).runs) or progress.is_queued(paths):
        return
    frame = frames.cells(folder, at)
    lacking = frame["interval"].isna() & (frame["finding"] == "") & frame["metric"].isin(METRICS.values())
    judged_by_test = frame["set"].iloc[0] != VALIDATION  # intervals need a test's scores
    if (
        judged_by_test
        and lacking.any()
        and st.button("Work out the intervals", icon=":material/functions:", key="study-intervals")
    ):
        progress.start(paths)
        st.rerun(scope="app")


def _overview(folder: str, at: frames.Stamp) -> None:
    frame = frames.cells(folder, at)
    st.dataframe(run_tables.overview_frame(frame, cell_axes(frames.plan_of(folder))), hide_index=True)
    folds = (
        " sd, folds and sd, seeds: how far a figure moves from fold to fold and from seed to seed, by the two-way analysis of variance; rest: what neither explains."
        if PARTS[0] in frame
        else ""
    )
    st.caption(
        f"{run_tables.of_what(frame)} Interval: 95 % over seeds and test patients; the two parts of its standard error stand beside it.{folds}"
    )
    tables.download("Every cell and finding", frame, "by_cell.csv", "cells-csv", frames.source(folder, at))


def _heat(folder: str, at: frames.Stamp) -> None:
    left, right = st.columns([1, 3])
    with left:
        metric = run_tables.pick_metric("heat-metric")
    frame, axes = frames.cells(folder, at), cell_axes(frames.plan_of(folder))
    wide_on = run_tables.wide_axis(axes)
    with right:
        fixed = {
            axis: st.selectbox(axis, list(dict.fromkeys(frame[axis]))[::-1], key=f"heat-{axis}", width=200)
            for axis in axes
            if axis != wide_on
        }
    many = len(frames.runs(folder, at)) > _MARKED_AT_ONCE
    marks = st.toggle(
        "Mark the best", not many, key="heat-marks", help="Resamples patients for every run of the table."
    )
    values, marked = run_tables.heat_frames(folder, at, metric, wide_on, fixed, marks)
    if not len(values):
        st.caption("No cell has these labels.")
        return
    found = plots.heat_map(values, marked, metric)
    st.plotly_chart(with_note_below(found, frames.source(folder, at).plain_note), key="heat", config=charts.CONFIG)
    st.caption(
        "★ best of the row, marked only where it beats all others (max-T over paired resamples of patients, seeds as a random sample; adjusted over the findings by Benjamini-Hochberg)."
    )


def _differences(folder: str, at: frames.Stamp) -> None:
    frame, axes = frames.cells(folder, at), cell_axes(frames.plan_of(folder))
    several = [axis for axis in axes if frame[axis].nunique() > 1]
    if not several:
        st.caption("The study has one recipe: there is nothing to compare.")
        return
    axis = st.segmented_control("Compare along", several, default=several[-1], required=True, key="differences-axis")
    if not st.toggle(
        "Compare", key="differences-go", help="Resamples patients for every pair of values; a second or two each."
    ):
        return
    table = frames.compared(folder, at, str(axis))
    metric = run_tables.pick_metric("differences-metric")
    macros = run_tables.macro_differences(table, axes, str(axis), metric)
    found = plots.forest(macros, metric)
    st.plotly_chart(with_note(found, frames.source(folder, at).plain_note), key="forest", config=charts.CONFIG)
    st.caption(
        f"{_paired(table)} Intervals unadjusted; filled: adjusted p below .05 in the family of {plural(int(table['family'].max()), 'comparison')} (every pair, metric and finding of this table)."
    )
    shown = tables.with_p_values(table)
    st.dataframe(shown, hide_index=True, column_config=run_tables.shares(shown), alt="Differences of the pairs")
    tables.download("Differences", table, "differences.csv", "differences-csv", frames.source(folder, at))


def _paired(table: pd.DataFrame) -> str:
    """Say what a table of differences rests on."""
    if "note" not in table:
        return "Macro means, paired over seeds and patients."
    return (
        "Macro means of out-of-fold scores, averaged over seeds, paired over patients. The tests over folds "
        "(p_sign_flip, p_corrected_t) stand beside as sensitivity: folds share training patients, and five alone cannot "
        "reach p < .05."
    )


def _bottlenecks(folder: str, at: frames.Stamp) -> None:
    metric = run_tables.pick_metric("bottlenecks-metric")
    axes = cell_axes(frames.plan_of(folder))
    table = bottlenecks(frames.cells(folder, at), axes, metric)
    shown = run_tables.bottleneck_frame(table)
    st.dataframe(shown, hide_index=True, column_config=run_tables.shares(shown), alt="Weakest findings of each recipe")
    st.caption(
        "Weakest first, at the most labels of each recipe. Gain: what the last step of the budget brought. Where the error of patients is the larger, more test patients would help; where that of seeds is, more seeds."
    )
    tables.download("Bottlenecks", table, "bottlenecks.csv", "bottlenecks-csv", frames.source(folder, at))


def _runs(folder: str, at: frames.Stamp) -> None:
    table, plan = frames.runs(folder, at), frames.plan_of(folder)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        for axis in plan.study.axes():
            labels = list(dict.fromkeys(table[axis]))
            chosen = st.multiselect(axis, labels, key=f"runs-{axis}", width=180)
            if chosen:
                table = table[table[axis].isin(chosen)]
    st.caption(f"{len(table):,} of {len(plan.runs):,} runs")
    if len(table):
        run_tables.run_table(table, "study-runs")


def _export(folder: str, at: frames.Stamp) -> None:
    name, source = Path(folder).name, frames.source(folder, at)
    with st.container(horizontal=True):
        tables.download("Runs (CSV)", frames.runs(folder, at), f"{name}-runs.csv", "export-runs", source)
        tables.download("Cells (CSV)", frames.cells(folder, at), f"{name}-cells.csv", "export-cells", source)
        _make("Table (LaTeX)", report.latex, folder, "tex")
        _make("Report (HTML)", report.html, folder, "html")
    st.caption(
        f"The report is one file: every figure and table, no server needed. The study itself lies in {StudyPaths(Path(folder)).root}."
    )


def _make(label: str, make: Callable[[str], str], folder: str, ending: str) -> None:
    """Offer a file that is made when the user asks."""
    st.download_button(
        label,
        data=lambda: make(folder).encode("utf-8"),
        file_name=f"{Path(folder).name}.{ending}",
        key=f"export-{ending}",
        icon=":material/download:",
        on_click="ignore",
    )
