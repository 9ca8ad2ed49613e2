"""What the Studies page reads of a study, kept between reruns by the stamps of its files.

MERGED: Frames of a study that the page and its report share.
"""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import streamlit as st

from ctbench_core.config import Config
from ctbench_core.errors import InputError
from ctbench_core.formatting import format_interval
from ctbench_core.runs import LEDGER
from ctbench_core.studies import (
    Curve,
    Plan,
    StudyPaths,
    best_of,
    cell_axes,
    cell_frame,
    differences,
    fit_curve,
    load_recipes,
    read_plan,
    read_results,
    run_table,
    study_disclosures,
)
from ctbench_ui.shared import cache, figures

Stamp = cache.Stamp
BUDGET = "budget"


def plan_of(folder: str) -> Plan:
    """Return a study's plan."""
    return _plan(cache.stamp(StudyPaths(Path(folder)).plan))


@st.cache_resource(max_entries=16, show_spinner=False)
def _plan(at: Stamp) -> Plan:
    return read_plan(StudyPaths(Path(at[0]).parent))


def results_stamp(folder: str) -> Stamp:
    """Bring the results up to date and return their stamp."""
    paths, plan = StudyPaths(Path(folder)), plan_of(folder)
    at = cache.stamp(paths.results)
    if at[1] and len(runs(folder, at)) == len(plan.runs):  # all there: no need to look for more
        return at
    read_results(paths, plan)
    return cache.stamp(paths.results)


@st.cache_resource(max_entries=16, show_spinner=False)
def runs(folder: str, at: Stamp) -> pd.DataFrame:
    """Return one row a finished run. Treat it as read-only."""
    paths, plan = StudyPaths(Path(folder)), plan_of(folder)
    found = read_results(paths, plan)
    return run_table(plan, found) if len(found) else pd.DataFrame()


def source(folder: str, at: Stamp) -> figures.Source:
    """Return what the figures of a study rest on, with the marks that its files carry."""
    return _source(folder, at, cache.stamp(Path(folder).parent / LEDGER))


@st.cache_resource(max_entries=16, show_spinner=False)
def _source(folder: str, at: Stamp, ledger: Stamp) -> figures.Source:
    paths = StudyPaths(Path(folder))
    found = read_results(paths, plan_of(folder))
    finished, configs = set(found["run"]), _configs(cache.stamp(paths.plan))
    marks = study_disclosures(paths, found, [config for name, config in configs.items() if name in finished])
    return figures.marked_source(f"{plan_of(folder).study.name} on {marks.on}", marks, paths.root.name)


@st.cache_resource(max_entries=4, show_spinner=False)
def _configs(plan: Stamp) -> dict[str, Config]:
    return _plan(plan).configs()


def cells(folder: str, at: Stamp) -> pd.DataFrame:
    """Return `cell_frame` with the intervals known so far. Treat it as read-only."""
    return _cells(folder, at, cache.stamp(StudyPaths(Path(folder)).intervals))


@st.cache_resource(max_entries=16, show_spinner=False)
def _cells(folder: str, at: Stamp, intervals: Stamp) -> pd.DataFrame:
    paths, plan = StudyPaths(Path(folder)), plan_of(folder)
    return cell_frame(paths, plan, read_results(paths, plan), only_known=True)


@st.cache_data(max_entries=32, show_spinner="Comparing, patient by patient")
def compared(folder: str, at: Stamp, axis: str) -> pd.DataFrame:
    """Return the paired differences along an axis."""
    paths, plan = StudyPaths(Path(folder)), plan_of(folder)
    return differences(plan, load_recipes(paths, plan, read_results(paths, plan)), axis)


@st.cache_data(max_entries=32, show_spinner="Resampling patients for the best marks")
def best(folder: str, at: Stamp, chosen: tuple[tuple[str, ...], ...], metric: str) -> pd.DataFrame:
    """Return the best of some cells by finding; empty where they cannot be compared."""
    paths, plan = StudyPaths(Path(folder)), plan_of(folder)
    recipes = load_recipes(paths, plan, read_results(paths, plan), only=chosen)
    if any(cell not in recipes for cell in chosen) or len(chosen) < 2:
        return pd.DataFrame(columns=["finding", "best", "p", "p_adjusted", "marked"])
    return best_of([recipes[cell] for cell in chosen], metric)


def lines(folder: str, at: Stamp, metric: str, finding: str) -> pd.DataFrame:
    """Return what `scaling_curves` draws: line, n, mean, lo, hi, cell, text."""
    axes = cell_axes(plan_of(folder))
    frame = cells(folder, at)
    rows = frame[(frame["finding"] == finding) & (frame["metric"] == metric)].copy()
    others = [axis for axis in axes if axis != BUDGET]
    rows["line"] = [" · ".join(str(row[axis]) for axis in others) or "all" for row in rows.to_dict("records")]
    rows["cell"] = [json.dumps([row[axis] for axis in axes]) for row in rows.to_dict("records")]
    rows["text"] = [
        f"{format_interval(row['mean'], (row['lo'], row['hi']))}, {row['n']} runs" for row in rows.to_dict("records")
    ]
    return rows.assign(n=rows["n_patients"])


def by_seed(folder: str, at: Stamp, metric: str) -> dict[str, tuple[pd.Index, pd.DataFrame]]:
    """Return the macro figures of every line: its sizes (B,) and a table of seeds x budgets."""
    table = runs(folder, at)
    axes = [axis for axis in cell_axes(plan_of(folder)) if axis != BUDGET]
    column = judged_column(table, metric)
    found = {}
    for labels, rows in table.groupby(axes or (lambda _: "all"), sort=False):
        name = " · ".join(map(str, labels)) if isinstance(labels, tuple) else str(labels)
        wide = rows.pivot_table(index="seed" if "seed" in rows else "run", columns=BUDGET, values=column, sort=False)
        sizes = rows.groupby(BUDGET, sort=False)["n_patients"].median()
        order = sizes.sort_values().index
        found[name] = (sizes[order], wide[order])
    return found


def judged_column(table: pd.DataFrame, metric: str) -> str:
    """Name the column of a metric on the judged set: a test's, else validation's."""
    named = [name for name in table if name.endswith(f"_{metric}")]
    return next((name for name in named if not name.startswith("validation_")), named[0])


@st.cache_data(max_entries=32, show_spinner=False)
def fits(folder: str, at: Stamp, metric: str) -> dict[str, Curve]:
    """Return the scaling fit of every line that has three budgets."""
    found = {}
    for name, (sizes, table) in by_seed(folder, at, metric).items():
        try:
            found[name] = fit_curve(sizes.to_numpy(dtype=float), table.to_numpy(dtype=float))
        except InputError:
            continue
    return found
