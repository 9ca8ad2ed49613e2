"""The results of a study in tabs: curves, overview, findings, differences, bottlenecks, runs, export."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from ctbench_core.config import key_title
from ctbench_core.declared import interval_keys, macro_keys, metric_title, short_title
from ctbench_core.formatting import plural
from ctbench_core.inference import ELIGIBLE, MODELS_COLUMNS
from ctbench_core.report import DETECTABLE_TITLE, answer_sentences, interval_title
from ctbench_core.runs import VALIDATION, open_run
from ctbench_core.studies import (
    CUT_NOTE,
    FEWEST_SEEDS,
    VARIANCE_PARTS,
    StudyPaths,
    axis_title,
    bottlenecks,
    cell_axes,
    has_cut_parts,
    label_title,
    titled_sentences,
)
from ctbench_ui.frame import address, readonly
from ctbench_ui.pages import go
from ctbench_ui.shared import as_text, draw_tabs, exports, fragment, is_dark, run_actions, run_picker
from ctbench_ui.studies import progress, study_charts, study_files, study_tables
from ctbench_ui.studies.study_tables import BUDGET, Stamp, compared_macros, load_cells, load_plan, load_runs

# Up to so many runs the best are marked without asking; a table of 100 runs takes ten seconds.
_MARKED_AT_ONCE = 200
_NAME_WIDTH, _METRIC_WIDTH = 220, 96  # pixels of columns of the table of runs
_COMPARED_AT_ONCE = 6  # pairs that are compared without asking
_ROWS_SHOWN = 16  # of the overview; more are scrolled


def draw(folder: str) -> None:
    """Draw the tabs of a study's results."""
    at = study_tables.update_results(folder)
    with st.skeleton(height=420):  # a thousand runs are read once
        runs = load_runs(folder, at)
    if not len(runs):
        st.caption("Results appear when the first run has finished.")
        return
    _offer_intervals(folder, at)
    source = study_tables.source(folder, at)
    st.caption(source.note)
    if source.disclosures and source.disclosures.banner:
        st.warning(as_text(source.disclosures.banner), icon=":material/warning:")
    for text in titled_sentences(study_tables.edges(folder, at)):
        st.info(as_text(text), icon=":material/open_in_full:")
    tabs: dict[str, Callable[[str, Stamp], None]] = {
        "Curves": _curves,
        "Overview": _overview,
        "Findings": _findings,
        "Differences": _differences,
        "Bottlenecks": _bottlenecks,
        "Runs": _runs,
        "Export": _export,
    }
    if BUDGET not in cell_axes(load_plan(folder)):
        tabs.pop("Curves")
    contents = {
        title: lambda tab=tab: fragment(tab, "This table cannot be shown")(folder, at) for title, tab in tabs.items()
    }
    draw_tabs(contents, "study-tabs", error_title="These results cannot be shown")


def _offer_intervals(folder: str, at: Stamp) -> None:
    """Offer to compute the intervals of a finished study that lacks them: its process ended before."""
    paths = StudyPaths(Path(folder))
    unfinished = len(load_runs(folder, at)) < len(load_plan(folder).runs)
    if unfinished or progress.is_queued(paths) or readonly.is_on():
        return
    frame = load_cells(folder, at)
    lacking = frame["interval"].isna() & (frame["finding"] == "") & frame["metric"].isin(macro_keys())
    on_test = frame["set"].iloc[0] != VALIDATION  # intervals need a test's scores
    if on_test and lacking.any() and st.button("Compute intervals", icon=":material/functions:", key="study-intervals"):
        progress.start(paths)
        st.rerun(scope="app")


def _pick_metric(key: str) -> str:
    return str(
        st.segmented_control(
            "Metric",
            compared_macros(),
            default=compared_macros()[0],
            required=True,
            format_func=metric_title,
            **address.bound(key, compared_macros(), metric_title),
        )
    )


def _describe(frame: pd.DataFrame) -> str:
    """Write on which set the rows are, and how many runs a recipe has."""
    return f"On {as_text(frame['set'].iloc[0])}, up to {plural(int(frame['n'].max()), 'run')} per recipe."


def _curves(folder: str, at: Stamp) -> None:
    """Draw the scaling curves, the table of labels needed, and the crossings."""
    frame = load_cells(folder, at)
    with st.container(horizontal=True):
        metric = _pick_metric("curves-metric")
        known = set(frame["finding"])
        macros = ["", *([ELIGIBLE] if ELIGIBLE in known else [])]
        names, title = [*macros, *study_tables.sort_findings(known)], study_tables.finding_title
        finding = st.selectbox(
            "Finding", names, format_func=title, width=320, **address.bound("curves-finding", names, title)
        )
    points = study_tables.curve_points(folder, at, metric, finding or "")
    fits = study_tables.curve_fits(points)
    chart = study_charts.scaling_curves(points, fits, metric, "patients")
    source = study_tables.source(folder, at)
    alt = f"{metric_title(metric)} by label budget"
    numbers = points.drop(columns=["cell", "text"])
    event = exports.draw_chart(chart, numbers, source, "curves", alt, on_select="rerun", selection_mode="points")
    st.caption(
        f"{_describe(frame)} Bands: 95 %, over {_covers(points)}, budget by budget. Dotted: a fitted power law, as a guide. Select a point to list its runs."
    )
    for reason in dict.fromkeys(filter(None, points["reason"])):
        st.caption(f"No band: {as_text(reason)}.")
    _selected_runs(folder, at, event)
    if points["n"].nunique() > 1:
        _labels_needed(points, metric)
    crossings = study_tables.crossing_table(folder, at, metric, finding or "")
    if len(crossings):
        st.header("Crossings", anchor=False)
        st.dataframe(crossings, hide_index=True, placeholder="–", alt="Budgets at which recipes cross")
        st.caption(
            "Where the mean difference changes its sign, and the budgets at which its 95 % CI holds zero; straight lines "
            "on the log scale between budgets."
        )


def _covers(points: pd.DataFrame) -> str:
    """Write what the intervals of some points cover."""
    shortest, *longer = sorted(set(points["interval"].dropna()), key=len) or ["seeds and patients"]
    return f"{shortest} (only for these patients, where seeds share training patients)" if longer else shortest


def _selected_runs(folder: str, at: Stamp, event: Any) -> None:
    """Draw the runs of the selected points."""
    points = event.selection.points if event else []
    cells = [json.loads(point["customdata"][0]) for point in points if point.get("customdata")]
    if cells:
        axes, table = cell_axes(load_plan(folder)), load_runs(folder, at)
        labels = {tuple(map(str, cell)) for cell in cells}
        rows = [tuple(map(str, row)) in labels for row in table[axes].itertuples(index=False)]
        _run_table(folder, table[rows], "behind")


def _run_table(folder: str, runs: pd.DataFrame, key: str) -> None:
    """Draw runs to select one from, and a button that opens it."""
    settings = [name for name in runs.select_dtypes("float") if _metric_of(name) is None]
    axes = [axis for axis in load_plan(folder).study.axes() if axis in runs]
    names = run_picker.names_in(Path(folder))
    shown = runs.assign(**{axis: [label_title(axis, label) for label in runs[axis]] for axis in axes})
    shown["run"] = [names.get(run, run) for run in runs["run"]]
    columns = [name for name in runs if name not in ("bank", "extension")]
    if (budgets := study_tables.budget_titles(runs)) is not None:
        shown[BUDGET] = budgets
        columns.remove("n_patients")
    event = st.dataframe(
        exports.styled(shown).format("{:g}", subset=settings),
        hide_index=True,
        key=f"{key}-{hash(tuple(runs['run'])) & 0xFFFFFFFF:x}",
        on_select="rerun",
        selection_mode="single-row",
        height=min(420, 38 + 35 * len(runs)),
        lazy=False,
        # The name has the settings in which runs differ; so their metrics are next, where a phone shows them.
        column_order=sorted(columns, key=lambda name: name != "run" and _metric_of(name) is None),
        column_config={name: _run_column(name) for name in runs},
        alt="Runs of the study",
    )
    if rows := event.selection.rows:
        run = str(runs["run"].iloc[rows[0]])
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            if st.button(f"Open {as_text(names.get(run, run))}", icon=":material/query_stats:", key=f"{key}-open"):
                go("evaluate", {"run": run})
            run_actions.draw(open_run(Path(folder) / run), key)


def _metric_of(name: str) -> str | None:
    """Return the metric of a column of the table of runs, such as ``test_f1_macro``."""
    keys = sorted(interval_keys().values(), key=len, reverse=True)
    return next((one for one in keys if name.endswith(f"_{one}")), None)


def _run_heading(name: str) -> str:
    """Write a column of the table of runs as Runs does: ``Val. AUPRC``, ``Learning rate``."""
    if metric := _metric_of(name):
        where = name.removesuffix(f"_{metric}")
        return f"{'Val.' if where == VALIDATION else key_title(where)} {short_title(metric)}"
    return axis_title(name.removeprefix("n_"))


def _run_column(name: str) -> Any:
    """Return the column of the table of runs: what is wide there would push metrics out of a small window."""
    width: Any = _NAME_WIDTH if name == "run" else _METRIC_WIDTH if _metric_of(name) else None
    return st.column_config.Column(_run_heading(name), width=width)


def _labels_needed(points: pd.DataFrame, metric: str) -> None:
    st.header("Labels needed", anchor=False)
    highest = float(np.nanmax(points["mean"]))
    value = st.slider(
        f"{metric_title(metric)} to reach", 0.05, 0.99, round(highest * 0.95, 2), 0.01, key="needed", width=360
    )
    needed = study_tables.needed_table(points, value)
    st.dataframe(needed, hide_index=True, placeholder="–", alt="Labels each recipe needs")
    st.caption(
        "Patients: where the mean reaches the target. Range: the budgets whose 95 % CI holds the target; straight lines on "
        f"the log scale between budgets. Below {FEWEST_SEEDS} seeds or folds, the range over them instead."
    )


def _overview(folder: str, at: Stamp) -> None:
    frame = load_cells(folder, at)
    table = study_tables.overview_table(frame, cell_axes(load_plan(folder)))
    table, notes = study_tables.number_notes(table)
    height = 38 + 35 * min(len(table), _ROWS_SHOWN)
    alt = "Macro means of each recipe"
    patients = st.column_config.TextColumn(help="Of training and validation together, as a budget counts them.")
    columns = {"Patients": patients}
    st.dataframe(exports.styled(table), hide_index=True, height=height, placeholder="–", alt=alt, column_config=columns)
    _draw_notes(notes)
    folds = (
        " SD (folds) and SD (seeds): variation between folds and between seeds, by two-way analysis of variance; "
        "SD (rest): the remainder."
    )
    st.caption(
        f"{_describe(frame)} {_intervals(frame)}; {_parts(frame)}{folds if VARIANCE_PARTS[0] in frame else ''}"
        f"{study_tables.overview_note(frame)}"
    )
    exports.download(
        "Download recipes and findings as CSV", frame, "by_cell.csv", "cells-csv", study_tables.source(folder, at)
    )


def _intervals(frame: pd.DataFrame) -> str:
    """Write what the intervals of the overview are, or what is given in their place."""
    return f"95 % CI over {_covers(frame)}" if frame["lo"].notna().any() else interval_title(frame)


def _parts(frame: pd.DataFrame) -> str:
    """Write what the standard errors of the overview are."""
    if VARIANCE_PARTS[0] in frame:
        return (
            "it is that of the mean over folds, with a variance enlarged for shared training patients (Nadeau and "
            "Bengio). SE (patients): for these trained models."
        )
    return "its standard error (SE) has two parts, patients and seeds. Two seeds: their range."


def _findings(folder: str, at: Stamp) -> None:
    frame, axes = load_cells(folder, at), cell_axes(load_plan(folder))
    others = [axis for axis in axes if axis != study_tables.heat_axis(axes)]
    with st.container(horizontal=True):
        metric = _pick_metric("heat-metric")
        fixed = {
            axis: st.selectbox(
                axis_title(axis),
                list(dict.fromkeys(frame[axis]))[::-1],
                key=f"heat-{axis}",
                width=200,
                format_func=partial(label_title, axis),
            )
            for axis in others
        }
    mark_best = st.toggle(
        "Mark the best",
        len(load_runs(folder, at)) <= _MARKED_AT_ONCE,
        **address.bound("heat-marks"),
        help="Tests the best value of each row against the others.",
    )
    values, marked, unmarked = study_tables.heat_tables(folder, at, metric, fixed, mark_best)
    if not len(values):
        st.caption("No run has these values.")
        return
    if unmarked:
        st.caption(unmarked)
    chart = study_charts.heat_map(values, marked, metric, dark=is_dark())
    source = study_tables.source(folder, at)
    alt = f"{metric_title(metric)} of every finding by recipe"
    exports.draw_chart(chart, values.reset_index(), source, "heat", alt)
    st.caption(
        "★: best of the row, shown only where it beats all others (max-T over the joint errors of patients, seeds as a "
        "random sample; K-fold: corrected t test; adjusted over the findings by Benjamini-Hochberg)."
    )


def _differences(folder: str, at: Stamp) -> None:
    frame, axes = load_cells(folder, at), cell_axes(load_plan(folder))
    compared = [axis for axis in axes if frame[axis].nunique() > 1]
    if not compared:
        st.caption("This study has one recipe: nothing to compare.")
        return
    controls = st.container(horizontal=True)
    axis = controls.segmented_control(
        "Compare along",
        compared,
        default=compared[-1],
        required=True,
        format_func=axis_title,
        **address.bound("differences-axis", compared, axis_title),
    )
    if not _may_compare(folder, at, str(axis)):
        return
    table, source = study_tables.axis_differences(folder, at, str(axis)), study_tables.source(folder, at)
    with controls:
        metric = _pick_metric("differences-metric")
    rows = study_tables.macro_differences(table, axes, str(axis), metric)
    chart = study_charts.macro_forest(rows, metric)
    alt = f"Differences of {metric_title(metric)} along {axis_title(str(axis))}, with 95 % intervals"
    exports.draw_chart(chart, rows, source, "forest", alt)
    st.caption(
        f"{_describe_pairs(table)} Intervals are unadjusted. Filled: adjusted p below .05, in the family of "
        f"{plural(int(table['family'].max()), 'comparison')} (every pair, metric and finding of this table)."
    )
    shown, notes = study_tables.number_notes(study_tables.difference_table(table, axes, str(axis)))
    help_ = f"{DETECTABLE_TITLE}: the smallest difference that would show with it."
    st.dataframe(
        exports.styled(shown),
        hide_index=True,
        key="differences",
        placeholder="–",
        column_config={DETECTABLE_TITLE: st.column_config.Column("Detectable", help=help_)},
        alt="Differences of the pairs",
    )
    _draw_notes(notes)
    exports.download("Download differences as CSV", table, "differences.csv", "differences-csv", source)


def _may_compare(folder: str, at: Stamp, axis: str) -> bool:
    """Whether to compare the pairs along an axis: few at once, many when their button is pressed."""
    count = study_tables.count_missing(folder, at, axis)
    if count <= _COMPARED_AT_ONCE:
        return True
    pressed = st.button(f"Compare {plural(count, 'pair')}", icon=":material/functions:", key="differences-compare")
    if not pressed:
        st.caption("It takes a second or two per pair. The result is kept.")
    return pressed


def _draw_notes(texts: list[str]) -> None:
    """Draw the notes of a table below it, by their numbers."""
    if texts:
        st.caption("  \n".join(f"Note {number}: {as_text(text)}." for number, text in enumerate(texts, start=1)))


def _describe_pairs(table: pd.DataFrame) -> str:
    """Write what the answers of a table of differences hold for."""
    text = " ".join(answer_sentences(set(table["question"])))
    if MODELS_COLUMNS[0] in table:
        text += (
            " Means over folds, seeds averaged within each fold, with a variance enlarged for shared training patients "
            "(Nadeau and Bengio). The columns for these models say nothing of other training runs."
        )
    return text


def _bottlenecks(folder: str, at: Stamp) -> None:
    metric = _pick_metric("bottlenecks-metric")
    table = bottlenecks(load_cells(folder, at), cell_axes(load_plan(folder)), metric)
    shown = exports.styled(study_tables.bottleneck_table(table))
    st.dataframe(shown, hide_index=True, placeholder="–", alt="Weakest findings of each recipe")
    note = f" {CUT_NOTE}" if has_cut_parts(table) else ""
    st.caption(
        "Weakest first, at the largest budget of each recipe. Gain: change from the second-largest budget to the largest. If "
        f"SE (patients) is the larger, add test patients; if SE (seeds) is the larger, add seeds.{note}"
    )
    exports.download(
        "Download bottlenecks as CSV", table, "bottlenecks.csv", "bottlenecks-csv", study_tables.source(folder, at)
    )


def _runs(folder: str, at: Stamp) -> None:
    runs, plan = load_runs(folder, at), load_plan(folder)
    finished = len(runs)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="study-runs-filters"):
        for axis in plan.study.axes():
            labels = list(dict.fromkeys(runs[axis]))
            title = partial(label_title, axis)
            chosen = st.multiselect(
                axis_title(axis), labels, key=f"runs-{axis}", width=180, format_func=title, placeholder="All"
            )
            if chosen:
                runs = runs[runs[axis].isin(chosen)]
    if len(runs) < finished:
        st.caption(f"{len(runs):,} of {plural(finished, 'run')}")
    if len(runs):
        _run_table(folder, runs, "study-runs")


def _export(folder: str, at: Stamp) -> None:
    name, source = Path(folder).name, study_tables.source(folder, at)
    with st.container(horizontal=True):
        exports.download("Download runs as CSV", load_runs(folder, at), f"{name}-runs.csv", "export-runs", source)
        exports.download("Download recipes as CSV", load_cells(folder, at), f"{name}-cells.csv", "export-cells", source)
        _download("Download table as LaTeX", study_files.latex, folder, "tex")
        _download("Download report as HTML", study_files.html, folder, "html")
    st.caption(
        f"The report is one file with every chart and table. The study is stored in {as_text(StudyPaths(Path(folder)).root)}."
    )


def _download(label: str, write: Callable[[str], str], folder: str, ending: str) -> None:
    """Offer a file that is written on the click."""
    st.download_button(
        label,
        data=lambda: write(folder).encode("utf-8"),
        file_name=f"{Path(folder).name}.{ending}",
        key=f"export-{ending}",
        icon=":material/download:",
        on_click="ignore",
    )
