"""Sums and probabilities that expected retrieval metrics are made of.

A block of `size` tied candidates, `hits` of them relevant, stands in random order below `above` others.
Arguments are integer arrays of one shape; all is float64.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ctbench_core.metrics.arrays import Floats

Indices = NDArray[np.int64]


def miss_probability(size: Indices, hits: Indices, drawn: Indices) -> Floats:
    """Compute the chance that none of `drawn` candidates is a hit: C(size - hits, drawn) / C(size, drawn)."""
    # The hypergeometric ratio is symmetric in hits and drawn; the product over the smaller is the shorter one.
    few, many = np.minimum(hits, drawn), np.maximum(hits, drawn)
    chance = np.ones(few.shape)
    for i in range(int(few.max(initial=0))):
        step = np.maximum(size - many - i, 0) / np.maximum(size - i, 1)
        chance *= np.where(i < few, step, 1.0)
    return chance


def expected_reciprocal_rank(above: Indices, size: Indices, hits: Indices) -> Floats:
    """Compute E[1 / rank of the first hit], the sum over places j of P(first hit at j) / (above + j)."""
    cases, back = np.unique(np.stack([above, size, hits]), axis=1, return_inverse=True)
    expected = np.zeros(cases.shape[1])
    lone = cases[2] == 1
    expected[lone] = harmonic_difference(cases[0, lone], cases[0, lone] + cases[1, lone]) / cases[1, lone]
    several = np.flatnonzero(cases[2] > 1)
    missed, place = np.ones(len(several)), 1
    while len(several):
        above, size, hits = cases[:, several]
        left = size - place + 1
        expected[several] += missed * hits / left / (above + place)
        missed = missed * (left - hits) / left
        # What is left can no longer change the sum, or there is nothing left.
        going = missed > 1e-18
        several, missed, place = several[going], missed[going], place + 1
    return expected[back.reshape(-1)]


def harmonic_difference(start: Indices, end: Indices) -> Floats:
    """Compute the sum of 1 / j over start < j <= end, to the last digit also where the two ends are close."""
    high, low = _harmonic_sums(1 << int(np.max(end, initial=0)).bit_length())
    return (high[end] - high[start]) + (low[end] - low[start])


@lru_cache(maxsize=4)
def _harmonic_sums(count: int) -> tuple[Floats, Floats]:
    """Return the harmonic numbers 0 to count, and what their float64 values lost to rounding."""
    terms = 1 / np.arange(1, count + 1, dtype=np.float64)
    sums = np.append(0.0, np.cumsum(terms))
    # Knuth's two-sum finds the error of each addition of the running sum.
    kept = sums[1:] - sums[:-1]
    error = (sums[:-1] - (sums[1:] - kept)) + (terms - kept)
    return sums, np.append(0.0, np.cumsum(error))


def discount_sums(count: int) -> Floats:
    """Return the sums of the discount 1 / log2(rank + 1) over ranks 1 to n, for n = 0 to count."""
    return np.append(0.0, np.cumsum(1 / np.log2(np.arange(2, count + 2, dtype=np.float64))))


def weighted_median(values: Floats, weights: Floats) -> Floats:
    """Compute the median of values (Q,) under each row of weights (R, Q): (R,), NaN without weight.

    Under whole-number weights it is the median of the values repeated that often, with the mean of the two middle
    ones for an even count.
    """
    order = np.argsort(values)
    passed = np.cumsum(weights[:, order], axis=1)
    total = weights.sum(axis=1, keepdims=True)
    if not len(values):
        return np.full(len(weights), np.nan)
    ranked = values[order]
    lower = ranked[np.argmax(passed >= total / 2, axis=1)]
    upper = ranked[np.argmax(passed > total / 2, axis=1)]
    middle = np.where(lower == upper, lower, (lower + upper) / 2)
    return np.where(total[:, 0] > 0, middle, np.nan)
