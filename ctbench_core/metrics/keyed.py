"""AUROC and average precision of probabilities whose rows all count once, as at the end of every epoch.

A probability and its label fit one integer: floats from 0 to below 2 are ordered as their bits, and leave two of them
unused. So one sort of integers orders scores and labels together, three times faster than a sort of row numbers
through which both are gathered; what is above a row is then its place.

Shapes: N rows, B heads x labels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ctbench_core.metrics.arrays import Floats, divide

Indices = NDArray[np.intp]

_LIMIT = 2.0
_LAST = np.int64(2**62 - 1)  # bits of the float just below the limit


def fits_keys(targets: Floats, scores: Floats) -> bool:
    """Whether all labels are known and all scores lie in [0, 2)."""
    inside = bool(((scores >= 0) & (scores < _LIMIT)).all())
    return inside and not np.isnan(targets).any()


def keyed_areas(targets: Floats, scores: Floats) -> Floats:
    """Return AUROC, AUPRC and the numbers of positives and negatives of targets and scores (B, N), as (4, B)."""
    batch, count = scores.shape
    keys = (scores + 0.0).view(np.int64)  # -0 becomes 0
    np.subtract(_LAST, keys, out=keys)  # falling order
    keys = 2 * keys + targets.astype(np.int64)
    keys.sort(axis=1)
    places = np.flatnonzero((keys & 1).astype(bool))
    row = places // count
    n_positive = np.bincount(row, minlength=batch)
    n_negative = count - n_positive
    start, end = (limits[places] for limits in tie_blocks(keys >> 1))
    above_start, above_end = start - row * count, end - row * count
    first = (np.cumsum(n_positive) - n_positive)[row]
    hits_start, hits_end = (limits - first for limits in tie_blocks(start[None]))
    # A negative tied with a positive counts half: the mean of the negatives above the block and above its end.
    overtaken = np.bincount(row, above_end - hits_end + above_start - hits_start, minlength=batch) / 2
    precision = np.bincount(row, hits_end / above_end, minlength=batch)
    auroc = 1 - divide(overtaken, n_positive * n_negative)
    auprc = divide(precision, np.where(n_negative > 0, n_positive, 0))
    return np.stack([auroc, auprc, n_positive, n_negative])


def tie_blocks(ranked: NDArray[np.generic]) -> tuple[Indices, Indices]:
    """Return for each place in a table sorted along its rows, flattened, the limits of the equal values around it."""
    first = np.ones(ranked.shape, bool)
    np.not_equal(ranked[:, 1:], ranked[:, :-1], out=first[:, 1:])
    limits = np.append(np.flatnonzero(first), ranked.size)
    if len(limits) > ranked.size:  # no ties
        return limits[:-1], limits[1:]
    block = np.cumsum(first) - 1
    return limits[block], limits[block + 1]
