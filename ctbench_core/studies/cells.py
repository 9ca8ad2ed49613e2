"""Summarise the cells of a study: mean, spread and interval of every recipe, macro and finding by finding.

A cell holds the runs that differ by seed and fold alone. The column ``interval`` says what its interval covers: seeds
and patients (what this way of training gives), patients alone (what this model gives, of a single run), or folds. Two
seeds have a range and no interval. Of a K-fold study, the variance of a metric is also split into parts for folds,
seeds, and the rest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
import pandas as pd

from ctbench_core.atomic import dump_json
from ctbench_core.declared import TUNED, averaged_metrics, interval_keys, macro_keys
from ctbench_core.inference import (
    ELIGIBLE,
    MACRO,
    Estimate,
    estimate,
    kfold_estimate,
    kfold_figures,
    macro_start,
    mean_test_share,
    measure,
    seed_factor,
)
from ctbench_core.locks import file_lock
from ctbench_core.metrics import Floats
from ctbench_core.progress import Progress, silent
from ctbench_core.studies.differences import RULES, overlaps_of
from ctbench_core.studies.layout import StudyPaths
from ctbench_core.studies.plan import Plan, PlannedRun
from ctbench_core.studies.recipe_scores import Cell, Recipe, cell_axes, cells_of, load_recipe
from ctbench_core.studies.results import TRAINING, comparison_set, read_cache, rows_of_set, write_cache
from ctbench_core.tables import write_sheet

VARIANCE_PARTS = ("fold_variance", "seed_variance", "rest_variance")
SEEDS_AND_PATIENTS, PATIENTS, FOLDS = "seeds and patients", "patients", "folds"
SAME_TRAINING = f"{SEEDS_AND_PATIENTS}, for these training patients"
# Parts of a variance that are estimated as a difference: below 0 they are cut there.
_CUT_PARTS = ("patient_error", "fold_variance", "seed_variance")
CUT_NOTE = "–: this part of the variance is estimated at 0 or below, so the data do not show it; it need not be 0."
OWN_THRESHOLDS = "each run has thresholds of its own"
NOT_COMPUTED = "not computed: intervals need the scores of finished runs on a test set"
_KEY = ["cell", "finding", "metric"]
_ESTIMATES = (
    "finding",
    "metric",
    "value",
    "sd",
    *("lo", "hi", "range_lo", "range_hi"),
    *("patient_error", "seed_error", "interval", "reason", "marks", "findings"),
)
_RECORD = (
    *("set", "mean", "std", "n", "lo", "hi", "range_lo", "range_hi", "patient_error", "seed_error", "interval"),
    *("reason", "marks", "findings", "n_patients"),
)


def cell_frame(
    paths: StudyPaths, plan: Plan, results: pd.DataFrame, progress: Progress = silent, *, cached_only: bool = False
) -> pd.DataFrame:
    """Return one row a cell, finding (empty: macro; `ELIGIBLE`: the macro over eligible findings) and metric.

    Columns: the axes, set, finding, metric, mean, std, n, lo, hi, range_lo and range_hi (over seeds or folds),
    patient_error and seed_error (the two parts of the standard error), interval (what it covers), reason (why there is
    none), marks, findings (how many a macro averages), n_patients, n_volumes (median over the runs' training and
    validation rows); of a K-fold also `VARIANCE_PARTS`.

    Args:
        cached_only: leave out intervals that have not been computed yet: they take a second a cell.
    """
    set_name, axes, cells = comparison_set(results), cell_axes(plan), cells_of(plan)
    rows = rows_of_set(results, set_name)
    with file_lock(paths.intervals.with_suffix(".lock")):
        estimates = _estimates(paths, plan, results, set_name, progress, cached_only)
    frame = _with_estimates(_means(rows, cells), estimates).merge(_sizes(results, cells), on="cell", how="left")
    if plan.study.folds:
        frame = frame.merge(variance_frame(rows, cells), on=_KEY, how="left")
    labels = pd.DataFrame([dict(zip(axes, cell)) for cell in frame["cell"]], index=frame.index)
    return pd.concat([labels, frame.drop(columns="cell").assign(set=set_name)], axis=1)


def _means(rows: pd.DataFrame, cells: Mapping[Cell, Sequence[PlannedRun]]) -> pd.DataFrame:
    cell_by_run = {run.id: cell for cell, runs in cells.items() for run in runs}
    rows = rows[rows["metric"].isin([*interval_keys(), *interval_keys().values()])].assign(
        cell=rows["run"].map(cell_by_run)
    )
    means = rows.groupby(_KEY, sort=False)["value"].agg(["mean", "std", "count"])
    return means.rename(columns={"count": "n"}).reset_index()


def _with_estimates(means: pd.DataFrame, estimates: pd.DataFrame) -> pd.DataFrame:
    """Add the estimates to the means over runs; where there is one, mean and interval are both its own.

    The mean over runs stands for cells without stored scores, and where a fold has one class only.
    """
    runs = means[means["finding"] == ""].groupby("cell", sort=False)["n"].max()
    eligible = estimates.loc[estimates["finding"] == ELIGIBLE, _KEY]
    added = eligible.assign(mean=np.nan, std=np.nan, n=eligible["cell"].map(runs))
    rows = pd.concat([means, added], ignore_index=True) if len(added) else means
    frame = rows.merge(estimates, on=_KEY, how="left")
    frame["mean"] = frame["value"].astype(float).fillna(frame["mean"])
    frame["std"] = frame["std"].fillna(frame["sd"].astype(float))
    frame["marks"] = frame["marks"].fillna("")
    is_tuned = frame["metric"].str.endswith(TUNED)
    frame["reason"] = frame["reason"].fillna(is_tuned.map({True: OWN_THRESHOLDS, False: NOT_COMPUTED}))
    order = {cell: place for place, cell in enumerate(runs.index)}
    frame = frame.drop(columns=["value", "sd"])
    return frame.sort_values("cell", key=lambda column: column.map(order), kind="stable").reset_index(drop=True)


def _sizes(results: pd.DataFrame, cells: Mapping[Cell, Sequence[PlannedRun]]) -> pd.DataFrame:
    counts = results[results["set"] == TRAINING].pivot(index="run", columns="metric", values="value")
    rows = []
    for cell, runs in cells.items():
        medians = counts.reindex([run.id for run in runs]).median()
        rows.append({"cell": cell, "n_patients": medians.get("patients"), "n_volumes": medians.get("volumes")})
    return pd.DataFrame(rows)


def _estimates(
    paths: StudyPaths, plan: Plan, results: pd.DataFrame, set_name: str, progress: Progress, cached_only: bool
) -> pd.DataFrame:
    """Return the intervals of every cell, from the cache where its finished runs have not changed."""
    cache, cells, finished = _read_cache(paths), cells_of(plan), set(results["run"])
    overlaps: dict[Cell, float] = {}
    parts, is_new = [], False
    for place, (cell, runs) in enumerate(cells.items()):
        key = _cache_key(set_name, [run.id for run in runs if run.id in finished])
        rows = cache[cache["key"] == key]
        if not set(macro_keys()) <= set(rows["metric"]) and not cached_only:
            progress("intervals", place, len(cells))
            if recipe := load_recipe(paths, cell, runs, set_name):
                overlaps = overlaps or overlaps_of(plan)
                rows, is_new = pd.DataFrame(estimate_recipe(recipe, overlaps[cell])).assign(key=key), True
        if len(rows):
            parts.append(rows.assign(cell=[cell] * len(rows)))
    if not parts:
        return pd.DataFrame(columns=["cell", *_ESTIMATES])
    frame = pd.concat(parts, ignore_index=True)
    if is_new:
        write_cache(paths.intervals, frame.drop(columns="cell"))
    return frame.drop(columns="key")


def _read_cache(paths: StudyPaths) -> pd.DataFrame:
    """Read the stored intervals."""
    return read_cache(paths.intervals, ("key", *_ESTIMATES))


def _cache_key(set_name: str, run_ids: list[str]) -> str:
    return hashlib.sha256(dump_json([RULES, set_name, run_ids]).encode()).hexdigest()[:16]


def estimate_recipe(recipe: Recipe, overlap: float) -> list[dict[str, Any]]:
    """Return one row a metric and finding, or macro mean, with the columns of a stored estimate.

    Args:
        overlap: the mean share of training patients that two seeds have in common.
    """
    macros = {metric.name: metric.macro for metric in averaged_metrics()}
    data = (recipe.patients, recipe.findings, list(macros))
    if recipe.folds is None:
        measured, covers = measure(recipe.targets, recipe.scores, *data), _covers(len(recipe.seeds), overlap)
        estimates = {name: estimate(one, overlap=overlap) for name, one in measured.items()}
    else:
        measured, covers = kfold_figures(recipe.targets, recipe.scores, recipe.folds, *data), FOLDS
        share = mean_test_share(recipe.folds, recipe.patients)
        estimates = {name: kfold_estimate(one, share) for name, one in measured.items()}
    return [row for name, one in estimates.items() for row in _estimate_rows(one, macros[name], covers)]


def _covers(seeds: int, overlap: float) -> str:
    """Say what an interval covers."""
    if seeds == 1:
        return PATIENTS
    return SEEDS_AND_PATIENTS if seed_factor(seeds, overlap)[1] else SAME_TRAINING


def _estimate_rows(one: Estimate, macro: str, covers: str) -> list[dict[str, Any]]:
    rows = []
    for place, column in enumerate(one.columns):
        is_macro = place >= macro_start(one.columns)
        row = {
            "finding": "" if is_macro and column == MACRO else column,
            "metric": macro if is_macro else one.metric,
            "value": one.value[place],
            "sd": one.sd[place],
            **dict(zip(("lo", "hi", "range_lo", "range_hi"), (*one.bounds[place], *one.spread[place]))),
            "patient_error": one.patient_error[place],
            "seed_error": one.seed_error[place],
            "interval": covers,
            "reason": one.reasons[place] or "",
            "marks": one.marks[place],
            "findings": int(one.findings[place]),
        }
        rows.append(row)
    return rows


def cell_records(frame: pd.DataFrame, axes: list[str]) -> list[dict[str, Any]]:
    """Return the macro rows of `cell_frame` as the JSON of the contracts; ``auroc_eligible`` is over eligible findings."""
    names = (*_RECORD, *(name for name in VARIANCE_PARTS if name in frame))
    rows = frame[frame["finding"].isin(["", ELIGIBLE])].to_dict("records")
    return [
        {
            "cell": {axis: row[axis] for axis in axes},
            "metric": f"{row['metric']}_eligible" if row["finding"] else row["metric"],
            **{name: row[name] for name in names},
        }
        for row in rows
    ]


def write_cells(paths: StudyPaths, frame: pd.DataFrame) -> None:
    """Write the cells as CSV, one row a cell, finding and metric."""
    write_sheet(paths.cells, frame)


def without_cut_parts(cells: pd.DataFrame) -> pd.DataFrame:
    """Return cells whose parts of a variance are NaN where they were cut at 0; see `CUT_NOTE`. Files keep the 0."""
    parts = [name for name in _CUT_PARTS if name in cells]
    return cells.assign(**{name: cells[name].where(cells[name] != 0) for name in parts})


def has_cut_parts(cells: pd.DataFrame) -> bool:
    """Whether a part of a variance of these cells was cut at 0."""
    return any((cells[name] == 0).any() for name in _CUT_PARTS if name in cells)


def bottlenecks(cells: pd.DataFrame, axes: list[str], metric: str) -> pd.DataFrame:
    """Return, weakest first, each finding's metric at the largest budget of each recipe, and what limits it.

    Args:
        cells: as `cell_frame` returns them.

    Returns:
        Columns: the axes without budget, finding, mean, lo, hi, sd, gain (over the budget before; NaN with one budget),
        patient_error, seed_error, limited_by (patients or seeds: the larger part of the error; empty if unknown).
    """
    cells = cells[(cells["metric"] == metric) & ~cells["finding"].isin(["", ELIGIBLE])]
    others = [axis for axis in axes if axis != "budget"]
    rows = []
    for _, group in cells.groupby([*others, "finding"], sort=False):
        ordered = group.sort_values("n_patients", kind="stable")
        last = ordered.iloc[-1]
        row = {name: last[name] for name in (*others, "finding", "mean", "lo", "hi")}
        row["sd"] = last["std"]
        row["gain"] = last["mean"] - ordered.iloc[-2]["mean"] if len(ordered) > 1 else np.nan
        row |= {name: last[name] for name in ("patient_error", "seed_error")}
        rows.append(row | {"limited_by": _larger_part(last["patient_error"], last["seed_error"])})
    return pd.DataFrame(rows).sort_values("mean", kind="stable").reset_index(drop=True)


def _larger_part(patient_error: float, seed_error: float) -> str:
    if np.isnan(patient_error) or np.isnan(seed_error):
        return ""
    return "seeds" if seed_error > patient_error else "patients"


def variance_frame(rows: pd.DataFrame, cells: Mapping[Cell, Sequence[PlannedRun]]) -> pd.DataFrame:
    """Split the variance of every cell's metrics over folds and seeds, finding by finding; empty without folds.

    Args:
        rows: of the folds' own sets: run, finding, metric, value.

    Returns:
        Columns cell, finding, metric and `VARIANCE_PARTS`; NaN where a (seed, fold) is missing, or with one of either.
    """
    labels = {
        run.id: (cell, run.labels.get("seed", ""), run.labels["fold"])
        for cell, runs in cells.items()
        for run in runs
        if "fold" in run.labels
    }
    rows = rows[rows["run"].isin(labels)]
    if not len(rows):
        return pd.DataFrame(columns=[*_KEY, *VARIANCE_PARTS])
    cell, seed, fold = zip(*(labels[name] for name in rows["run"]))
    parts = []
    for key, group in rows.assign(cell=list(cell), seed=seed, fold=fold).groupby(_KEY, sort=False):
        table = group.pivot(index="seed", columns="fold", values="value").to_numpy(dtype=float)
        parts.append((*key, *astuple(variance_parts(table))))
    return pd.DataFrame(parts, columns=[*_KEY, *VARIANCE_PARTS])


@dataclass(frozen=True)
class VarianceParts:
    """Variances of a metric between folds, between seeds, and the rest; never below 0."""

    fold: float
    seed: float
    rest: float


def variance_parts(table: Floats) -> VarianceParts:
    """Split the variance of a table (seeds, folds) without gaps by the two-way random-effects analysis.

    With mean squares MS of the rows, columns and rest: rest = MS_rest, seed = (MS_seed - MS_rest) / K, fold =
    (MS_fold - MS_rest) / S. Source: Searle, Casella, McCulloch, Variance Components, 1992. NaN with one seed or fold.
    """
    values = np.asarray(table, np.float64)
    seeds, folds = values.shape
    if seeds < 2 or folds < 2 or np.isnan(values).any():
        return VarianceParts(np.nan, np.nan, np.nan)
    seed_means, fold_means = values.mean(axis=1, keepdims=True), values.mean(axis=0, keepdims=True)
    mean = values.mean()
    rest = ((values - seed_means - fold_means + mean) ** 2).sum() / ((seeds - 1) * (folds - 1))
    between_seeds = folds * ((seed_means - mean) ** 2).sum() / (seeds - 1)
    between_folds = seeds * ((fold_means - mean) ** 2).sum() / (folds - 1)
    return VarianceParts(
        float(max((between_folds - rest) / seeds, 0.0)), float(max((between_seeds - rest) / folds, 0.0)), float(rest)
    )
