"""From ranked items to the scores of each query, as expectations over the order of ties.

A tied block is (above, tied, relevant): the number of candidates ranked strictly above it, its own size t, and the
number r of relevant ones in it. Every order of a tie is equally likely. Blocks without a tie have t = r = 1, which
gives the usual definitions. Source: McSherry and Najork, "Computing information retrieval performance measures
efficiently in the presence of tied scores", ECIR 2008.

Shapes: B queries of a tile, I items, K depths, Q queries of a direction, M tied blocks. Functions of the first block
take int arrays (Q,) and return float64 (Q,).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from ctbench_core.alignment.ordering import RankedItems

# Older tools of this field ignore everything below this rank (`Retrieval.compatible_metrics`).
COMPATIBLE_DEPTH = 50


def hit_probability(above: np.ndarray, tied: np.ndarray, relevant: np.ndarray, k: int) -> np.ndarray:
    """Return the probability that a relevant candidate of the first block is in the top k.

    1 - C(t - r, x) / C(t, x) with x = k - above places inside the block (hypergeometric). With above = 0 and the whole
    gallery as the block it is the chance level of Recall@k.
    """
    places = np.clip(k - above, 0, tied)
    (places, tied, relevant), inverse = _distinct(places, tied, relevant)
    miss = np.ones(len(places))
    for i in range(int(places.max(initial=0))):
        left = np.maximum(tied - relevant - i, 0) / np.maximum(tied - i, 1)
        miss = np.where(i < places, miss * left, miss)
    return (1.0 - miss)[inverse]


def expected_reciprocal_rank(above: np.ndarray, tied: np.ndarray, relevant: np.ndarray) -> np.ndarray:
    """Return E[1 / rank] of the first relevant candidate of the first block.

    The first of r relevant among t is at place j with probability C(t - j, r - 1) / C(t, r).
    """
    (above, tied, relevant), inverse = _distinct(above, tied, relevant)
    probability = relevant / np.maximum(tied, 1)
    expected = np.zeros(len(above))
    for place in range(1, int((tied - relevant).max(initial=0)) + 2):
        expected += probability / (above + place)
        left = np.maximum(tied - place - relevant + 1, 0)
        probability = probability * left / np.maximum(tied - place, 1)
    return expected[inverse]


def expected_first_rank(above: np.ndarray, tied: np.ndarray, relevant: np.ndarray) -> np.ndarray:
    """Return the expected rank of the first relevant candidate: above + (t + 1) / (r + 1)."""
    return above + (tied + 1) / (relevant + 1)


def precision_sum(
    above: Tensor, tied: Tensor, relevant: Tensor, seen: Tensor, harmonic: Tensor, places: Tensor | None = None
) -> Tensor:
    """Return a block's expected sum of precisions at its relevant places, given ``seen`` relevant above.

    sum over i = 1..p of r/t * (seen + 1 + (i - 1) (r - 1)/(t - 1)) / (above + i), in closed form by
    harmonic[n] = 1 + 1/2 + ... + 1/n; p is ``places``, by default the block's t. int (M,) to float64 (M,).
    """
    places = tied if places is None else places
    size, hits = tied.double(), relevant.double()  # Torch divides integers in float32
    slope = (hits - 1) / (size - 1).clamp(min=1)
    constant = seen + 1 - slope * (1 + above)
    return hits / size * (slope * places + constant * (harmonic[above + places] - harmonic[above]))


def prefix_sums(n: int, term: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Return [0, term(1), term(1) + term(2), ...] up to n, summed in extended precision where the platform has it."""
    terms = term(np.arange(1, n + 1, dtype=np.float64)).astype(np.longdouble)
    return np.concatenate([[0.0], np.cumsum(terms)]).astype(np.float64)


def _distinct(*columns: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """Return the distinct rows of int columns and each row's index among them: most queries share a few blocks."""
    sizes = tuple(int(column.max(initial=0)) + 1 for column in columns)
    _, first, inverse = np.unique(np.ravel_multi_index(columns, sizes), return_index=True, return_inverse=True)
    return [column[first] for column in columns], inverse


class Columns:
    """Base of dataclasses of NumPy arrays that share their first axis."""

    def take(self, rows: np.ndarray | slice) -> Self:
        """Return some rows, by number, mask or slice."""
        return type(self)(*(values[rows] for values in vars(self).values()))

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """Concatenate the rows of several tables, such as those of tiles."""
        return cls(*(np.concatenate(values) for values in zip(*(vars(part).values() for part in parts))))


@dataclass(frozen=True)
class QueryScores(Columns):
    """Scores of Q queries; all arrays start with axis Q.

    Attributes:
        above, tied, relevant: the block of the best relevant candidate, int.
        ap: the expected average precision, NaN without a relevant candidate.
        gain: (Q, K), the expected DCG at each depth.
        hits: (Q, K), the expected number of relevant candidates above each depth.
        precisions: the expected sum of precisions at the relevant candidates among the first 50.
    """

    above: np.ndarray
    tied: np.ndarray
    relevant: np.ndarray
    ap: np.ndarray
    gain: np.ndarray
    hits: np.ndarray
    precisions: np.ndarray
    n_relevant: np.ndarray
    n_candidates: np.ndarray

    @property
    def block(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The block of the best relevant candidate: above, tied, relevant."""
        return self.above, self.tied, self.relevant


@dataclass(frozen=True)
class Blocks:
    """Tied blocks (M,) of a tile that hold relevant candidates, ordered by row and rising similarity.

    Where rounding left an item at a neighbour's place, a block can have more relevant candidates than members; their
    number is then its size.
    """

    row: Tensor
    above: Tensor
    tied: Tensor
    relevant: Tensor

    @staticmethod
    def join(row: Tensor, above: Tensor, tied: Tensor, count: Tensor) -> Blocks:
        """Join items, ordered by row and falling ``above``, to blocks; ``count`` is how often an item is relevant."""
        kept = (count > 0).nonzero()[:, 0]
        if len(kept) < len(count):
            row, above, tied, count = (part.index_select(0, kept) for part in (row, above, tied, count))
        fresh = torch.ones_like(row, dtype=torch.bool)
        fresh[1:] = (row[1:] != row[:-1]) | (above[1:] != above[:-1])
        if not bool(fresh.all()):
            block = fresh.cumsum(0) - 1
            row, above, tied = row[fresh], above[fresh], tied[fresh]
            count = torch.zeros_like(row).index_add_(0, block, count)
        return Blocks(row, above, torch.maximum(tied, count), count)


class Scorer:
    """Scores the tiles of one direction; it holds the prefix sums of the closed forms."""

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
        seen = (passed[last] if len(row) else n_relevant).index_select(0, row) - passed

        precision = (seen + 1) / (above + 1).double()
        several = (tied > 1).nonzero()[:, 0]
        if len(several):
            parts = [part[several] for part in (above, tied, relevant, seen)]
            precision[several] = precision_sum(parts[0], parts[1], parts[2], parts[3], self._harmonic)
        sums = above.new_zeros(len(n_relevant), dtype=torch.float64)
        ap = sums.index_add(0, row, precision) / n_relevant
        gain, hits = self._at_depths(row, above, tied, relevant, len(n_relevant))
        near = (above < COMPATIBLE_DEPTH).nonzero()[:, 0]
        parts = [part[near] for part in (above, tied, relevant, seen)]
        places = torch.minimum(COMPATIBLE_DEPTH - parts[0], parts[1])
        within = precision_sum(parts[0], parts[1], parts[2], parts[3], self._harmonic, places)
        precisions = torch.zeros_like(sums).index_add_(0, row[near], within)
        best = above.new_zeros((3, len(n_relevant)))
        has = ends > torch.nn.functional.pad(ends[:-1], (1, 0))
        best[:, has] = torch.stack([above, tied, relevant])[:, last[has]]
        fields = (*best, ap, gain, hits, precisions, n_relevant, n_candidates)
        return QueryScores(*(field.cpu().numpy() for field in fields))

    def _at_depths(
        self, row: Tensor, above: Tensor, tied: Tensor, relevant: Tensor, rows: int
    ) -> tuple[Tensor, Tensor]:
        """Sum each row's expected gain and hits above every depth, from the blocks that begin above it."""
        gain = torch.zeros((rows, len(self.depths)), dtype=torch.float64, device=row.device)
        hits = torch.zeros_like(gain)
        near = above < self.depths.max()
        row, above, tied, relevant = row[near], above[near], tied[near], relevant[near]
        share = (relevant / tied.double())[:, None]
        inside = torch.minimum((self.depths - above[:, None]).clamp(min=0), tied[:, None])
        within = self._discount[above[:, None] + inside] - self._discount[above][:, None]
        gain.index_add_(0, row, share * within)
        hits.index_add_(0, row, share * inside)
        return gain, hits


def ideal_gain(n_relevant: np.ndarray, depth: int) -> np.ndarray:
    """Return the DCG of a perfect ranking at a depth: all relevant first, int (Q,) to float64 (Q,)."""
    return prefix_sums(depth, lambda i: 1 / np.log2(i + 1))[np.minimum(n_relevant, depth)]


def in_rank_order(ranked: RankedItems, n_candidates: int) -> RankedItems:
    """Order items by row and falling ``above``: resolving ties may have swapped neighbours."""
    place = ranked.row * (n_candidates + 1) - ranked.above
    changed = (place[1:] < place[:-1]).nonzero()[:, 0]
    if not len(changed):
        return ranked
    # Only rows with a change are ordered again.
    is_changed = torch.zeros(int(ranked.row[-1]) + 1, dtype=torch.bool, device=place.device)
    is_changed[ranked.row[changed]] = True
    spots = is_changed.index_select(0, ranked.row).nonzero()[:, 0]
    order = torch.arange(len(place), device=place.device)
    order[spots] = spots[place[spots].argsort(stable=True)]
    return RankedItems(**{name: part.index_select(0, order) for name, part in vars(ranked).items()})


def blocks_of(ranked: RankedItems, n_candidates: int) -> Blocks:
    """Join the items of a tile to their tied blocks."""
    items = in_rank_order(ranked, n_candidates)
    return Blocks.join(items.row, items.above, items.tied, items.count)


def blocks_of_others(ranked: RankedItems, own: RankedItems, shared: RankedItems, sizes: tuple[int, int]) -> Blocks:
    """Join items to blocks, each query's own group left out of the gallery and of the relevant items.

    own: the items of that group; shared: those of them that are relevant too, both ranked in the same tile; sizes:
    (candidate samples, candidate vectors).
    """
    samples, vectors = sizes
    count = ranked.count.clone()
    spot = torch.searchsorted(ranked.row * vectors + ranked.position, shared.row * vectors + shared.position)
    count[spot] -= shared.count
    items = in_rank_order(RankedItems(ranked.row, ranked.position, count, ranked.above, ranked.tied), samples)

    # Own items above an item come after it in the order of places; those tied with it, around it.
    place, own_place = items.row * (samples + 1) - items.above, own.row * (samples + 1) - own.above
    n_rows = int(own.row.max()) + 1
    total = torch.zeros_like(own.count[:1]).repeat(n_rows).index_add_(0, own.row, own.count).cumsum(0)
    not_above = _count_up_to(torch.searchsorted(place, own_place), own.count, len(place))
    below = _count_up_to(torch.searchsorted(place, own_place, right=True), own.count, len(place))
    above = items.above - (total.index_select(0, items.row) - not_above)
    return Blocks.join(items.row, above, items.tied - (not_above - below), items.count)


def _count_up_to(starts: Tensor, count: Tensor, n: int) -> Tensor:
    """Return at each of n places the sum of the counts that start there or before."""
    return torch.zeros(n + 1, dtype=count.dtype, device=count.device).index_add_(0, starts, count).cumsum(0)[:n]
