"""Parts of the variance of a K-fold study: how far folds, seeds, and what is left move a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass

import numpy as np
import pandas as pd

from ctbench_core.metrics import Floats
from ctbench_core.studies.plan import PlannedRun

PARTS = ("fold_variance", "seed_variance", "rest_variance")
_PLACE = ["cell", "finding", "metric"]


def variance_frame(results: pd.DataFrame, cells: Mapping[tuple[str, ...], Sequence[PlannedRun]]) -> pd.DataFrame:
    """Part the variance of every cell's figures over folds and seeds, finding by finding; empty without folds.

    Args:
        results: rows of the folds' own sets: run, finding, metric, value.

    Returns:
        Columns cell, finding, metric and `PARTS`; NaN where a (seed, fold) is missing, or with one of either.
    """
    places = {
        run.id: (cell, run.labels.get("seed", ""), run.labels["fold"])
        for cell, runs in cells.items()
        for run in runs
        if "fold" in run.labels
    }
    rows = results[results["run"].isin(places)]
    if not len(rows):
        return pd.DataFrame(columns=[*_PLACE, *PARTS])
    cell, seed, fold = zip(*(places[name] for name in rows["run"]))
    placed = rows.assign(cell=list(cell), seed=seed, fold=fold)
    found = []
    for (of, finding, metric), mine in placed.groupby(_PLACE, sort=False):
        table = mine.pivot(index="seed", columns="fold", values="value").to_numpy(dtype=float)
        found.append((of, finding, metric, *astuple(variance_parts(table))))
    return pd.DataFrame(found, columns=[*_PLACE, *PARTS])


@dataclass(frozen=True)
class VarianceParts:
    """Variances of a figure between folds, between seeds, and what is left; never below 0."""

    fold: float
    seed: float
    rest: float


def variance_parts(table: Floats) -> VarianceParts:
    """Part the variance of figures (seeds, folds), every place filled, by the two-way random-effects analysis.

    With mean squares MS of the rows, columns and rest: rest = MS_rest, seed = (MS_seed - MS_rest) / K, fold =
    (MS_fold - MS_rest) / S. Source: Searle, Casella, McCulloch, Variance Components, 1992. NaN with one seed or fold.
    """
    values = np.asarray(table, np.float64)
    seeds, folds = values.shape
    if seeds < 2 or folds < 2 or np.isnan(values).any():
        return VarianceParts(np.nan, np.nan, np.nan)
    of_seed, of_fold, mean = values.mean(axis=1, keepdims=True), values.mean(axis=0, keepdims=True), values.mean()
    rest = ((values - of_seed - of_fold + mean) ** 2).sum() / ((seeds - 1) * (folds - 1))
    between_seeds = folds * ((of_seed - mean) ** 2).sum() / (seeds - 1)
    between_folds = seeds * ((of_fold - mean) ** 2).sum() / (folds - 1)
    return VarianceParts(
        float(max((between_folds - rest) / seeds, 0.0)), float(max((between_seeds - rest) / folds, 0.0)), float(rest)
    )
