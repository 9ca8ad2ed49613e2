"""The nearest candidates of every query, and how similar their labels are to those of the query.

Shapes: Q queries, T nearest distinct candidate vectors, L distinct label vectors, C findings.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ctbench_core.alignment.ordering import ItemLists
from ctbench_core.alignment.scoring import Columns, prefix_sums


@dataclass(frozen=True)
class NearestCandidates(Columns):
    """Nearest candidates of Q queries, nearest first.

    Attributes:
        item: distinct candidate vectors, int32 (Q, T).
        similarity: exact to float32, (Q, T).
        size: the number of samples that share each vector, without the query itself where it is left out; int32 (Q, T).
        above, tied: candidates strictly nearer, and the size of the tied block, int32 (Q, T).
    """

    item: np.ndarray
    similarity: np.ndarray
    size: np.ndarray
    above: np.ndarray
    tied: np.ndarray

    @staticmethod
    def of(
        item: np.ndarray, similarity: np.ndarray, level: np.ndarray, shares: np.ndarray, own: np.ndarray | None
    ) -> NearestCandidates:
        """Compute the tied blocks of sorted candidates; own: the query's own vector (Q,), of which one copy is left out."""
        size = shares[item]
        if own is not None:
            mine = item == own[:, None]
            size = size - mine
            level = level - (mine & (similarity == similarity[:, -1:])).any(axis=1)
        fresh = np.ones(item.shape, bool)
        fresh[:, 1:] = similarity[:, 1:] != similarity[:, :-1]
        block = np.cumsum(fresh, axis=1) - 1
        flat = block + np.arange(len(item))[:, None] * item.shape[1]
        tied = np.bincount(flat.ravel(), size.ravel(), minlength=item.size)
        tied[flat[:, -1]] = level
        above = np.cumsum(tied.reshape(item.shape), axis=1).ravel() - tied
        parts = (item, size, above[flat], tied[flat])
        whole = [part.astype(np.int32) for part in parts]
        return NearestCandidates(whole[0], similarity.astype(np.float32), *whole[1:])

    def expected(self, k: int) -> np.ndarray:
        """Return the expected number of each entry's samples among the first k, float64 (Q, T)."""
        inside = np.clip(k - self.above, 0, self.tied)
        return self.size * inside / np.maximum(self.tied, 1)

    def discount(self, k: int) -> np.ndarray:
        """Return each entry's expected sum of 1 / log2(rank + 1) among the first k, float64 (Q, T)."""
        sums = prefix_sums(k, lambda i: 1 / np.log2(i + 1))
        within = sums[np.minimum(self.above + self.tied, k)] - sums[np.minimum(self.above, k)]
        return self.size * within / np.maximum(self.tied, 1)


@dataclass(frozen=True)
class LabelVectors:
    """Findings of N samples in {0, 1, NaN}, by their L distinct vectors.

    Attributes:
        distinct: float32 (L, C).
        of_sample: int64 (N,).
    """

    distinct: np.ndarray
    of_sample: np.ndarray

    @staticmethod
    def of(targets: np.ndarray) -> LabelVectors:
        """Merge equal label vectors; unknown labels are equal to each other."""
        filled = np.nan_to_num(targets.astype(np.float32), nan=-1)
        distinct, inverse = np.unique(filled, axis=0, return_inverse=True)
        return LabelVectors(np.where(distinct < 0, np.nan, distinct), inverse.reshape(-1))

    @property
    def targets(self) -> np.ndarray:
        """Findings of every sample, float32 (N, C)."""
        return self.distinct[self.of_sample]

    def jaccard(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Return the Jaccard similarity of pairs of label vectors over the findings known in both; indices broadcast.

        It is the number of shared findings divided by that of all findings of both; 1 for two vectors without a finding.
        """
        shape = np.broadcast_shapes(left.shape, right.shape)
        shared, either = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
        for present, known in self._bits():
            shared += np.bitwise_count(present[left] & present[right])
            either += np.bitwise_count((present[left] | present[right]) & known[left] & known[right])
        return np.where(either > 0, shared / np.maximum(either, 1), 1.0)

    def _bits(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return presence and known labels as bits, 32 findings in an integer."""
        bits = []
        for start in range(0, self.distinct.shape[1], 32):
            columns = self.distinct[:, start : start + 32]
            weights = 1 << np.arange(columns.shape[1], dtype=np.int64)
            bits.append(((columns == 1) @ weights, (~np.isnan(columns)) @ weights))
        return bits


def mean_jaccard(
    nearest: NearestCandidates, query: np.ndarray, of_vector: ItemLists, labels: LabelVectors, own: bool
) -> np.ndarray:
    """Return each entry's mean label-Jaccard with its query over the samples that share the vector, float32 (Q, T).

    query: label vector of each query, int (Q,); of_vector: the label vectors of each candidate vector's samples;
    own: whether the query's own sample (Jaccard 1) is left out of its own vector.
    """
    starts, codes, counts = (part.cpu().numpy() for part in (of_vector.starts, of_vector.items, of_vector.counts))
    lengths = np.diff(starts)[nearest.item]
    means = np.zeros(nearest.item.shape, np.float32)
    for rows in _chunks(lengths.sum(axis=1)):
        lists = lengths[rows].ravel()
        entry = np.repeat(np.arange(len(lists)), lists)
        place = np.repeat(starts[nearest.item[rows].ravel()], lists) + _positions(lists)
        width = nearest.item.shape[1]
        similarity = labels.jaccard(query[rows][entry // width], codes[place]) * counts[place]
        total = np.bincount(entry, similarity, minlength=len(lists)).reshape(-1, width)
        shares = np.bincount(entry, counts[place], minlength=len(lists)).reshape(-1, width)
        left_out = shares - nearest.size[rows] if own else 0
        means[rows] = (total - left_out) / np.maximum(shares - left_out, 1)
    return means


def ideal_jaccard_gain(labels: LabelVectors, k: int, own: bool) -> np.ndarray:
    """Return the ideal DCG at k for a query of each label vector, with label-Jaccard as gain, (L,)."""
    discounts = prefix_sums(k, lambda i: 1 / np.log2(i + 1))
    counts = np.bincount(labels.of_sample, minlength=len(labels.distinct))
    everyone, ideal = np.arange(len(counts)), np.zeros(len(counts))
    step = max(1, 2_000_000 // len(counts))
    for start in range(0, len(counts), step):
        rows = everyone[start : start + step]
        similarity = labels.jaccard(rows[:, None], everyone[None, :]).astype(np.float32)
        copies = np.broadcast_to(counts, similarity.shape)
        if own:
            copies = copies - (rows[:, None] == everyone)
        n_best = min(k + 1, len(counts))  # one label vector may have no other sample
        best = np.argpartition(-similarity, n_best - 1, axis=1)[:, :n_best]
        best = np.take_along_axis(best, np.argsort(-np.take_along_axis(similarity, best, 1), axis=1), 1)
        ends = np.minimum(np.cumsum(np.take_along_axis(copies, best, 1), axis=1), k)
        ends = np.concatenate([np.zeros((len(rows), 1), np.int64), ends], axis=1)
        ideal[rows] = (np.take_along_axis(similarity, best, 1) * np.diff(discounts[ends], axis=1)).sum(axis=1)
    return ideal


def _positions(lengths: np.ndarray) -> np.ndarray:
    """Number the entries of each list from 0, lists end to end."""
    ends = np.cumsum(lengths)
    return np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - lengths, lengths)


def _chunks(work: np.ndarray, limit: int = 1_000_000) -> list[np.ndarray]:
    """Cut queries into ranges of bounded work."""
    part = np.cumsum(work) // limit
    return np.split(np.arange(len(work)), np.flatnonzero(np.diff(part)) + 1)
