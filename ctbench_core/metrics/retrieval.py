"""Retrieval metrics of ranked candidates, exact in expectation under ties.

Candidates of one score form a tied block, whose order is random. Every metric needs only the blocks that hold a
relevant candidate: how many candidates stand above, how many are tied, and how many of those are relevant. So the
caller may find the blocks in tiles, without ever holding a whole similarity matrix.

Source of the expectations: McSherry and Najork, Computing information retrieval performance measures efficiently
in the presence of tied scores, ECIR 2008. Shapes: Q queries, N candidates, M blocks, R resamples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ctbench_core.errors import InputError
from ctbench_core.metrics.arrays import Floats, as_weights, divide, has_resamples, to_numpy
from ctbench_core.metrics.expectation import (
    discount_sums,
    expected_reciprocal_rank,
    harmonic_difference,
    miss_probability,
    weighted_median,
)

Indices = NDArray[np.int64]
KS = (1, 5, 10, 50, 100)


@dataclass(frozen=True)
class TiedBlocks:
    """Blocks (M,) that hold a relevant candidate, in order of query and rank, and what each query (Q,) is up against.

    above: candidates scored strictly higher; size: candidates in the block; hits: relevant ones among them.
    n_relevant counts all relevant candidates, also those that were not ranked.
    """

    query: Indices
    above: Indices
    size: Indices
    hits: Indices
    n_relevant: Indices
    n_candidates: Indices


@dataclass(frozen=True)
class RetrievalMetrics:
    """Figures per query (Q,), NaN for a query without a relevant candidate."""

    per_query: dict[str, Floats]
    ks: tuple[int, ...]

    def summary(self, weights: ArrayLike | None = None) -> dict[str, Floats]:
        """Average over the scored queries; weights None, (Q,) or (R, Q) with a leading R axis in the result.

        Rank gives ``median_rank``, ties are counted in ``tied_queries``, and ``lift_at_K`` is recall over chance.
        Without a scored query all is NaN; ``unscored_queries`` counts those without a relevant candidate.
        """
        draws = as_weights(weights, len(self.per_query["rank"]))
        scored = ~np.isnan(self.per_query["rank"])
        kept = draws[:, scored]
        rows = {name: values[scored] for name, values in self.per_query.items()}
        means = {
            NAMES.get(name, name): divide(kept @ row, kept.sum(axis=1)) for name, row in rows.items() if name != "rank"
        }
        means |= {f"lift_at_{k}": divide(means[f"recall_at_{k}"], means[f"chance_at_{k}"]) for k in self.ks}
        means["median_rank"] = weighted_median(rows["rank"], kept)
        means["tied_queries"] = kept @ rows["tied"]
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

    scores (Q, N), higher is better; relevant (Q, N) bool; candidates (Q, N) bool, None = all (to leave a query's own
    exam out); n_relevant (Q,) where a run may omit relevant documents, None = those among the candidates.
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
        raise InputError("A candidate's score is NaN: give it a number, or leave it out through `candidates`.")
    number, column = np.nonzero(truth & allowed)
    above, tied = np.empty_like(number), np.empty_like(number)
    limits = np.searchsorted(number, np.arange(len(values) + 1))
    for q, (first, last) in enumerate(pairwise(limits)):
        ranked = np.sort(values[q, allowed[q]])
        found = values[q, column[first:last]]
        below = np.searchsorted(ranked, found, "left")
        not_above = np.searchsorted(ranked, found, "right")
        above[first:last], tied[first:last] = len(ranked) - not_above, not_above - below
    total = (truth & allowed).sum(axis=1) if n_relevant is None else n_relevant
    return blocks_from_ranks(number, above, tied, total, allowed.sum(axis=1))


def blocks_from_ranks(
    query: ArrayLike, above: ArrayLike, tied: ArrayLike, n_relevant: ArrayLike, n_candidates: ArrayLike
) -> TiedBlocks:
    """Gather relevant candidates, one entry each, into their tied blocks.

    query: the query's number; above: candidates scored strictly higher; tied: candidates of equal score, itself
    included; n_relevant, n_candidates (Q,). Raises InputError when a query has more relevant entries than n_relevant.
    """
    number, higher, equal = (to_numpy(x).astype(np.int64) for x in (query, above, tied))
    totals, sizes = to_numpy(n_relevant).astype(np.int64), to_numpy(n_candidates).astype(np.int64)
    found = np.bincount(number, minlength=len(totals))
    if len(found) > len(totals) or (found > totals).any():
        raise InputError("n_relevant must count, for every query, at least the relevant candidates that were ranked.")
    span = int(higher.max(initial=0)) + 1
    keys, first, hits = np.unique(number * span + higher, return_index=True, return_counts=True)
    return TiedBlocks(keys // span, keys % span, equal[first], hits.astype(np.int64), totals, sizes)


def retrieval_metrics(blocks: TiedBlocks, ks: Sequence[int] = KS) -> RetrievalMetrics:
    """Compute the expected figures of every query over the random orders of its ties.

    recall_at_K is any-hit (trec_eval success_K), fraction_recall_at_K the share of the relevant found (recall_K);
    reciprocal_rank, average_precision and ndcg_at_K divide by all relevant; map_at_K counts precision within the
    top K only (map_cut_K); rank is the expected rank of the first relevant candidate, infinite when none was ranked;
    chance_at_K is recall_at_K of a random order; tied marks queries whose best relevant ties with a non-relevant.

    >>> blocks = tied_blocks([[0.9, 0.5, 0.1]], [[False, True, False]])
    >>> retrieval_metrics(blocks, ks=(1, 2)).per_query["recall_at_2"]
    array([1.])
    """
    first = _first_block(blocks)
    figures = {
        "reciprocal_rank": np.where(first.ranked, expected_reciprocal_rank(first.above, first.size, first.hits), 0.0),
        "average_precision": _average_precision(blocks, None),
        "rank": np.where(first.ranked, first.above + (first.size + 1) / (first.hits + 1), np.inf),
        "tied": (first.size > first.hits).astype(np.float64),
    }
    for k in ks:
        drawn = np.clip(k - first.above, 0, first.size)
        figures[f"recall_at_{k}"] = 1 - miss_probability(first.size, first.hits, drawn)
        figures[f"fraction_recall_at_{k}"] = _fraction_found(blocks, k)
        figures[f"map_at_{k}"] = _average_precision(blocks, k)
        figures[f"ndcg_at_{k}"] = _ndcg(blocks, k)
        n, everyone = blocks.n_relevant, blocks.n_candidates
        figures[f"chance_at_{k}"] = 1 - miss_probability(everyone, np.minimum(n, everyone), np.minimum(k, everyone))
    scored = blocks.n_relevant > 0
    return RetrievalMetrics({name: np.where(scored, x, np.nan) for name, x in figures.items()}, tuple(ks))


@dataclass(frozen=True)
class _First:
    """The highest block of every query (Q,) that has one; elsewhere an empty block."""

    ranked: NDArray[np.bool_]
    above: Indices
    size: Indices
    hits: Indices


def _first_block(blocks: TiedBlocks) -> _First:
    number, at = np.unique(blocks.query, return_index=True)
    columns = np.zeros((3, len(blocks.n_relevant)), np.int64)
    columns[:, number] = np.stack([blocks.above, blocks.size, blocks.hits])[:, at]
    return _First(columns[2] > 0, *columns)


def _per_query(blocks: TiedBlocks, values: Floats, divisor: ArrayLike) -> Floats:
    """Sum values (M,) over each query's blocks and divide."""
    return divide(np.bincount(blocks.query, values, minlength=len(blocks.n_relevant)), divisor)


def _fraction_found(blocks: TiedBlocks, k: int) -> Floats:
    return _per_query(blocks, blocks.hits * np.clip(k - blocks.above, 0, blocks.size) / blocks.size, blocks.n_relevant)


def _ndcg(blocks: TiedBlocks, k: int) -> Floats:
    """Binary gains, discount 1 / log2(rank + 1), ideal order of all relevant. Source: Jarvelin and Kekalainen 2002."""
    sums = discount_sums(k)
    gain = sums[np.minimum(blocks.above + blocks.size, k)] - sums[np.minimum(blocks.above, k)]
    return _per_query(blocks, blocks.hits * gain / blocks.size, sums[np.minimum(blocks.n_relevant, k)])


def _average_precision(blocks: TiedBlocks, k: int | None) -> Floats:
    """Sum the expected precision at each relevant place (within the top k), over all relevant.

    Place j of a block of size t with r hits is relevant with chance r / t and then has, expected, (j - 1)(r - 1) /
    (t - 1) hits of its own block above it, besides those of the earlier blocks.
    """
    places = blocks.size if k is None else np.clip(k - blocks.above, 0, blocks.size)
    earlier = np.cumsum(blocks.hits) - blocks.hits
    opening = np.searchsorted(blocks.query, blocks.query)
    before = earlier - earlier[opening]
    reciprocal = harmonic_difference(blocks.above, blocks.above + places)
    # Sum of (j - 1) / (above + j) over the places, from that of 1 / (above + j).
    own = (places - (blocks.above + 1) * reciprocal) * (blocks.hits - 1) / np.maximum(blocks.size - 1, 1)
    return _per_query(blocks, blocks.hits / blocks.size * ((before + 1) * reciprocal + own), blocks.n_relevant)
