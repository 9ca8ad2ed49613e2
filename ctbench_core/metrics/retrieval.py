"""Retrieval metrics of ranked candidates, exact in expectation under ties.

Candidates of equal score form a tied block, whose order is random. Every metric needs only the blocks that hold a
relevant candidate: how many candidates rank above, how many are tied, and how many of those are relevant. So the
caller can find the blocks in tiles, without a full similarity matrix in memory.

Source of the expectations: McSherry and Najork, Computing information retrieval performance measures efficiently
in the presence of tied scores, ECIR 2008. Shapes: Q queries, N candidates, M blocks, R resamples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ctbench_core.errors import InputError
from ctbench_core.metrics.arrays import Floats, as_weights, divide, has_resamples, to_numpy

Indices = NDArray[np.int64]
KS = (1, 5, 10, 50, 100)


@dataclass(frozen=True)
class TiedBlocks:
    """Blocks (M,) that hold a relevant candidate, in order of query and rank, with the totals of each query (Q,).

    above: candidates scored strictly higher; size: candidates in the block; hits: relevant ones among them.
    n_relevant counts all relevant candidates, also those that were not ranked; n_candidates all candidates.
    """

    query: Indices
    above: Indices
    size: Indices
    hits: Indices
    n_relevant: Indices
    n_candidates: Indices


@dataclass(frozen=True)
class RetrievalMetrics:
    """Metrics per query (Q,), NaN for a query without a relevant candidate."""

    per_query: dict[str, Floats]
    ks: tuple[int, ...]

    def summary(self, weights: ArrayLike | None = None) -> dict[str, Floats]:
        """Average over the queries with a relevant candidate; weights None, (Q,) or (R, Q) (a leading R axis then).

        Ranks are summarised by ``median_rank``; ``tied_queries`` counts ties; ``lift_at_K`` is recall over chance.
        Without such a query all is NaN; ``unscored_queries`` counts the queries without a relevant candidate.
        """
        draws = as_weights(weights, len(self.per_query["rank"]))
        scored = ~np.isnan(self.per_query["rank"])
        used = draws[:, scored]
        rows = {name: values[scored] for name, values in self.per_query.items()}
        means = {
            NAMES.get(name, name): divide(used @ row, used.sum(axis=1)) for name, row in rows.items() if name != "rank"
        }
        means |= {f"lift_at_{k}": divide(means[f"recall_at_{k}"], means[f"chance_at_{k}"]) for k in self.ks}
        means["median_rank"] = weighted_median(rows["rank"], used)
        means["tied_queries"] = used @ rows["tied"]
        means["unscored_queries"] = draws[:, ~scored].sum(axis=1)
        return means if has_resamples(weights) else {name: values[0] for name, values in means.items()}


NAMES = {"reciprocal_rank": "mrr", "average_precision": "map"}


def tied_blocks(
    scores: ArrayLike,
    relevant: ArrayLike,
    candidates: ArrayLike | None = None,
    n_relevant: ArrayLike | None = None,
) -> TiedBlocks:
    """Find the tied blocks that hold a relevant candidate, query by query.

    scores (Q, N), higher is better; relevant (Q, N) bool; candidates (Q, N) bool, None = all (False leaves out, for
    example, a query's own exam); n_relevant (Q,) where relevant documents may be missing, None = count them here.
    Raises InputError for unequal shapes and NaN scores.
    """
    values, truth = to_numpy(scores).astype(np.float64), to_numpy(relevant).astype(bool)
    allowed = np.ones(values.shape, bool) if candidates is None else to_numpy(candidates).astype(bool)
    if values.ndim != 2 or truth.shape != values.shape or allowed.shape != values.shape:
        raise InputError(
            f"Scores, relevant and candidates must share one shape (queries, candidates), "
            f"got {values.shape}, {truth.shape} and {allowed.shape}."
        )
    if np.isnan(values[allowed]).any():
        raise InputError("A candidate's score is NaN. Give it a number, or leave it out with `candidates`.")
    number, column = np.nonzero(truth & allowed)
    above, tied = np.empty_like(number), np.empty_like(number)
    limits = np.searchsorted(number, np.arange(len(values) + 1))
    for q, (first, last) in enumerate(pairwise(limits)):
        ranked = np.sort(values[q, allowed[q]])
        relevant_scores = values[q, column[first:last]]
        below = np.searchsorted(ranked, relevant_scores, "left")
        not_above = np.searchsorted(ranked, relevant_scores, "right")
        above[first:last], tied[first:last] = len(ranked) - not_above, not_above - below
    total = (truth & allowed).sum(axis=1) if n_relevant is None else n_relevant
    return blocks_from_ranks(number, above, tied, total, allowed.sum(axis=1))


def blocks_from_ranks(
    query: ArrayLike, above: ArrayLike, tied: ArrayLike, n_relevant: ArrayLike, n_candidates: ArrayLike
) -> TiedBlocks:
    """Group relevant candidates, one entry each, into their tied blocks.

    query: the query's number; above: candidates scored strictly higher; tied: candidates of equal score, itself
    included; n_relevant, n_candidates (Q,). Raises InputError when a query has more relevant entries than n_relevant.
    """
    number, higher, equal = (to_numpy(x).astype(np.int64) for x in (query, above, tied))
    totals, sizes = to_numpy(n_relevant).astype(np.int64), to_numpy(n_candidates).astype(np.int64)
    ranked = np.bincount(number, minlength=len(totals))
    if len(ranked) > len(totals) or (ranked > totals).any():
        raise InputError("n_relevant must be at least the number of ranked relevant candidates of every query.")
    span = int(higher.max(initial=0)) + 1
    keys, first, hits = np.unique(number * span + higher, return_index=True, return_counts=True)
    return TiedBlocks(keys // span, keys % span, equal[first], hits.astype(np.int64), totals, sizes)


def retrieval_metrics(blocks: TiedBlocks, ks: Sequence[int] = KS) -> RetrievalMetrics:
    """Compute the expected metrics of every query over the random orders of its ties.

    recall_at_K is any-hit (trec_eval success_K), fraction_recall_at_K the fraction of relevant candidates in the top K
    (recall_K); reciprocal_rank, average_precision and ndcg_at_K divide by all relevant; map_at_K counts precision in
    the top K only (map_cut_K); rank is the expected rank of the first relevant candidate, infinite when none was ranked;
    chance_at_K is recall_at_K of a random order; tied marks queries whose best relevant ties with a non-relevant.

    >>> blocks = tied_blocks([[0.9, 0.5, 0.1]], [[False, True, False]])
    >>> retrieval_metrics(blocks, ks=(1, 2)).per_query["recall_at_2"]
    array([1.])
    """
    first = _first_blocks(blocks)
    metrics = {
        "reciprocal_rank": np.where(first.ranked, expected_reciprocal_rank(first.above, first.size, first.hits), 0.0),
        "average_precision": _average_precision(blocks, None),
        "rank": np.where(first.ranked, first.above + (first.size + 1) / (first.hits + 1), np.inf),
        "tied": (first.size > first.hits).astype(np.float64),
    }
    for k in ks:
        drawn = np.clip(k - first.above, 0, first.size)
        metrics[f"recall_at_{k}"] = 1 - miss_probability(first.size, first.hits, drawn)
        metrics[f"fraction_recall_at_{k}"] = _fraction_recall(blocks, k)
        metrics[f"map_at_{k}"] = _average_precision(blocks, k)
        metrics[f"ndcg_at_{k}"] = _ndcg(blocks, k)
        n, total = blocks.n_relevant, blocks.n_candidates
        metrics[f"chance_at_{k}"] = 1 - miss_probability(total, np.minimum(n, total), np.minimum(k, total))
    scored = blocks.n_relevant > 0
    return RetrievalMetrics({name: np.where(scored, x, np.nan) for name, x in metrics.items()}, tuple(ks))


@dataclass(frozen=True)
class _FirstBlocks:
    """The highest block of every query (Q,); empty where a query has none."""

    ranked: NDArray[np.bool_]
    above: Indices
    size: Indices
    hits: Indices


def _first_blocks(blocks: TiedBlocks) -> _FirstBlocks:
    number, index = np.unique(blocks.query, return_index=True)
    columns = np.zeros((3, len(blocks.n_relevant)), np.int64)
    columns[:, number] = np.stack([blocks.above, blocks.size, blocks.hits])[:, index]
    return _FirstBlocks(columns[2] > 0, *columns)


def _per_query(blocks: TiedBlocks, values: Floats, divisor: ArrayLike) -> Floats:
    """Sum values (M,) over each query's blocks and divide."""
    return divide(np.bincount(blocks.query, values, minlength=len(blocks.n_relevant)), divisor)


def _fraction_recall(blocks: TiedBlocks, k: int) -> Floats:
    return _per_query(blocks, blocks.hits * np.clip(k - blocks.above, 0, blocks.size) / blocks.size, blocks.n_relevant)


def _ndcg(blocks: TiedBlocks, k: int) -> Floats:
    """Compute nDCG: binary gains, discount 1 / log2(rank + 1), ideal order of all relevant.

    Source: Jarvelin and Kekalainen, TOIS 2002.
    """
    sums = discount_sums(k)
    gain = sums[np.minimum(blocks.above + blocks.size, k)] - sums[np.minimum(blocks.above, k)]
    return _per_query(blocks, blocks.hits * gain / blocks.size, sums[np.minimum(blocks.n_relevant, k)])


def _average_precision(blocks: TiedBlocks, k: int | None) -> Floats:
    """Sum the expected precision at each relevant place (in the top k) and divide by all relevant.

    Place j of a block of size t with r hits is relevant with probability r / t. Above it are then the hits of earlier
    blocks and, in expectation, (j - 1)(r - 1) / (t - 1) of its own block.
    """
    places = blocks.size if k is None else np.clip(k - blocks.above, 0, blocks.size)
    earlier = np.cumsum(blocks.hits) - blocks.hits
    first_of_query = np.searchsorted(blocks.query, blocks.query)
    before = earlier - earlier[first_of_query]
    reciprocal = harmonic_difference(blocks.above, blocks.above + places)
    # The sum of (j - 1) / (above + j) over the places follows from the sum of 1 / (above + j).
    own = (places - (blocks.above + 1) * reciprocal) * (blocks.hits - 1) / np.maximum(blocks.size - 1, 1)
    return _per_query(blocks, blocks.hits / blocks.size * ((before + 1) * reciprocal + own), blocks.n_relevant)


# Probabilities and sums for a block of `size` tied candidates, `hits` of them relevant, in random order after `above`
# others. Arguments are integer arrays of one shape; results are float64.


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
    cases, inverse = np.unique(np.stack([above, size, hits]), axis=1, return_inverse=True)
    expected = np.zeros(cases.shape[1])
    single = cases[2] == 1
    expected[single] = harmonic_difference(cases[0, single], cases[0, single] + cases[1, single]) / cases[1, single]
    multiple = np.flatnonzero(cases[2] > 1)
    no_hit_yet, place = np.ones(len(multiple)), 1
    while len(multiple):
        above, size, hits = cases[:, multiple]
        remaining = size - place + 1
        expected[multiple] += no_hit_yet * hits / remaining / (above + place)
        no_hit_yet = no_hit_yet * (remaining - hits) / remaining
        open_cases = no_hit_yet > 1e-18  # below it, further places do not change the sum
        multiple, no_hit_yet, place = multiple[open_cases], no_hit_yet[open_cases], place + 1
    return expected[inverse.reshape(-1)]


def harmonic_difference(start: Indices, end: Indices) -> Floats:
    """Compute the sum of 1 / j over start < j <= end, accurate to the last digit even where the ends are close."""
    high, low = _harmonic_sums(1 << int(np.max(end, initial=0)).bit_length())
    return (high[end] - high[start]) + (low[end] - low[start])


@lru_cache(maxsize=4)
def _harmonic_sums(count: int) -> tuple[Floats, Floats]:
    """Return the harmonic numbers 0 to count in float64, and their rounding errors."""
    terms = 1 / np.arange(1, count + 1, dtype=np.float64)
    sums = np.append(0.0, np.cumsum(terms))
    # Knuth's two-sum finds the error of each addition of the running sum.
    added = sums[1:] - sums[:-1]
    error = (sums[:-1] - (sums[1:] - added)) + (terms - added)
    return sums, np.append(0.0, np.cumsum(error))


def discount_sums(count: int) -> Floats:
    """Return the sums of the discount 1 / log2(rank + 1) over ranks 1 to n, for n = 0 to count."""
    return np.append(0.0, np.cumsum(1 / np.log2(np.arange(2, count + 2, dtype=np.float64))))


def weighted_median(values: Floats, weights: Floats) -> Floats:
    """Compute the median of values (Q,) under each row of weights (R, Q): (R,), NaN where all weights are 0.

    With integer weights it is the median of the repeated values; of an even count, the mean of the middle two.
    """
    order = np.argsort(values)
    cumulative = np.cumsum(weights[:, order], axis=1)
    total = weights.sum(axis=1, keepdims=True)
    if not len(values):
        return np.full(len(weights), np.nan)
    ranked = values[order]
    lower = ranked[np.argmax(cumulative >= total / 2, axis=1)]
    upper = ranked[np.argmax(cumulative > total / 2, axis=1)]
    middle = np.where(lower == upper, lower, (lower + upper) / 2)
    return np.where(total[:, 0] > 0, middle, np.nan)
