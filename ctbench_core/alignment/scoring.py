"""From ranked items to the figures of each query, ties by expectation.

Shapes: B queries of a tile, I items, K depths, Q queries of a direction.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ctbench_core.alignment.ordering import Ranked
from ctbench_core.alignment.ties import precision_sum, prefix_sums

# Older figures of this field count nothing below this rank (`result.COMPATIBLE`).
COMPATIBLE_DEPTH = 50


@dataclass(frozen=True)
class QueryScores:
    """Figures of Q queries; all arrays start with axis Q.

    ``above``, ``tied``, ``relevant`` describe the block of the best relevant candidate, int; ``ap`` is
    the expected average precision, NaN without a relevant candidate; ``gain`` (Q, K) the expected DCG at
    each depth; ``found`` (Q, K) the expected number of relevant candidates above each depth; ``cut`` the expected sum
    of precisions at the relevant candidates among the first 50.
    """

    above: np.ndarray
    tied: np.ndarray
    relevant: np.ndarray
    ap: np.ndarray
    gain: np.ndarray
    found: np.ndarray
    cut: np.ndarray
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


@dataclass(frozen=True)
class Blocks:
    """Tied blocks (M,) of a tile that hold relevant candidates, in order of row and of rising similarity.

    A block of more relevant candidates than members, made where rounding left an item at a neighbour's place,
    takes their number as its size.
    """

    row: Tensor
    above: Tensor
    tied: Tensor
    relevant: Tensor

    @staticmethod
    def join(row: Tensor, above: Tensor, tied: Tensor, count: Tensor) -> Blocks:
        """Join items, in order of row and of falling ``above``, of which some are relevant ``count`` times."""
        if not bool((count > 0).all()):
            row, above, tied, count = (part[count > 0] for part in (row, above, tied, count))
        fresh = torch.ones_like(row, dtype=torch.bool)
        fresh[1:] = (row[1:] != row[:-1]) | (above[1:] != above[:-1])
        if not bool(fresh.all()):
            block = fresh.cumsum(0) - 1
            row, above, tied = row[fresh], above[fresh], tied[fresh]
            count = torch.zeros_like(row).index_add_(0, block, count)
        return Blocks(row, above, torch.maximum(tied, count), count)


class Scorer:
    """Scores tiles of one direction: holds the prefix sums that its closed forms need."""

    def __init__(self, n_candidates: int, depths: tuple[int, ...], device: torch.device) -> None:
        self.n_candidates = n_candidates
        self.depths = torch.tensor(depths, device=device)
        self._harmonic = torch.from_numpy(prefix_sums(n_candidates, lambda i: 1 / i)).to(device)
        self._discount = torch.from_numpy(prefix_sums(n_candidates, lambda i: 1 / np.log2(i + 1))).to(device)

    def score(self, blocks: Blocks, n_relevant: Tensor, n_candidates: Tensor) -> QueryScores:
        """Score the B queries of a tile from their relevant blocks; int (B,) totals, own gallery sizes."""
        row, above, tied, relevant = blocks.row, blocks.above, blocks.tied, blocks.relevant
        passed = relevant.cumsum(0)
        ends = torch.searchsorted(row, torch.arange(len(n_relevant), device=row.device), right=True)
        last = (ends - 1).clamp(min=0)
        seen = (passed[last] if len(row) else n_relevant)[row] - passed

        precision = (seen + 1) / (above + 1).double()
        several = (tied > 1).nonzero()[:, 0]
        if len(several):
            parts = [part[several] for part in (above, tied, relevant, seen)]
            precision[several] = precision_sum(parts[0], parts[1], parts[2], parts[3], self._harmonic)
        sums = above.new_zeros(len(n_relevant), dtype=torch.float64)
        ap = sums.index_add(0, row, precision) / n_relevant
        gain, found = self._at_depths(row, above, tied, relevant, len(n_relevant))
        near = (above < COMPATIBLE_DEPTH).nonzero()[:, 0]
        parts = [part[near] for part in (above, tied, relevant, seen)]
        places = torch.minimum(COMPATIBLE_DEPTH - parts[0], parts[1])
        within = precision_sum(parts[0], parts[1], parts[2], parts[3], self._harmonic, places)
        cut = torch.zeros_like(sums).index_add_(0, row[near], within)
        best = above.new_zeros((3, len(n_relevant)))
        has = ends > torch.nn.functional.pad(ends[:-1], (1, 0))
        best[:, has] = torch.stack([above, tied, relevant])[:, last[has]]
        fields = (*best, ap, gain, found, cut, n_relevant, n_candidates)
        return QueryScores(*(field.cpu().numpy() for field in fields))

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


def in_rank_order(ranked: Ranked, n_candidates: int) -> Ranked:
    """Return items in order of row and of falling ``above``: settling may have changed places near by."""
    place = ranked.row * (n_candidates + 1) - ranked.above
    changed = (place[1:] < place[:-1]).nonzero()[:, 0]
    if not len(changed):
        return ranked
    # Only the rows around a change are put in order again.
    spots = torch.isin(ranked.row, ranked.row[changed]).nonzero()[:, 0]
    order = spots[place[spots].argsort(stable=True)]
    parts = {name: part.clone() for name, part in vars(ranked).items()}
    for part in parts.values():
        part[spots] = part[order]
    return Ranked(**parts)


def blocks_of(ranked: Ranked, n_candidates: int) -> Blocks:
    """Join the items of a tile to their tied blocks."""
    items = in_rank_order(ranked, n_candidates)
    return Blocks.join(items.row, items.above, items.tied, items.count)


def blocks_of_others(ranked: Ranked, own: Ranked, shared: Ranked, sizes: tuple[int, int]) -> Blocks:
    """Take each query's own group out of the gallery and out of the relevant items.

    own: that group's items; shared: those of them that are relevant too, both ranked in the same tile; sizes:
    (candidate samples, candidate vectors).
    """
    samples, vectors = sizes
    count = ranked.count.clone()
    spot = torch.searchsorted(ranked.row * vectors + ranked.position, shared.row * vectors + shared.position)
    count[spot] -= shared.count
    items = in_rank_order(Ranked(ranked.row, ranked.position, count, ranked.above, ranked.tied), samples)

    # Own items above an item stand behind it in the order of places; those level with it, around it.
    place, own_place = items.row * (samples + 1) - items.above, own.row * (samples + 1) - own.above
    n_rows = int(own.row.max()) + 1
    owned = torch.zeros_like(own.count[:1]).repeat(n_rows).index_add_(0, own.row, own.count).cumsum(0)
    reached = _passed(torch.searchsorted(place, own_place), own.count, len(place))
    left_behind = _passed(torch.searchsorted(place, own_place, right=True), own.count, len(place))
    above = items.above - (owned[items.row] - reached)
    return Blocks.join(items.row, above, items.tied - (reached - left_behind), items.count)


def _passed(starts: Tensor, count: Tensor, n: int) -> Tensor:
    """Sum at each of n places the counts that start there or before."""
    return torch.zeros(n + 1, dtype=count.dtype, device=count.device).index_add_(0, starts, count).cumsum(0)[:n]
