"""Tables of a study that its page and its report show, cached until its files change."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from ctbench_core.config import Config
from ctbench_core.declared import METRICS, compared_metrics, metric_title
from ctbench_core.errors import InputError
from ctbench_core.formatting import format_interval, plural
from ctbench_core.runs import LEDGER
from ctbench_core.studies import (
    VARIANCE_PARTS,
    Curve,
    Plan,
    StudyPaths,
    best_of,
    cell_axes,
    cell_frame,
    differences,
    find_crossing,
    fit_curve,
    labels_needed,
    load_recipes,
    read_plan,
    read_results,
    run_table,
    study_disclosures,
)
from ctbench_ui.shared import FINDINGS, cache, exports
from ctbench_ui.studies.study_charts import key_title

Stamp = cache.Stamp
BUDGET = "budget"
_BOTTLENECKS = {
    "finding": "Finding",
    "mean": "Mean",
    "ci": "95 % CI",
    "sd": "SD over seeds",
    "gain": "Gain of the last budget step",
    "patient_error": "SE (patients)",
    "seed_error": "SE (seeds)",
    "limited_by": "Limited by",
}
# Parts of the variance of a K-fold.
_PARTS = dict(zip(("folds", "seeds", "rest"), VARIANCE_PARTS))


def load_plan(folder: str) -> Plan:
    """Return a study's plan."""
    return _plan(StudyPaths(Path(folder)).plan)


@cache.per_file(max_entries=16, read_only=True)
def _plan(path: Path) -> Plan:
    return read_plan(StudyPaths(path.parent))


def update_results(folder: str) -> Stamp:
    """Bring the results up to date and return their stamp."""
    paths, plan = StudyPaths(Path(folder)), load_plan(folder)
    at = cache.stamp(paths.results)
    if at[1] and len(load_runs(folder, at)) == len(plan.runs):  # complete: there are no more to read
        return at
    read_results(paths, plan)
    return cache.stamp(paths.results)


@st.cache_resource(max_entries=16, show_spinner=False)
def load_runs(folder: str, at: Stamp) -> pd.DataFrame:
    """Return one row a finished run. Treat it as read-only."""
    plan = load_plan(folder)
    results = read_results(StudyPaths(Path(folder)), plan)
    return run_table(plan, results) if len(results) else pd.DataFrame()


def source(folder: str, at: Stamp) -> exports.Source:
    """Return what the charts and tables of a study come from, with the disclosures that its files carry."""
    return _source(folder, at, cache.stamp(Path(folder).parent / LEDGER))


@st.cache_resource(max_entries=16, show_spinner=False)
def _source(folder: str, at: Stamp, ledger: Stamp) -> exports.Source:
    paths = StudyPaths(Path(folder))
    results = read_results(paths, load_plan(folder))
    finished, configs = set(results["run"]), _configs(paths.plan)
    disclosures = study_disclosures(paths, results, [config for name, config in configs.items() if name in finished])
    return exports.disclosed_source(
        f"{load_plan(folder).study.name} on {disclosures.set_name}", disclosures, paths.root.name
    )


@cache.per_file(max_entries=4, read_only=True)
def _configs(path: Path) -> dict[str, Config]:
    return _plan(path).configs()


def load_cells(folder: str, at: Stamp) -> pd.DataFrame:
    """Return `cell_frame` with the intervals known so far. Treat it as read-only."""
    return _cells(folder, at, cache.stamp(StudyPaths(Path(folder)).intervals))


@st.cache_resource(max_entries=16, show_spinner=False)
def _cells(folder: str, at: Stamp, intervals: Stamp) -> pd.DataFrame:
    paths, plan = StudyPaths(Path(folder)), load_plan(folder)
    return cell_frame(paths, plan, read_results(paths, plan), cached_only=True)


@st.cache_data(max_entries=32, show_spinner="Comparing patient by patient")
def axis_differences(folder: str, at: Stamp, axis: str) -> pd.DataFrame:
    """Return the paired differences along an axis."""
    paths, plan = StudyPaths(Path(folder)), load_plan(folder)
    return differences(plan, load_recipes(paths, plan, read_results(paths, plan)), axis)


def macro_differences(table: pd.DataFrame, axes: list[str], axis: str, metric: str) -> pd.DataFrame:
    """Return the macro rows of `axis_differences`, named for a forest plot."""
    macros = table[(table["finding"] == "") & (table["metric"] == metric)]
    others = [name for name in axes if name != axis]
    names = [
        " · ".join([*(str(row[name]) for name in others), f"{row['a']} − {row['b']}"])
        for row in macros.to_dict("records")
    ]
    return macros.assign(name=names)


def curve_points(folder: str, at: Stamp, metric: str, finding: str) -> pd.DataFrame:
    """Return what `scaling_curves` draws: line, n, mean, lo, hi, cell, text."""
    axes, frame = cell_axes(load_plan(folder)), load_cells(folder, at)
    points = frame[(frame["finding"] == finding) & (frame["metric"] == metric)].copy()
    rows = points.to_dict("records")
    others = [axis for axis in axes if axis != BUDGET]
    points["line"] = [" · ".join(str(row[axis]) for axis in others) or "all" for row in rows]
    points["cell"] = [json.dumps([row[axis] for axis in axes]) for row in rows]
    points["text"] = [
        f"{format_interval(row['mean'], (row['lo'], row['hi']))}, {plural(row['n'], 'run')}" for row in rows
    ]
    return points.assign(n=points["n_patients"])


def metric_by_seed(folder: str, at: Stamp, metric: str) -> dict[str, tuple[pd.Series, pd.DataFrame]]:
    """Return the macro metric of every line: its sizes (B,) and a table of seeds x budgets."""
    table = load_runs(folder, at)
    axes = [axis for axis in cell_axes(load_plan(folder)) if axis != BUDGET]
    column = _metric_column(table, metric)
    lines = {}
    for labels, rows in table.groupby(axes or (lambda _: "all"), sort=False):
        name = " · ".join(map(str, labels)) if isinstance(labels, tuple) else str(labels)
        wide = rows.pivot_table(index="seed" if "seed" in rows else "run", columns=BUDGET, values=column, sort=False)
        sizes = rows.groupby(BUDGET, sort=False)["n_patients"].median()
        order = sizes.sort_values().index
        lines[name] = (sizes[order], wide[order])
    return lines


def _metric_column(table: pd.DataFrame, metric: str) -> str:
    """Return the column of a metric on a test set, else on validation."""
    columns = [name for name in table if name.endswith(f"_{metric}")]
    return next((name for name in columns if not name.startswith("validation_")), columns[0])


@st.cache_data(max_entries=32, show_spinner=False)
def curve_fits(folder: str, at: Stamp, metric: str) -> dict[str, Curve]:
    """Return the scaling fit of every line that has three budgets."""
    fits = {}
    for name, (sizes, table) in metric_by_seed(folder, at, metric).items():
        try:
            fits[name] = fit_curve(sizes.to_numpy(dtype=float), table.to_numpy(dtype=float))
        except InputError:
            continue
    return fits


def needed_table(fits: dict[str, Curve], value: float) -> pd.DataFrame:
    """Return the patients that each recipe needs to reach a value, as text."""
    rows = []
    for name, curve in fits.items():
        needed = labels_needed(curve, value)
        rows.append(
            {
                "Recipe": name,
                "Patients": _count(needed.n),
                "95 % CI": "" if np.isnan(needed.lo) else f"[{_count(needed.lo)}, {_count(needed.hi)}]",
                "Seeds that reach it": f"{needed.share:.0%}",
                "": "extrapolated" if needed.beyond and np.isfinite(needed.n) else "",
            }
        )
    return pd.DataFrame(rows)


def _count(number: float) -> str:
    return "∞" if np.isinf(number) or number > 1e7 else f"{number:,.0f}"


@st.cache_data(max_entries=32, show_spinner=False)
def crossing_table(folder: str, at: Stamp, metric: str) -> pd.DataFrame:
    """Return where the curves of each two recipes cross, as text."""
    rows = []
    lines = metric_by_seed(folder, at, metric)
    for (first, (sizes, one)), (second, (_, other)) in itertools.combinations(lines.items(), 2):
        seeds = one.index.intersection(other.index)
        if not len(seeds) or list(one.columns) != list(other.columns):
            continue
        values = (table.loc[seeds].to_numpy(dtype=float) for table in (one, other))
        crossing = find_crossing(sizes.to_numpy(dtype=float), *values)
        names = {"first": first, "second": second}
        bounds = f"{crossing.n:,.0f} [{crossing.lo:,.0f}, {crossing.hi:,.0f}]"
        rows.append(
            {
                "First": first,
                "Second": second,
                "Better at small budgets": names.get(crossing.ahead_at_first, "–"),
                "Better at large budgets": names.get(crossing.ahead_at_last, "–"),
                "Crossing (patients)": "no crossing" if np.isnan(crossing.n) else bounds,
                "Seeds that cross": f"{crossing.share:.0%}",
            }
        )
    return pd.DataFrame(rows)


def compared_macros() -> list[str]:
    """Return the keys of the macro means of the metrics that are compared."""
    return [METRICS[name].macro for name in compared_metrics() if METRICS[name].macro]


def overview_table(frame: pd.DataFrame, axes: list[str]) -> pd.DataFrame:
    """Return the macro means of the compared metrics of every cell."""
    macros = frame[(frame["finding"] == "") & frame["metric"].isin(compared_macros())]
    parts = {f"SD ({name})": np.sqrt(macros[part]) for name, part in _PARTS.items() if part in macros}
    return pd.DataFrame(
        {
            **{key_title(axis): macros[axis].astype(str) for axis in axes},
            "Metric": macros["metric"].map(metric_title),
            "Mean": macros["mean"],
            "95 % CI": _bounds(macros),
            "SD": macros["std"],
            "SE (patients)": macros["patient_error"],
            "SE (seeds)": macros["seed_error"],
            **parts,
            "Runs": macros["n"],
            "Patients": [f"{count:,.0f}" for count in macros["n_patients"]],
        }
    ).reset_index(drop=True)


def bottleneck_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return `bottlenecks` with titles, and the interval as one column."""
    shown = table.assign(ci=_bounds(table)).drop(columns=["lo", "hi"])
    axes = [name for name in shown if name not in _BOTTLENECKS]
    return shown[[*axes, *(name for name in _BOTTLENECKS if name in shown)]].rename(
        columns=_BOTTLENECKS | {axis: key_title(axis) for axis in axes}
    )


def _bounds(frame: pd.DataFrame) -> list[str]:
    return [format_interval(None, pair).removeprefix("– ") for pair in frame[["lo", "hi"]].to_numpy().tolist()]


def heat_axis(axes: list[str]) -> str:
    """Return the axis of the columns of a heat map."""
    return "encoder" if "encoder" in axes else axes[-1] if axes else ""


def heat_slices(folder: str, at: Stamp, axes: list[str]) -> list[dict[str, Any]]:
    """Return the labels of the other axes, one mapping a heat map; of budgets the largest alone."""
    frame = load_cells(folder, at)
    others = [axis for axis in axes if axis != heat_axis(axes)]
    values = [list(dict.fromkeys(frame[axis]))[-1 if axis == BUDGET else 0 :] for axis in others]
    return [dict(zip(others, labels)) for labels in itertools.product(*values)]


def heat_tables(
    folder: str, at: Stamp, metric: str, fixed: dict[str, Any], mark_best: bool = True
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the mean metric by finding and value of the heat axis, the other axes fixed, and which are marked best."""
    frame, axes = load_cells(folder, at), cell_axes(load_plan(folder))
    axis = heat_axis(axes)
    rows = frame[(frame["metric"] == metric) & (frame["finding"] != "")]
    for name, value in fixed.items():
        rows = rows[rows[name] == value]
    rows = rows.assign(column=rows[axis] if axis else "all")
    values = rows.pivot(index="finding", columns="column", values="mean")
    values = values.loc[sort_findings(values.index), list(dict.fromkeys(rows["column"]))]
    marked = pd.DataFrame(False, index=values.index, columns=values.columns)
    if mark_best:
        chosen = tuple(tuple(str(name if a == axis else fixed[a]) for a in axes) for name in values.columns)
        for row in _best(folder, at, chosen, metric).to_dict("records"):
            if row["marked"] and row["finding"] in marked.index:
                marked.loc[row["finding"], marked.columns[int(row["best"])]] = True
    return values, marked


@st.cache_data(max_entries=32, show_spinner="Resampling patients to mark the best")
def _best(folder: str, at: Stamp, chosen: tuple[tuple[str, ...], ...], metric: str) -> pd.DataFrame:
    """Return the best of some cells by finding; empty where they cannot be compared."""
    paths, plan = StudyPaths(Path(folder)), load_plan(folder)
    recipes = load_recipes(paths, plan, read_results(paths, plan), only=chosen)
    if any(cell not in recipes for cell in chosen) or len(chosen) < 2:
        return pd.DataFrame(columns=["finding", "best", "p", "p_adjusted", "marked"])
    return best_of([recipes[cell] for cell in chosen], metric)


def sort_findings(findings: Iterable[str]) -> list[str]:
    """Return findings in the order that all pages have."""
    names = [name for name in findings if name]
    return sorted(names, key=lambda name: FINDINGS.index(name) if name in FINDINGS else len(FINDINGS))
