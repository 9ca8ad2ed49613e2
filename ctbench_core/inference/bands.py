"""Bands of precision-recall and ROC curves: pointwise percentiles over resamples of patients.

Shapes: N rows, R resamples, G points of a band.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ctbench_core.inference.patients import draw_counts, evidence, patient_codes
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
    ranked_codes, hit = codes[order], hit.astype(np.int32)
    for times in draw_counts(int(codes.max()) + 1, resamples, seed):
        ranked = times.astype(np.int32)[:, ranked_codes]
        rows, tp = np.cumsum(ranked, axis=1, dtype=np.int32), np.cumsum(ranked * hit, axis=1, dtype=np.int32)
        tp, fp = tp[:, last], (rows - tp)[:, last]
        for t, f in zip(tp, fp):
            if t[-1] and f[-1]:
                curves["pr"].append(_precision(grid, t, f))
                curves["roc"].append(np.interp(grid, np.append(0.0, f / f[-1]), np.append(0.0, t / t[-1])))
    return {name: Band(grid, *_limits(np.stack(rows))) for name, rows in curves.items()}


def _limits(curves: Floats) -> Floats:
    """Return the limits (2, G) of curves (R, G), points without a value left out."""
    quantile = np.nanquantile if np.isnan(curves).any() else np.quantile
    return np.asarray(quantile(curves, _TAILS, axis=0))


def _precision(grid: Floats, tp: Floats, fp: Floats) -> Floats:
    """Return precision where each recall of the grid is first reached: a step, as in average precision."""
    at = np.minimum(np.searchsorted(tp / tp[-1], grid - 1e-12), len(tp) - 1)
    return divide(tp[at], tp[at] + fp[at])
