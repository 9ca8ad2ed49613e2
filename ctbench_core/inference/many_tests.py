"""Correct for many tests: the best of several models (max-T), and the false discovery rate over a family.

Shapes: R resamples, M models, T tests.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ctbench_core.declared import METRICS
from ctbench_core.errors import InputError
from ctbench_core.inference.differences import difference, match_seeds
from ctbench_core.inference.figures import ELIGIBLE, MACRO, Figures, place_of, wide_near_end
from ctbench_core.metrics import Floats, divide

_DRAWS = 2000


@dataclass(frozen=True)
class Best:
    """The best of M models.

    Attributes:
        index: the model with the highest metric; None where none is defined.
        p: adjusted p-value against each model (M,), NaN for itself.
        marked: True if every p is below the level; only then is the model called best.
    """

    index: int | None
    p: Floats
    marked: bool


def best_of(
    figures: Figures,
    groups: Sequence[Sequence[int]],
    seeds: Sequence[Sequence[str]] = (),
    column: str = MACRO,
    level: float = 0.05,
    overlap: float = 0.0,
) -> Best:
    """Find the best of several models or recipes, each a group of layers, in one column.

    Of two, the p is that of their difference (`difference`), over the common ``seeds``, names by layer, if there are any, with
    their ``overlap``. Of more, the errors over patients are drawn as a multivariate t with their covariance, with the fewest degrees of freedom of any
    pair. Seeds are a random sample too: noise of a t with S - 1 degrees of freedom and their standard error is added
    to the draws of a recipe. Where the macro mean has no interval, the mean over the eligible findings decides; None is best
    where the column has none.
    """
    place = place_of(figures.columns, column)
    if column == MACRO and place is not None and figures.reasons[place] is not None:
        place = place_of(figures.columns, ELIGIBLE)
    if place is None or figures.reasons[place] is not None:
        return Best(None, np.full(len(groups), np.nan), False)
    declared = METRICS.get(figures.metric)
    sign = -1.0 if declared is not None and declared.larger_is_better is False else 1.0
    weights = np.stack([np.bincount(group, minlength=len(figures)) / len(group) for group in groups])
    values = weights @ figures.value[:, place]
    if len(groups) == 2:
        p, best = _pair_p(figures, groups, seeds, overlap)[place], int(np.argmax(sign * values))
        return Best(best, np.where(np.arange(2) == best, np.nan, p), bool(p < level))
    draws = _patient_draws(figures, weights, place)
    for number, group in enumerate(groups):
        if len(group) > 1:
            noise = np.random.default_rng([0, number]).standard_t(len(group) - 1, len(draws))
            draws[:, number] += noise * figures.value[group, place].std(ddof=1) * np.sqrt(1 / len(group))
    return best_by_max_t(sign * values, sign * draws, level)


def _pair_p(
    figures: Figures, groups: Sequence[Sequence[int]], seeds: Sequence[Sequence[str]], overlap: float
) -> Floats:
    """Return p (K,) of the difference of two groups."""
    if not seeds:
        return difference(figures, groups[0], groups[1], overlap=overlap).p
    first, second, paired = match_seeds(seeds[0], seeds[1])
    layers = [groups[0][place] for place in first], [groups[1][place] for place in second]
    return difference(figures, *layers, paired, overlap).p


def _patient_draws(figures: Figures, weights: Floats, place: int) -> Floats:
    """Draw the errors (R, M) over patients of weighted sums of layers (M, L) in a column."""
    errors, is_near = wide_near_end(figures)
    near = np.asarray(is_near.any(axis=0))
    dof = min(
        (float(figures.dof(a - b, near)[place]) for a, b in itertools.combinations(weights, 2)), default=float(_DRAWS)
    )
    variances, axes = np.linalg.eigh(weights @ errors[place] @ weights.T)
    draw = np.random.default_rng(0)
    normal = draw.normal(size=(_DRAWS, len(weights))) * np.sqrt(np.maximum(variances, 0.0))
    return np.asarray(normal @ axes.T / np.sqrt(draw.chisquare(dof, (_DRAWS, 1)) / dof))


def best_by_max_t(values: ArrayLike, draws: ArrayLike, level: float = 0.05) -> Best:
    """Compare the best of M models with all others, corrected for its selection from all of them.

    values (M,) are the metrics, draws (R, M) the same in paired resamples (one set of patients for all models). Each
    pair's difference is studentised by its spread over the resamples. p is the fraction of resamples in which the
    largest centred |t| of *any* pair is at least the observed |t|, with the +1 correction. Models whose metric is NaN
    are left out. Source: Westfall and Young 1993 (single-step max-T); Hothorn, Bretz and Westfall, Biom. J. 2008 (all
    pairs).
    """
    metrics, resamples = np.asarray(values, np.float64), np.asarray(draws, np.float64)
    if resamples.ndim != 2 or resamples.shape[1:] != metrics.shape:
        raise InputError(f"Draws must have shape (resamples, {len(metrics)}), got {resamples.shape}.")
    p = np.full(metrics.shape, np.nan)
    usable = np.flatnonzero(~np.isnan(metrics))
    if not len(usable):
        return Best(None, p, False)
    best = int(usable[np.argmax(metrics[usable])])
    defined = resamples[~np.isnan(resamples[:, usable]).any(axis=1)][:, usable]
    if len(usable) < 2 or len(defined) < 2:
        return Best(best, p, False)
    first, second = np.triu_indices(len(usable), 1)
    differences = defined[:, first] - defined[:, second]
    observed = metrics[usable][first] - metrics[usable][second]
    error = differences.std(axis=0, ddof=1)
    centred = np.abs(divide(differences - differences.mean(axis=0), error))
    largest = np.nan_to_num(centred).max(axis=1)
    statistic = np.where(error > 0, divide(np.abs(observed), error), np.where(observed == 0, 0.0, np.inf))
    pair_p = (1 + (largest[:, None] >= statistic).sum(axis=0)) / (len(defined) + 1)
    with_best = (usable[first] == best) | (usable[second] == best)
    other = np.where(usable[first] == best, usable[second], usable[first])
    p[other[with_best]] = pair_p[with_best]
    return Best(best, p, bool((pair_p[with_best] < level).all()))


def benjamini_hochberg(p: ArrayLike) -> Floats:
    """Adjust p-values (T,) for the false discovery rate; NaN is not part of the family.

    The i-th smallest of m becomes min over j >= i of p_j m / j. Source: Benjamini and Hochberg, JRSS B 1995; SciPy
    `false_discovery_control`. Raises InputError for values outside [0, 1].

    >>> benjamini_hochberg([0.01, 0.04, 0.03]).round(3).tolist()
    [0.03, 0.04, 0.04]
    """
    values = np.asarray(p, np.float64)
    known = ~np.isnan(values)
    family = values[known]
    if ((family < 0) | (family > 1)).any():
        raise InputError("p-values must lie in [0, 1].")
    order = np.argsort(family)
    scaled = family[order] * len(family) / np.arange(1, len(family) + 1)
    adjusted = np.full(values.shape, np.nan)
    adjusted[np.flatnonzero(known)[order]] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return adjusted
