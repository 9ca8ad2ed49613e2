"""Pointwise 95 % bands of precision-recall and ROC curves, from resamples of patients.

Shapes: N rows of one label, R resamples, G points of the band.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ctbench_core.inference.intervals import LEVEL, MIN_PATIENTS
from ctbench_core.inference.resampling import evidence, patient_weights
from ctbench_core.metrics import Floats, as_scores, as_targets, divide

POINTS, RESAMPLES = 61, 200


class Band(NamedTuple):
    """Lower and upper limits (G,) of a curve at x (G,): at each x alone, not of the whole curve at once."""

    x: Floats
    lower: Floats
    upper: Floats


def curve_bands(
    targets: ArrayLike, scores: ArrayLike, patients: ArrayLike, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Band]:
    """Return the bands of precision at each recall (``pr``) and of sensitivity at each false positive rate (``roc``).

    targets (N,) in {0, 1, NaN}; scores (N,); patients (N,). Percentiles over resamples; ties are called together.
    Empty where a class has fewer than 10 patients. Raises InputError for wrong shapes.
    """
    truth = as_targets(targets, axes=1)
    values = as_scores(scores, truth)
    empty = Band(np.empty(0), np.empty(0), np.empty(0))
    if evidence(truth[:, None], patients).scarcer[0] < MIN_PATIENTS or np.isnan(values).any():
        return {"pr": empty, "roc": empty}
    order = np.argsort(-values, kind="stable")
    order = order[~np.isnan(truth[order])]
    hit = truth[order] == 1
    last = np.append(np.flatnonzero(np.diff(values[order])), len(order) - 1)
    grid = np.linspace(0, 1, POINTS)
    drawn: dict[str, list[Floats]] = {"pr": [], "roc": []}
    for weights in patient_weights(patients, resamples, seed):
        sorted_ = weights[:, order]
        tp, fp = np.cumsum(sorted_ * hit, axis=1)[:, last], np.cumsum(sorted_ * ~hit, axis=1)[:, last]
        for t, f in zip(tp, fp):
            if t[-1] and f[-1]:
                drawn["pr"].append(_precision(grid, t, f))
                drawn["roc"].append(np.interp(grid, np.append(0.0, f / f[-1]), np.append(0.0, t / t[-1])))
    tails = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    return {name: Band(grid, *np.nanquantile(np.stack(found), tails, axis=0)) for name, found in drawn.items()}


def _precision(grid: Floats, tp: Floats, fp: Floats) -> Floats:
    """Return precision where each recall of the grid is first reached: a step, as average precision takes it."""
    precision = divide(tp, tp + fp)
    at = np.searchsorted(tp / tp[-1], grid - 1e-12)
    return precision[np.minimum(at, len(precision) - 1)]
