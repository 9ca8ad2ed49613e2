"""AUROC and average precision from one sort per label, exact with ties and under row weights.

Both areas are sums over the positive rows, so after the sort only those are visited. A resample is a set of row
weights: a bootstrap sorts once and pays one gather and two running sums per resample, two resamples at a time.

Without weights, blanks and scores outside [0, 2), as at the end of every epoch, a score and its label fit into one
integer, because floats from 0 to below 2 are ordered as their bits and leave two of them unused. One sort of integers
then orders both, three times faster than sorting row numbers and gathering scores and labels through them.

Shapes: N rows, C labels, R resamples, B heads x labels (a chunk of the scores' leading axes, flattened, times C),
P the most positive rows that any of the B has; a trailing axis of 2 is a pair of resamples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ctbench_core.metrics.arrays import Floats, as_arrays, class_reasons, divide, has_resamples, nan_scores

Indices = NDArray[np.intp]

# Rows times labels per chunk: arrays of this size stay in the second-level cache and below the size at which malloc
# maps fresh pages. Half of it takes a quarter more time.
CHUNK = 16384
_KEY_LIMIT = 2.0
_LARGEST_KEY = np.int64(2**62 - 1)  # bits of the float just below the limit


@dataclass(frozen=True)
class RankingMetrics:
    """AUROC and AUPRC per label, the weighted class counts, and the reason where undefined."""

    auroc: Floats
    auprc: Floats
    n_positive: Floats
    n_negative: Floats
    reasons: list[str | None]


class Ranking(NamedTuple):
    """A sort that serves any weights: row numbers by falling score, and the tie block of each positive.

    Row number N means "no row": rows of unknown label, and the padding after a label's last positive.
    Block limits index the running sums (B, N + 1) and (B, P + 1), flattened.
    """

    rows: Indices  # (B, N)
    positives: Indices  # (B, P)
    block_start: Indices  # (B, P) into the running sum over all rows
    block_end: Indices
    hits_start: Indices  # (B, P) into the running sum over positive rows
    hits_end: Indices


def ranking_metrics(targets: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None) -> RankingMetrics:
    """Compute AUROC and average precision per label, as scikit-learn does, exact with ties.

    targets (N, C) in {0, 1, NaN = unknown, left out}; scores (..., N, C), higher is more positive; weights None,
    (N,) or (R, N). Areas and counts have shape (..., C), with a leading R axis for weights (R, N).
    A label with one class only is NaN, with its reason; so is a label whose known rows have a NaN score.

    AUROC = P(score of a positive > of a negative) + P(equal) / 2; AUPRC = sum over tie blocks of (recall step) x
    (precision at the block's end). Source: scikit-learn `metrics/_ranking.py`. Raises InputError for wrong shapes,
    targets that are not 0, 1 or NaN, and negative weights.

    >>> ranking_metrics([[0], [0], [1], [1]], [[0.1], [0.4], [0.35], [0.8]]).auroc
    array([0.75])
    """
    truth, values, draws = as_arrays(targets, scores, weights)
    has_keys = weights is None and fits_keys(truth, values)
    pairs = [] if has_keys else _pairs(draws)
    count, labels = truth.shape
    flat = np.ascontiguousarray(np.swapaxes(values, -1, -2)).reshape(math.prod(values.shape[:-2]) * labels, count)
    by_label = np.ascontiguousarray(truth.T)
    areas = np.empty((4, max(1, 2 * len(pairs)), len(flat)))
    step = max(1, CHUNK // max(count, 1))
    for first in range(0, len(flat), step):
        chunk = slice(first, first + step)
        chunk_targets = by_label[np.arange(len(flat))[chunk] % labels]
        if has_keys:
            areas[:, 0, chunk] = key_areas(chunk_targets, flat[chunk])
            continue
        ranking = rank(chunk_targets, flat[chunk])
        for i, pair in enumerate(pairs):
            areas[:, 2 * i : 2 * i + 2, chunk] = _weighted_areas(ranking, pair)
    lead = draws.shape[:1] if has_resamples(weights) else ()
    results = areas[:, : len(draws)].reshape(4, *lead, *values.shape[:-2], labels)
    nan_labels = nan_scores(truth, values)
    results[:2, ..., nan_labels] = np.nan
    auroc, auprc, positive, negative = results
    return RankingMetrics(auroc, auprc, positive, negative, class_reasons(truth, nan_labels))


def macro(values: ArrayLike) -> tuple[Floats, Indices]:
    """Average the defined labels (last axis) and count the undefined; NaN when none is defined.

    >>> mean, undefined = macro([0.5, float("nan"), 0.7])
    >>> float(mean), int(undefined)
    (0.6, 1)
    """
    array = np.asarray(values, np.float64)
    defined = ~np.isnan(array)
    count = defined.sum(axis=-1)
    return divide(np.where(defined, array, 0.0).sum(axis=-1), count)[()], array.shape[-1] - count


def auprc_skill(auprc: ArrayLike, prevalence: ArrayLike) -> Floats:
    """Compute average precision relative to chance: (auprc - prevalence) / (1 - prevalence).

    Arrays of one shape; 1 is perfect, 0 is a random order, NaN where auprc is NaN or the prevalence 1.

    >>> float(auprc_skill(0.625, 0.25))
    0.5
    """
    chance = np.asarray(prevalence, np.float64)
    return divide(np.asarray(auprc, np.float64) - chance, 1 - chance)


def rank(targets: Floats, scores: Floats) -> Ranking:
    """Sort scores (B, N) in falling order along N, and find the tie block of every positive of targets (B, N)."""
    batch, count = scores.shape
    order = np.argsort(-scores, axis=1)
    flat = order + (np.arange(batch) * count)[:, None]
    truth = targets.ravel().take(flat)
    order[np.isnan(truth)] = count
    places = np.flatnonzero(truth == 1)
    starts, ends = tie_blocks(scores.ravel().take(flat))
    return _locate(order, places, starts[places], ends[places])


def _locate(order: Indices, places: Indices, starts: Indices, ends: Indices) -> Ranking:
    """Arrange the positives, at flat places of order (B, N), and the limits of their blocks as arrays (B, P)."""
    batch, count = order.shape
    limits = np.searchsorted(places, np.arange(batch + 1) * count)
    per_row = np.diff(limits)
    width = int(per_row.max(initial=0))
    row = np.repeat(np.arange(batch), per_row)
    # The padding of the rows above shifts a positive's slot in (B, P) from its place in the flat list.
    shift = row * width - limits[row]
    slots = np.arange(len(places)) + shift
    hits_start, hits_end = tie_blocks(starts[None])
    # Each running sum begins with a zero, so its rows are one longer.
    columns = (order.take(places), starts + row, ends + row, hits_start + shift + row, hits_end + shift + row)
    padded = [np.full(batch * width, fill, np.intp) for fill in (count, 0, 0, 0, 0)]
    for array, column in zip(padded, columns):
        array[slots] = column
    return Ranking(order, *(array.reshape(batch, width) for array in padded))


def _pairs(draws: Floats) -> list[Floats]:
    """Split draws (R, N) into pairs (N + 1, 2), the last row of weight 0; an odd R is padded with zeros."""
    padded = np.pad(draws, ((0, len(draws) % 2), (0, 1)))
    return [np.ascontiguousarray(padded[i : i + 2].T) for i in range(0, len(padded), 2)]


def _running_sum(pair: Floats) -> Floats:
    """Return cumulative sums of pairs (B, n, 2) along n, beginning with 0, as (B * (n + 1), 2)."""
    batch, count, _ = pair.shape
    out = np.zeros((batch, count + 1), np.complex128)
    # Each addition waits for the one before, so the two halves of a complex number take no longer than one float.
    np.cumsum(pair.view(np.complex128)[..., 0], axis=1, out=out[:, 1:])
    return out.view(np.float64).reshape(-1, 2)


def _total(pair: Floats) -> Floats:
    """Return sums of pairs (B, n, 2) along n, as (B, 2); complex numbers are contiguous, so NumPy sums pairwise."""
    return pair.view(np.complex128)[..., 0].sum(axis=1, keepdims=True).view(np.float64)


def _weighted_areas(ranking: Ranking, pair: Floats) -> Floats:
    """Return AUROC, AUPRC, positive and negative weight of two draws of row weights (N + 1, 2), as (4, 2, B)."""
    batch = len(ranking.rows)
    positive_weight = pair.take(ranking.positives, axis=0)
    above, hits = _running_sum(pair.take(ranking.rows, axis=0)), _running_sum(positive_weight)
    above_end, hits_end = above.take(ranking.block_end, axis=0), hits.take(ranking.hits_end, axis=0)
    n_positive = hits.reshape(batch, -1, 2)[:, -1]
    # Both sums add the positives in the same order, so without negatives the difference is exactly 0.
    n_negative = above.reshape(batch, -1, 2)[:, -1] - n_positive
    # A negative tied with a positive counts half: the mean of the negatives above the block and above its end.
    negatives = above_end - hits_end
    negatives += above.take(ranking.block_start, axis=0)
    negatives -= hits.take(ranking.hits_start, axis=0)
    outranked = _total(np.multiply(positive_weight, negatives, out=negatives)) / 2
    # Nothing above means no hits either: 0 / tiny is 0.
    precision = np.divide(hits_end, np.maximum(above_end, np.finfo(np.float64).tiny), out=hits_end)
    auroc = 1 - divide(outranked, n_positive * n_negative)
    auprc = divide(_total(np.multiply(positive_weight, precision, out=precision)), n_positive)
    auprc[n_negative == 0] = np.nan
    return np.stack([auroc, auprc, n_positive, n_negative]).transpose(0, 2, 1)


def fits_keys(targets: Floats, scores: Floats) -> bool:
    """Return whether scores and labels fit integer keys: all labels known and all scores in [0, 2)."""
    inside = bool(((scores >= 0) & (scores < _KEY_LIMIT)).all())
    return inside and not np.isnan(targets).any()


def key_areas(targets: Floats, scores: Floats) -> Floats:
    """Return AUROC, AUPRC, positive and negative rows of targets and scores (B, N), as (4, B), by integer keys."""
    batch, count = scores.shape
    keys = (scores + 0.0).view(np.int64)  # -0 becomes 0
    np.subtract(_LARGEST_KEY, keys, out=keys)  # falling order
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
    outranked = np.bincount(row, above_end - hits_end + above_start - hits_start, minlength=batch) / 2
    precision = np.bincount(row, hits_end / above_end, minlength=batch)
    auroc = 1 - divide(outranked, n_positive * n_negative)
    auprc = divide(precision, np.where(n_negative > 0, n_positive, 0))
    return np.stack([auroc, auprc, n_positive, n_negative])


def tie_blocks(ranked: NDArray[np.generic]) -> tuple[Indices, Indices]:
    """Return for each element of rows sorted along the last axis, flattened, the limits of its run of equal values."""
    first = np.ones(ranked.shape, bool)
    np.not_equal(ranked[:, 1:], ranked[:, :-1], out=first[:, 1:])
    limits = np.append(np.flatnonzero(first), ranked.size)
    if len(limits) > ranked.size:  # no ties
        return limits[:-1], limits[1:]
    block = np.cumsum(first) - 1
    return limits[block], limits[block + 1]
