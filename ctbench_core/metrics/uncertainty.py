"""Patient-clustered bootstrap intervals: patients are drawn, and their rows come along as weights.

Rows of one patient are not independent, so a row-wise resample would give intervals that are too short.
A resample is a vector of row weights, and all resamples share one sort (`ranking_metrics`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ctbench_core.metrics.arrays import Floats, as_targets, divide
from ctbench_core.metrics.ranking import ranking_metrics

RESAMPLES = 1000
LEVEL = 0.95
# Fewer patients of either class, or more undefined resamples, and no interval is given (NUMERICS).
MIN_PATIENTS = 10
MAX_UNDEFINED = 0.05
# Resamples a call: bounds memory at 64 x 50,188 x 8 B = 26 MB of weights.
_CHUNK = 64


@dataclass(frozen=True)
class Intervals:
    """Bootstrap intervals of AUROC and AUPRC.

    Attributes:
        auroc, auprc: lower and upper bounds, float64 of shape (C, 2); NaN where none is given.
        macro_auroc, macro_auprc: bounds of the mean over the labels that have an interval, shape (2,).
        reasons: why a label has no interval, else None.
    """

    auroc: Floats
    auprc: Floats
    macro_auroc: Floats
    macro_auprc: Floats
    reasons: list[str | None]


def bootstrap_intervals(
    targets: ArrayLike, scores: ArrayLike, patients: ArrayLike, resamples: int = RESAMPLES, seed: int = 0
) -> Intervals:
    """Compute 95 % percentile intervals by resampling patients.

    targets (N, C) in {0, 1, NaN}; scores (N, C); patients (N,) of any hashable kind, one a row.
    Raises InputError for wrong shapes.
    """
    known = as_targets(targets, axes=2)
    codes = np.unique(np.asarray(patients).astype(str), return_inverse=True)[1]
    reasons = _too_few(known, codes)
    draws = [ranking_metrics(known, scores, weights) for weights in _weights(codes, resamples, seed)]
    auroc, auprc = (np.concatenate([getattr(draw, name) for draw in draws]) for name in ("auroc", "auprc"))
    for c, undefined in enumerate(np.isnan(auroc).mean(axis=0)):
        if reasons[c] is None and undefined > MAX_UNDEFINED:
            reasons[c] = f"{undefined:.0%} of the resamples hold one class only"
    given = np.array([reason is None for reason in reasons])
    return Intervals(
        auroc=_bounds(auroc, given),
        auprc=_bounds(auprc, given),
        macro_auroc=_macro_bounds(auroc, given),
        macro_auprc=_macro_bounds(auprc, given),
        reasons=reasons,
    )


def _weights(codes: np.ndarray, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Draw patients with replacement; yield row weights of shape (up to _CHUNK, N)."""
    rng = np.random.default_rng(seed)
    count = int(codes.max(initial=-1)) + 1
    for start in range(0, resamples, _CHUNK):
        drawn = rng.integers(0, count, (min(_CHUNK, resamples - start), count))
        times = np.stack([np.bincount(row, minlength=count) for row in drawn])
        yield times[:, codes].astype(np.float64)


def _too_few(targets: Floats, codes: np.ndarray) -> list[str | None]:
    reasons: list[str | None] = []
    for column in targets.T:
        positive, negative = (len(np.unique(codes[column == side])) for side in (1, 0))
        enough = min(positive, negative) >= MIN_PATIENTS
        counted = f"positive patients {positive}, negative {negative}: an interval needs {MIN_PATIENTS} of each"
        reasons.append(None if enough else counted)
    return reasons


def _bounds(draws: Floats, given: np.ndarray) -> Floats:
    bounds = np.full((draws.shape[1], 2), np.nan)
    if given.any():
        bounds[given] = np.nanquantile(draws[:, given], _tails(), axis=0).T
    return bounds


def _macro_bounds(draws: Floats, given: np.ndarray) -> Floats:
    if not given.any():
        return np.full(2, np.nan)
    defined = ~np.isnan(draws[:, given])
    means = divide(np.where(defined, draws[:, given], 0).sum(axis=1), defined.sum(axis=1))
    return np.nanquantile(means, _tails())


def _tails() -> list[float]:
    return [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
