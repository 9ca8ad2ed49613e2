"""Bands of precision-recall and ROC curves: pointwise percentiles over resamples of patients.

Shapes: N rows, R resamples, G points of a band.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ctbench_core.inference.patients import evidence, patient_codes, patient_weights
from ctbench_core.inference.rules import LEVEL, MIN_PATIENTS
from ctbench_core.metrics import Floats, as_scores, as_targets, divide

POINTS, BAND_RESAMPLES = 61, 200
_TAILS = (1 - LEVEL) / 2, (1 + LEVEL) / 2


class Band(NamedTuple):
    """Lower and upper limits (G,) of a curve at x (G,): pointwise, not for the whole curve at once."""

    x: Floats
    lower: Floats
    upper: Floats


def curve_bands(
    targets: ArrayLike, scores: ArrayLike, patients: ArrayLike, resamples: int = BAND_RESAMPLES, seed: int = 0
) -> dict[str, Band]:
    """Return pointwise 95 % bands of precision at each recall (``pr``) and sensitivity at each FPR (``roc``).

    targets (N,) in {0, 1, NaN}; scores (N,); patients (N,). Empty where a class has fewer than 10 patients. Raises
    InputError for wrong shapes.
    """
    truth = as_targets(targets, axes=1)
    values = as_scores(scores, truth)
    codes = patient_codes(patients)
    scarcer = min(evidence(codes, truth == value).patients for value in (0, 1))
    if scarcer < MIN_PATIENTS or np.isnan(values).any():
        empty = Band(np.empty(0), np.empty(0), np.empty(0))
        return {"pr": empty, "roc": empty}
    order = np.argsort(-values, kind="stable")
    order = order[~np.isnan(truth[order])]
    hit = truth[order] == 1
    last = np.append(np.flatnonzero(np.diff(values[order])), len(order) - 1)  # the ends of the tie blocks
    grid = np.linspace(0, 1, POINTS)
    curves: dict[str, list[Floats]] = {"pr": [], "roc": []}
    for weights in patient_weights(patients, resamples, seed):
        ranked = weights[:, order]
        tp, fp = np.cumsum(ranked * hit, axis=1)[:, last], np.cumsum(ranked * ~hit, axis=1)[:, last]
        for t, f in zip(tp, fp):
            if t[-1] and f[-1]:
                curves["pr"].append(_precision(grid, t, f))
                curves["roc"].append(np.interp(grid, np.append(0.0, f / f[-1]), np.append(0.0, t / t[-1])))
    return {name: Band(grid, *np.nanquantile(np.stack(rows), _TAILS, axis=0)) for name, rows in curves.items()}


def _precision(grid: Floats, tp: Floats, fp: Floats) -> Floats:
    """Return precision where each recall of the grid is first reached: a step, as in average precision."""
    precision = divide(tp, tp + fp)
    at = np.searchsorted(tp / tp[-1], grid - 1e-12)
    return precision[np.minimum(at, len(precision) - 1)]
