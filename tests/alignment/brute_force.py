"""Alignment by its definitions: the whole similarity matrix in float64, one query at a time."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np


def similarities(image: np.ndarray, text: np.ndarray) -> np.ndarray:
    """Return cosines (N, N) of rows normalised in float64 and stored as float32; a zero row is similar to nothing."""
    sides = []
    for side in (image, text):
        norm = np.sqrt((side.astype(np.float64) ** 2).sum(axis=1, keepdims=True))
        unit = np.divide(side, norm, out=np.zeros(side.shape), where=norm > 0)
        sides.append(unit.astype(np.float32).astype(np.longdouble))
    # Extended precision, where there is one, leaves no trace of the order of summation in the float64.
    return np.stack([(row * sides[1]).sum(axis=1) for row in sides[0]]).astype(np.float64)


def blocks_of(scores: np.ndarray, relevant: np.ndarray) -> list[tuple[int, int, int]]:
    """Return (above, tied, relevant) of each distinct score, best first."""
    blocks, above = [], 0
    tied, found = Counter(scores.tolist()), Counter(scores[relevant].tolist())
    for score in sorted(tied, reverse=True):
        blocks.append((above, tied[score], found[score]))
        above += tied[score]
    return blocks


def query_metrics(scores: np.ndarray, relevant: np.ndarray, ks: list[int]) -> dict[str, float]:
    """Return the expected metrics of one query over all orders of its ties."""
    blocks = blocks_of(scores, relevant)
    n, n_relevant = len(scores), int(relevant.sum())
    metrics = {"map": _average_precision(blocks) / n_relevant}
    first = next(block for block in blocks if block[2])
    metrics["mrr"] = sum(p / rank for rank, p in _first_ranks(*first))
    metrics["rank"] = sum(p * rank for rank, p in _first_ranks(*first))
    metrics["tied"] = first[1] > first[2]
    for k in ks:
        metrics[f"recall_at_{k}"] = sum(p for rank, p in _first_ranks(*first) if rank <= k)
        metrics[f"chance_at_{k}"] = 1 - math.comb(n - n_relevant, min(k, n)) / math.comb(n, min(k, n))
        places = [(rank, r / t) for above, t, r in blocks for rank in range(above + 1, above + t + 1) if rank <= k]
        ideal = sum(1 / math.log2(rank + 1) for rank in range(1, min(n_relevant, k) + 1))
        metrics[f"ndcg_at_{k}"] = sum(p / math.log2(rank + 1) for rank, p in places) / ideal
        metrics[f"fraction_recall_at_{k}"] = sum(p for _, p in places) / n_relevant
    return metrics


def _average_precision(blocks: list[tuple[int, int, int]]) -> float:
    total, seen = 0.0, 0
    for above, t, r in blocks:
        for place in range(1, t + 1):
            others = (place - 1) * (r - 1) / (t - 1) if t > 1 else 0.0
            total += r / t * (seen + 1 + others) / (above + place)
        seen += r
    return total


def _first_ranks(above: int, t: int, r: int) -> list[tuple[int, float]]:
    """Return the ranks of the first relevant candidate of a block, with their probabilities."""
    return [(above + j, math.comb(t - j, r - 1) / math.comb(t, r)) for j in range(1, t - r + 2)]


def retrieval(
    matrix: np.ndarray, groups: np.ndarray, ks: list[int], left_out: np.ndarray | None = None
) -> dict[str, float]:
    """Return the metrics of one direction; rows of ``matrix`` are queries, ``left_out`` groups leave the gallery."""
    scored, without = [], 0
    for query, scores in enumerate(matrix):
        gallery = np.ones(len(scores), bool) if left_out is None else left_out != left_out[query]
        relevant = (groups == groups[query])[gallery]
        if relevant.any():
            scored.append(query_metrics(scores[gallery], relevant, ks))
        else:
            without += 1
    means = {"queries": len(matrix), "queries_without_relevant": without}
    means["tied_queries"] = sum(metrics["tied"] for metrics in scored)
    means["median_rank"] = float(np.median([metrics["rank"] for metrics in scored])) if scored else math.nan
    names = ["map", "mrr"] + [f"{name}_at_{k}" for k in ks for name in ("recall", "chance", "ndcg", "fraction_recall")]
    for name in names:
        means[name] = float(np.mean([metrics[name] for metrics in scored])) if scored else math.nan
    return means
