"""Cells of a study: mean, spread and interval of every recipe, macro and finding by finding.

The interval of several seeds runs over seeds and patients (what this way of training gives), that of a single run
over patients alone (what this model gives); ``interval`` says which.

MERGED: Which findings hold a recipe back, and whether labels, seeds or test patients would help.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pandas as pd
from filelock import FileLock

from ctbench_core.atomic import dump_json, write_bytes, write_with
from ctbench_core.inference import Estimate, RecipeEstimate, bootstrap, recipe_intervals
from ctbench_core.metrics import ranking_figures, thresholded_figures
from ctbench_core.progress import Progress, silent
from ctbench_core.studies.layout import StudyPaths
from ctbench_core.studies.plan import Plan, PlannedRun
from ctbench_core.studies.recipes import Cell, Recipe, cell_axes, cells_of, judged_on, load_recipe, of_set
from ctbench_core.studies.results import MACROS, TRAINING
from ctbench_core.studies.variance import PARTS, variance_frame

METRICS = {"auprc": "auprc", "auroc": "auroc", "f1": "f1_macro"}  # a finding's figure and its macro's name
SEEDS_AND_PATIENTS, PATIENTS = "seeds and patients", "patients"
_ESTIMATES = ("finding", "metric", "lo", "hi", "patient_error", "seed_error", "interval", "reason")


def cell_frame(
    paths: StudyPaths, plan: Plan, results: pd.DataFrame, progress: Progress = silent, *, only_known: bool = False
) -> pd.DataFrame:
    """Return one row a cell, finding (empty: macro) and metric.

    Columns: the axes, set, finding, metric, mean, std, n, lo, hi, patient_error and seed_error (the two parts of the
    standard error), interval, reason (why there is none), n_patients, n_volumes (median over the runs' training and
    validation rows); of a K-fold also the variances of `variance.PARTS`. ``only_known`` leaves out intervals that have not been computed yet: they take a second a cell.
    """
    judged, axes, cells = judged_on(results), cell_axes(plan), cells_of(plan)
    means = _means(of_set(results, judged), cells, axes)
    with FileLock(paths.intervals.with_suffix(".lock")):
        estimates = _estimates(paths, cells, results, judged, progress, only_known)
    sizes = _sizes(results, cells)
    found = means.merge(estimates, on=["cell", "finding", "metric"], how="left").merge(sizes, on="cell", how="left")
    if plan.study.folds:
        parts = variance_frame(of_set(results, judged), cells)
        found = found.merge(parts, on=["cell", "finding", "metric"], how="left")
    labels = pd.DataFrame([dict(zip(axes, cell)) for cell in found["cell"]], index=found.index)
    return pd.concat([labels, found.drop(columns="cell").assign(set=judged)], axis=1)


def _means(results: pd.DataFrame, cells: dict[Cell, list[PlannedRun]], axes: list[str]) -> pd.DataFrame:
    of_run = {run.id: cell for cell, runs in cells.items() for run in runs}
    order = {cell: place for place, cell in enumerate(cells)}
    kept = results[results["metric"].isin([*METRICS, *MACROS])].assign(cell=results["run"].map(of_run))
    found = kept.groupby(["cell", "finding", "metric"], sort=False)["value"].agg(["mean", "std", "count"])
    found = found.rename(columns={"count": "n"}).reset_index()
    return found.sort_values("cell", key=lambda column: column.map(order), kind="stable").reset_index(drop=True)


def _sizes(results: pd.DataFrame, cells: dict[Cell, list[PlannedRun]]) -> pd.DataFrame:
    used = results[results["set"] == TRAINING].pivot(index="run", columns="metric", values="value")
    rows = []
    for cell, runs in cells.items():
        mine = used.reindex([run.id for run in runs]).median()
        rows.append({"cell": cell, "n_patients": mine.get("patients"), "n_volumes": mine.get("volumes")})
    return pd.DataFrame(rows)


def _estimates(
    paths: StudyPaths,
    cells: dict[Cell, list[PlannedRun]],
    results: pd.DataFrame,
    judged: str,
    progress: Progress,
    only_known: bool,
) -> pd.DataFrame:
    """Return the intervals of every cell; those of cells whose runs have not changed are taken from the cache."""
    known = (
        pd.read_parquet(paths.intervals) if paths.intervals.is_file() else pd.DataFrame(columns=["key", *_ESTIMATES])
    )
    finished = set(results["run"])
    parts, keys, fresh = [], [], False
    for place, (cell, runs) in enumerate(cells.items()):
        key = hashlib.sha256(dump_json([judged, [run.id for run in runs if run.id in finished]]).encode()).hexdigest()[
            :16
        ]
        rows = known[known["key"] == key]
        if not len(rows):
            if only_known:
                continue
            progress("intervals", place, len(cells))
            recipe = load_recipe(paths, cell, runs, judged)
            if recipe is None:
                continue
            rows, fresh = pd.DataFrame(_rows(recipe)).assign(key=key), True
        keys.append(key)
        parts.append(rows.assign(cell=[cell] * len(rows)))
    if not parts:
        return pd.DataFrame(columns=["cell", *_ESTIMATES])
    found = pd.concat(parts, ignore_index=True)
    if fresh:
        write_with(paths.intervals, lambda file: found.drop(columns="cell").to_parquet(file, index=False))
    return found.drop(columns="key")


def _rows(recipe: Recipe) -> list[dict[str, Any]]:
    rows = []
    arguments = (recipe.targets, recipe.scores, recipe.patients)
    single = len(recipe.seeds) == 1
    for figures in (ranking_figures, thresholded_figures(0.5)):
        found: dict[str, Any] = (
            bootstrap(figures, arguments[0], arguments[1][0], arguments[2])
            if single
            else recipe_intervals(*arguments, figures=figures)
        )
        for metric, macro in METRICS.items():
            if metric in found:
                rows += _of_estimate(recipe.findings, metric, macro, found[metric])
    return rows


def _of_estimate(
    findings: list[str], metric: str, macro: str, found: RecipeEstimate | Estimate
) -> list[dict[str, Any]]:
    single = isinstance(found, Estimate)
    kind = PATIENTS if single else SEEDS_AND_PATIENTS
    patient = found.error if isinstance(found, Estimate) else found.patient_error
    between = np.full(len(findings), np.nan) if isinstance(found, Estimate) else found.seed_error
    rows = [
        dict(zip(_ESTIMATES, (finding, metric, *found.bounds[c], patient[c], between[c], kind, found.reasons[c] or "")))
        for c, finding in enumerate(findings)
    ]
    errors = (np.nan, np.nan) if isinstance(found, Estimate) else (found.macro_patient_error, found.macro_seed_error)
    return [*rows, dict(zip(_ESTIMATES, ("", macro, *found.macro_bounds, *errors, kind, found.macro_reason or "")))]


def by_cell(frame: pd.DataFrame, axes: list[str]) -> list[dict[str, Any]]:
    """Return the macro rows of `cell_frame` as the JSON of the contracts."""
    names: tuple[str, ...] = (
        "metric",
        "set",
        "mean",
        "std",
        "n",
        "lo",
        "hi",
        "patient_error",
        "seed_error",
        "n_patients",
    )
    names += tuple(name for name in PARTS if name in frame)
    rows = frame[frame["finding"] == ""].to_dict("records")
    return [{"cell": {axis: row[axis] for axis in axes}, **{name: row[name] for name in names}} for row in rows]


def write_cells(paths: StudyPaths, frame: pd.DataFrame) -> None:
    """Write the cells as CSV, one row a cell, finding and metric."""
    write_bytes(paths.cells, frame.to_csv(index=False, lineterminator="\n").encode("utf-8"))


def bottlenecks(cells: pd.DataFrame, axes: list[str], metric: str) -> pd.DataFrame:
    """Return, weakest first, each finding's figure at the most labels of each recipe, and what the last step brought.

    Args:
        cells: `cells.cell_frame`.

    Returns:
        Columns: the axes without budget, finding, mean, lo, hi, sd, gain (to the budget before; NaN with one budget),
        patient_error, seed_error, limited_by (patients or seeds: the larger part of the error; empty if unknown).
    """
    rows = cells[(cells["metric"] == metric) & (cells["finding"] != "")]
    others = [axis for axis in axes if axis != "budget"]
    found = []
    for _, group in rows.groupby([*others, "finding"], sort=False):
        ordered = group.sort_values("n_patients", kind="stable")
        last = ordered.iloc[-1]
        gain = last["mean"] - ordered.iloc[-2]["mean"] if len(ordered) > 1 else np.nan
        parts = {"patients": last["patient_error"], "seeds": last["seed_error"]}
        known = {name: part for name, part in parts.items() if not np.isnan(part)}
        found.append(
            {
                **{axis: last[axis] for axis in others},
                "finding": last["finding"],
                "mean": last["mean"],
                "lo": last["lo"],
                "hi": last["hi"],
                "sd": last["std"],
                "gain": gain,
                "patient_error": last["patient_error"],
                "seed_error": last["seed_error"],
                "limited_by": max(known, key=lambda name: known[name]) if len(known) == 2 else "",
            }
        )
    return pd.DataFrame(found).sort_values("mean", kind="stable").reset_index(drop=True)
