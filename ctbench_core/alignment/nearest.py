"""The nearest candidates of every query, and what follows from them.

Shapes: Q queries, T nearest distinct candidate vectors, L distinct label vectors, C findings.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ctbench_core.alignment.ragged import Ragged
from ctbench_core.alignment.ties import prefix_sums


@dataclass(frozen=True)
class Nearest:
    """Nearest candidates of Q queries, nearest first.

    Attributes:
        item: distinct candidate vectors, int32 (Q, T).
        similarity: exact to float32, (Q, T).
        size: how many samples share each, the query itself not counted where it is left out; int32 (Q, T).
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
    ) -> Nearest:
        """Find the tied blocks of sorted candidates; own: the query's own vector (Q,), one copy of which is left out."""
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
        return Nearest(whole[0], similarity.astype(np.float32), *whole[1:])

    @staticmethod
    def join(parts: list[Nearest]) -> Nearest:
        """Put tiles end to end."""
        return Nearest(*(np.concatenate([getattr(part, name) for part in parts]) for name in Nearest.__annotations__))

    def take(self, queries: slice) -> Nearest:
        """Return those of a run of queries."""
        return Nearest(*(getattr(self, name)[queries] for name in Nearest.__annotations__))

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
class Labels:
    """Findings of N samples in {0, 1, NaN}, by their L distinct vectors.

    Attributes:
        distinct: float32 (L, C).
        of_sample: int64 (N,).
    """

    distinct: np.ndarray
    of_sample: np.ndarray

    @staticmethod
    def of(targets: np.ndarray) -> Labels:
        """Fold equal label vectors; an unknown label equals an unknown one."""
        filled = np.nan_to_num(targets.astype(np.float32), nan=-1)
        distinct, inverse = np.unique(filled, axis=0, return_inverse=True)
        return Labels(np.where(distinct < 0, np.nan, distinct), inverse.reshape(-1))

    @property
    def targets(self) -> np.ndarray:
        """The findings of every sample, float32 (N, C)."""
        return self.distinct[self.of_sample]

    def jaccard(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Return shared over all findings of two label vectors each, over the findings known in both; numbers broadcast.

        Two vectors without a finding are alike: 1.
        """
        shared, either = self._counts(left, right)
        return np.where(either > 0, shared / np.maximum(either, 1), 1.0)

    def _counts(self, left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        shape = np.broadcast_shapes(left.shape, right.shape)
        shared, either = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
        for present, known in self._words():
            shared += np.bitwise_count(present[left] & present[right])
            either += np.bitwise_count((present[left] | present[right]) & known[left] & known[right])
        return shared, either

    def _words(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return presence and knowledge as bits, 32 findings a word."""
        words = []
        for start in range(0, self.distinct.shape[1], 32):
            some = self.distinct[:, start : start + 32]
            weights = 1 << np.arange(some.shape[1], dtype=np.int64)
            words.append(((some == 1) @ weights, (~np.isnan(some)) @ weights))
        return words


def mean_jaccard(nearest: Nearest, query: np.ndarray, of_vector: Ragged, labels: Labels, own: bool) -> np.ndarray:
    """Return each entry's mean label-Jaccard with its query over the samples that share the vector, float32 (Q, T).

    query: label vector of each query, int (Q,); of_vector: the label vectors of each candidate vector's samples;
    own: whether a query's own sample, alike to it, is left out of its own vector.
    """
    starts, codes, counts = (part.cpu().numpy() for part in (of_vector.starts, of_vector.items, of_vector.counts))
    lengths = np.diff(starts)[nearest.item]
    found = np.zeros(nearest.item.shape, np.float32)
    for some in _chunks(lengths.sum(axis=1)):
        lists = lengths[some].ravel()
        entry = np.repeat(np.arange(len(lists)), lists)
        place = np.repeat(starts[nearest.item[some].ravel()], lists) + _within(lists)
        width = nearest.item.shape[1]
        alike = labels.jaccard(query[some][entry // width], codes[place]) * counts[place]
        total = np.bincount(entry, alike, minlength=len(lists)).reshape(-1, width)
        shares = np.bincount(entry, counts[place], minlength=len(lists)).reshape(-1, width)
        left_out = shares - nearest.size[some] if own else 0
        found[some] = (total - left_out) / np.maximum(shares - left_out, 1)
    return found


def ideal_jaccard_gain(labels: Labels, k: int, own: bool) -> np.ndarray:
    """Return the DCG at k of the samples ordered by their label-Jaccard with a query of each label vector, (L,)."""
    discounts = prefix_sums(k, lambda i: 1 / np.log2(i + 1))
    counts = np.bincount(labels.of_sample, minlength=len(labels.distinct))
    everyone, ideal = np.arange(len(counts)), np.zeros(len(counts))
    step = max(1, 2_000_000 // len(counts))
    for start in range(0, len(counts), step):
        some = everyone[start : start + step]
        alike = labels.jaccard(some[:, None], everyone[None, :]).astype(np.float32)
        copies = np.broadcast_to(counts, alike.shape)
        if own:
            copies = copies - (some[:, None] == everyone)
        kept = min(k + 1, len(counts))  # one label vector may have no other sample
        best = np.argpartition(-alike, kept - 1, axis=1)[:, :kept]
        best = np.take_along_axis(best, np.argsort(-np.take_along_axis(alike, best, 1), axis=1), 1)
        ends = np.minimum(np.cumsum(np.take_along_axis(copies, best, 1), axis=1), k)
        ends = np.concatenate([np.zeros((len(some), 1), np.int64), ends], axis=1)
        ideal[some] = (np.take_along_axis(alike, best, 1) * np.diff(discounts[ends], axis=1)).sum(axis=1)
    return ideal


def _within(lengths: np.ndarray) -> np.ndarray:
    """Number the members of each list from 0, lists end to end."""
    ends = np.cumsum(lengths)
    return np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - lengths, lengths)


def _chunks(work: np.ndarray, most: int = 1_000_000) -> list[np.ndarray]:
    """Cut queries into runs whose work stays bounded."""
    part = np.cumsum(work) // most
    return np.split(np.arange(len(work)), np.flatnonzero(np.diff(part)) + 1)
