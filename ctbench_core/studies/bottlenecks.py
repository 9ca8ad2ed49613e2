"""Which findings hold a recipe back, and whether labels, seeds or test patients would help; parts of the variance of folds and seeds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ctbench_core.metrics.arrays import Floats


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
