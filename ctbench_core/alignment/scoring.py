"""From ranked items to the figures of each query, ties by expectation.

Shapes: B queries of a tile, I items, K depths, Q queries of a direction.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ctbench_core.alignment.ordering import Ranked, runs
from ctbench_core.alignment.ties import precision_sum, prefix_sums


@dataclass(frozen=True)
class QueryScores:
    """Figures of Q queries; all arrays start with axis Q.

    ``above``, ``tied``, ``relevant`` describe the block of the best relevant candidate, int; ``ap`` is
    the expected average precision, NaN without a relevant candidate; ``gain`` (Q, K) the expected DCG at
    each depth; ``found`` (Q, K) the expected number of relevant candidates above each depth.
    """

    above: np.ndarray
    tied: np.ndarray
    relevant: np.ndarray
    ap: np.ndarray
    gain: np.ndarray
    found: np.ndarray
    n_relevant: np.ndarray
    n_candidates: np.ndarray

    def take(self, queries: np.ndarray) -> QueryScores:
        """Return the figures of some queries, by number or mask."""
        return QueryScores(**{name: values[queries] for name, values in vars(self).items()})

    @staticmethod
    def join(parts: list[QueryScores]) -> QueryScores:
        """Put tiles end to end."""
        names = QueryScores.__dataclass_fields__
        return QueryScores(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


class Scorer:
    """Scores tiles of one direction: holds the prefix sums that its closed forms need."""

    def __init__(self, n_candidates: int, depths: tuple[int, ...], device: torch.device) -> None:
        self.n_candidates = n_candidates
        self.depths = torch.tensor(depths, device=device)
        self._harmonic = torch.from_numpy(prefix_sums(n_candidates, lambda i: 1 / i)).to(device)
        self._discount = torch.from_numpy(prefix_sums(n_candidates, lambda i: 1 / np.log2(i + 1))).to(device)

    def score(self, ranked: Ranked, n_relevant: Tensor, n_candidates: Tensor) -> QueryScores:
        """Score the B queries of a tile from their relevant items; int (B,) totals, own gallery sizes.

        An item that rounding left at a neighbour's place far below makes a block of more relevant items
        than members; its size then gives way.
        """
        row, above, tied, relevant = self._blocks(ranked)
        tied = torch.maximum(tied, relevant)
        first = torch.ones_like(row, dtype=torch.bool)
        first[1:] = row[1:] != row[:-1]
        before = relevant.cumsum(0) - relevant
        seen = before - before[first][runs(row)]

        sums = above.new_zeros(len(n_relevant), dtype=torch.float64)
        ap = sums.index_add(0, row, precision_sum(above, tied, relevant, seen, self._harmonic)) / n_relevant
        gain, found = self._at_depths(row, above, tied, relevant, len(n_relevant))
        best = above.new_zeros((3, len(n_relevant)))
        best[:, row[first]] = torch.stack([above[first], tied[first], relevant[first]])
        fields = (*best, ap, gain, found, n_relevant, n_candidates)
        return QueryScores(*(field.cpu().numpy() for field in fields))

    def _blocks(self, ranked: Ranked) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Join the items of each tied block: row, above, tied, relevant, in order of row and rank."""
        order = (ranked.row * (self.n_candidates + 1) + ranked.above).argsort()
        row, above, tied = ranked.row[order], ranked.above[order], ranked.tied[order]
        block = runs(row, above)
        start = torch.ones_like(row, dtype=torch.bool)
        start[1:] = block[1:] != block[:-1]
        relevant = torch.zeros_like(row[start]).index_add_(0, block, ranked.count[order])
        return row[start], above[start], tied[start], relevant

    def _at_depths(
        self, row: Tensor, above: Tensor, tied: Tensor, relevant: Tensor, rows: int
    ) -> tuple[Tensor, Tensor]:
        """Sum each row's expected gain and hits above every depth; only blocks that reach it count."""
        gain = torch.zeros((rows, len(self.depths)), dtype=torch.float64, device=row.device)
        found = torch.zeros_like(gain)
        near = above < self.depths.max()
        row, above, tied, relevant = row[near], above[near], tied[near], relevant[near]
        share = (relevant / tied.double())[:, None]
        inside = torch.minimum((self.depths - above[:, None]).clamp(min=0), tied[:, None])
        within = self._discount[above[:, None] + inside] - self._discount[above][:, None]
        gain.index_add_(0, row, share * within)
        found.index_add_(0, row, share * inside)
        return gain, found


def ideal_gain(n_relevant: np.ndarray, depth: int) -> np.ndarray:
    """Return the DCG of a perfect ranking at a depth: all relevant first, int (Q,) to float64 (Q,)."""
    return prefix_sums(depth, lambda i: 1 / np.log2(i + 1))[np.minimum(n_relevant, depth)]


def leave_out(ranked: Ranked, own: Ranked, shared: tuple[Tensor, Tensor, Tensor], sizes: tuple[int, int]) -> Ranked:
    """Take each query's own group out of the gallery and out of the relevant items.

    own: that group's items, ranked in the same tile; shared: (row, item, count) of own items that are
    relevant too, ascending; sizes: (candidate samples, candidate vectors).
    """
    samples, vectors = sizes
    own_place, order = (own.row * (samples + 1) + own.above).sort()
    counted = torch.nn.functional.pad(own.count[order].cumsum(0), (1, 0))
    place = ranked.row * (samples + 1) + ranked.above
    higher = counted[torch.searchsorted(own_place, place)]
    level = counted[torch.searchsorted(own_place, place, right=True)] - higher
    higher = higher - counted[torch.searchsorted(own_place, ranked.row * (samples + 1))]

    count = ranked.count.clone()
    spot = torch.searchsorted(ranked.row * vectors + ranked.item, shared[0] * vectors + shared[1])
    count[spot] -= shared[2]
    left = count > 0
    parts = (ranked.row, ranked.item, count, ranked.above - higher, ranked.tied - level)
    return Ranked(*(part[left] for part in parts))
