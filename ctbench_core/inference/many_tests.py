"""Which model is "best": only against all others.

Shapes: R resamples, M models.

MERGED: The false discovery rate over a family of tests.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ctbench_core.errors import InputError
from ctbench_core.metrics import Floats, divide


@dataclass(frozen=True)
class Best:
    """Which of M models is best, and how surely.

    Attributes:
        index: the model with the highest figure; None where none is defined.
        p: adjusted p-value against each model (M,), NaN for itself.
        marked: True where every p is below the level: only then is it called best.
    """

    index: int | None
    p: Floats
    marked: bool


def best_by_max_t(values: ArrayLike, draws: ArrayLike, level: float = 0.05) -> Best:
    """Compare the best of M models with all others, for any of them could have come out best.

    values (M,) are the figures, draws (R, M) the same in paired resamples (one set of patients for all models). Each
    pair's difference is studentised by its spread over the resamples; p is the share of resamples in which the largest
    centred |t| of *any* pair reaches the observed one, with the +1 correction. Source: Westfall and Young 1993
    (single-step max-T); Hothorn, Bretz and Westfall, Biom. J. 2008 (all pairs). NaN figures take no part.
    """
    figures, tries = np.asarray(values, np.float64), np.asarray(draws, np.float64)
    if tries.ndim != 2 or tries.shape[1:] != figures.shape:
        raise InputError(f"Draws must have shape (resamples, {len(figures)}), got {tries.shape}.")
    p = np.full(figures.shape, np.nan)
    usable = np.flatnonzero(~np.isnan(figures))
    if not len(usable):
        return Best(None, p, False)
    best = int(usable[np.argmax(figures[usable])])
    kept = tries[~np.isnan(tries[:, usable]).any(axis=1)][:, usable]
    if len(usable) < 2 or len(kept) < 2:
        return Best(best, p, False)
    first, second = np.triu_indices(len(usable), 1)
    apart = kept[:, first] - kept[:, second]
    observed = figures[usable][first] - figures[usable][second]
    error = apart.std(axis=0, ddof=1)
    centred = np.abs(divide(apart - apart.mean(axis=0), error))
    largest = np.nan_to_num(centred).max(axis=1)
    statistic = np.where(error > 0, divide(np.abs(observed), error), np.where(observed == 0, 0.0, np.inf))
    against = (1 + (largest[:, None] >= statistic).sum(axis=0)) / (len(kept) + 1)
    mine = (usable[first] == best) | (usable[second] == best)
    other = np.where(usable[first] == best, usable[second], usable[first])
    p[other[mine]] = against[mine]
    return Best(best, p, bool((against[mine] < level).all()))


def benjamini_hochberg(p: ArrayLike) -> Floats:
    """Adjust p-values (T,) so that marks below q hold the false discovery rate at q; NaN stays out of the family.

    The i-th smallest of m becomes min over j >= i of p_j m / j. Source: Benjamini and Hochberg, JRSS B 1995; SciPy
    `false_discovery_control`. Raises InputError for values outside [0, 1].

    >>> benjamini_hochberg([0.01, 0.04, 0.03]).round(3).tolist()
    [0.03, 0.04, 0.04]
    """
    values = np.asarray(p, np.float64)
    known = ~np.isnan(values)
    given = values[known]
    if ((given < 0) | (given > 1)).any():
        raise InputError("p-values must lie in [0, 1].")
    order = np.argsort(given)
    scaled = given[order] * len(given) / np.arange(1, len(given) + 1)
    adjusted = np.empty_like(given)
    adjusted[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    found = np.full(values.shape, np.nan)
    found[known] = adjusted
    return found
