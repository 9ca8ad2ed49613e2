"""The exact order of all candidates for a tile of queries, and the lists of items that are ranked in it.

Shapes: B queries of the tile, M distinct candidate vectors, D dimensions, I items (query, candidate).

Long lists are gathered with index_select, in less than half the time that brackets take.

Each tile takes one float32 product and one sort. A float32 widened to float64 leaves 29 bits free; they hold the
candidate's column, so that sorting plain numbers also yields the order (NumPy sorts such a row several times faster
than NumPy or Torch argsort one). Where it can change a metric, neighbours closer than the product's rounding error
are ordered again by their exact similarity, which depends on neither tile size nor device.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from ctbench_core.alignment.products import COLUMN_MASK, Gallery, Workspace, exact_similarity, rounding_bound

# Orders that float32 rounding may have changed are resolved down to the greatest requested depth, around a query's best
# relevant candidate, and wherever the change could move the query's average precision by more than this.
_MIN_EFFECT = 5e-7

# With more items per row, on average, a search row by row is faster than steps over all items at once.
_FEW_PER_ROW = 4


@dataclass(frozen=True)
class ItemLists:
    """Lists of items end to end: owner i has ``items[starts[i] : starts[i + 1]]``, ascending, with their ``counts``."""

    starts: Tensor
    items: Tensor
    counts: Tensor

    @staticmethod
    def collect(owners: np.ndarray, items: np.ndarray, n_owners: int, device: torch.device) -> ItemLists:
        """Collect (owner, item) pairs, int (N,) each, into one list per owner; repeats are counted."""
        width = int(items.max()) + 1
        pairs, counts = np.unique(owners.astype(np.int64) * width + items, return_counts=True)
        starts = np.searchsorted(pairs, np.arange(n_owners + 1, dtype=np.int64) * width)
        arrays = (starts, pairs % width, counts)
        return ItemLists(*(torch.from_numpy(np.asarray(array, np.int64)).to(device) for array in arrays))

    def lengths(self) -> Tensor:
        """Return the number of distinct items of each owner."""
        return self.starts.diff()

    def totals(self) -> Tensor:
        """Return the number of items of each owner, repeats included."""
        summed = torch.nn.functional.pad(self.counts.cumsum(0), (1, 0))
        return summed[self.starts].diff()

    def take(self, owners: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return (row, item, count) of some owners' items, flat; ``row`` is the position in ``owners``."""
        starts = self.starts[owners]
        positions, row = expand(starts, self.starts[owners + 1])
        return row, self.items.index_select(0, positions), self.counts.index_select(0, positions)


def expand(starts: Tensor, stops: Tensor) -> tuple[Tensor, Tensor]:
    """Return every integer of the ranges [start, stop), end to end, and the number of its range."""
    lengths = stops - starts
    source = torch.repeat_interleave(torch.arange(len(lengths), device=lengths.device), lengths)
    shift = starts - (lengths.cumsum(0) - lengths)
    return torch.arange(len(source), device=source.device).add_(shift.index_select(0, source)), source


@dataclass(frozen=True)
class RankedItems:
    """Items (I,) of a tile: query row, candidate, count of its relevant copies, and its tied block.

    Ordered by row, then by ``position`` in the tile's float32 order, which is unique in a row. ``above`` counts the
    candidates strictly more similar to the query, ``tied`` the equally similar ones, the item's own copies included.
    """

    row: Tensor
    position: Tensor
    count: Tensor
    above: Tensor
    tied: Tensor


class TileOrder:
    """All candidates of B queries, in ascending order of similarity."""

    def __init__(self, queries: Tensor, gallery: Gallery, workspace: Workspace) -> None:
        self.queries, self.gallery = queries, gallery
        self.n_columns = len(gallery.vectors)
        self.total = gallery.size
        self._similarity = workspace.similarity(queries, gallery)
        self._keys = workspace.sorted_keys(self._similarity)
        self._flat = self._keys.view(-1)
        self._cumulative = self._cumulative_shares()
        # A pair has two float32 errors; the column in a key adds less than one more unit.
        self._reach = 2.0 * rounding_bound(queries.shape[1]) + 2.0**-22

    def _cumulative_shares(self) -> Tensor | None:
        if self.total == self.n_columns:
            return None  # every candidate counts once: positions are counts
        shares = self.gallery.shares[self._keys.view(torch.int64) & COLUMN_MASK]
        return torch.nn.functional.pad(shares.cumsum(1, dtype=torch.int32), (1, 0))

    def _above(self, row: Tensor, position: Tensor) -> Tensor:
        """Count the candidates from a position of the ascending order upwards."""
        if self._cumulative is None:
            return self.total - position
        return self.total - self._cumulative[row, position].long()

    def _position(self, row: Tensor, key: Tensor) -> Tensor:
        """Count the columns whose key is below the given one, in each item's own row; rows ascend."""
        many = len(row) > _FEW_PER_ROW * len(self.queries)
        by_row = many and key.device.type == "cpu"
        return self._position_by_row(row, key) if by_row else self._position_by_steps(row, key)

    def _position_by_steps(self, row: Tensor, key: Tensor) -> Tensor:
        position = torch.zeros_like(row)
        base = row * self.n_columns - 1
        for bit in reversed(range(self.n_columns.bit_length())):
            probe = position + (1 << bit)
            inside = probe <= self.n_columns
            below = self._flat[base + torch.where(inside, probe, 1)] < key
            position = torch.where(inside & below, probe, position)
        return position

    def _position_by_row(self, row: Tensor, key: Tensor) -> Tensor:
        position = np.empty(len(row), np.int64)
        keys, wanted = self._keys.numpy(), key.numpy()
        for number, start, stop in self._row_bounds(row):
            position[start:stop] = keys[number].searchsorted(wanted[start:stop])
        return torch.from_numpy(position)

    def _row_bounds(self, row: Tensor) -> Iterator[tuple[int, int, int]]:
        """Yield number, start and stop of each row with items."""
        bounds = np.searchsorted(row.numpy(), np.arange(len(self.queries) + 1)).tolist()
        for number, (start, stop) in enumerate(pairwise(bounds)):
            if stop > start:
                yield number, start, stop

    def keys(self, row: Tensor, item: Tensor) -> Tensor:
        """Return the sort keys of items: their similarity in the high bits."""
        similarity = self._similarity.view(-1).index_select(0, row * self.n_columns + item).double()
        return (similarity.view(torch.int64) | item).view(torch.float64)

    def positions_of(self, edges: Tensor) -> Tensor:
        """Count each query's distinct candidates below each edge: float64 (E,) to int64 (B, E)."""
        return torch.searchsorted(self._keys, edges.expand(len(self.queries), -1).contiguous())

    def counts_below(self, position: Tensor) -> Tensor:
        """Count each query's candidates, copies included, below positions (B, E) of its order."""
        row = torch.arange(len(position), device=position.device)[:, None].expand_as(position)
        return self.total - self._above(row, position)

    def rank(self, row: Tensor, item: Tensor, count: Tensor, exact_against: RankedItems | None = None) -> RankedItems:
        """Rank items, whose rows ascend, with their ties.

        exact_against: items of this tile whose order relative to these must be exact too.
        """
        if not len(row):  # no query of the tile has one
            return RankedItems(row, row, count, row, row)
        key, item, count = self._in_order(row, item, count)
        position = self._position(row, key)
        above, tied = self._above(row, position + 1), self.gallery.shares.index_select(0, item)
        whole = count == tied
        if exact_against is not None:
            whole[self.spots(row, position, exact_against)] = False
        uncertain = self._has_rival(row, position, key, whole) & self._matters(row, key, above, count)
        spots = uncertain.nonzero()[:, 0]
        if len(spots):
            above[spots], tied[spots] = self._resolve_ties(row[spots], position[spots], key[spots])
        return RankedItems(row, position, count, above, tied)

    def spots(self, row: Tensor, position: Tensor, subset: RankedItems) -> Tensor:
        """Return the indices of a subset of the items, which are ordered by row and position."""
        width = self.n_columns
        return torch.searchsorted(row * width + position, subset.row * width + subset.position)

    def _in_order(self, row: Tensor, item: Tensor, count: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return key, item and count, ordered by row, then by rising similarity."""
        key = self.keys(row, item)
        if key.device.type == "cpu" and bool((count == 1).all()):
            plain = key.numpy()  # a key holds its column: sorting the keys alone is enough
            several = bool((row[1:] == row[:-1]).any())  # a query may have no item, so counting them is not enough
            for _, start, stop in self._row_bounds(row) if several else ():
                plain[start:stop].sort()
            return key, key.view(torch.int64) & COLUMN_MASK, count
        order = key.argsort()
        order = order[row[order].argsort(stable=True)]
        return key[order], item[order], count[order]

    def _has_rival(self, row: Tensor, position: Tensor, key: Tensor, whole: Tensor) -> Tensor:
        """Mark items with a candidate within the rounding error that is not relevant with all its copies.

        The order among candidates that are relevant with all their copies changes nothing: in a run of them only the
        distance to the neighbours of the run counts.
        """
        place = row * self.n_columns + position
        fresh = torch.ones_like(whole)
        fresh[1:] = (place[1:] != place[:-1] + 1) | (row[1:] != row[:-1]) | ~(whole[1:] & whole[:-1])
        run = fresh.cumsum(0) - 1
        first = fresh.nonzero()[:, 0]
        last = torch.cat([first[1:], first.new_full((1,), len(row))])[: len(first)] - 1
        lower = self._flat[(place[first] - 1).clamp(min=0)].where(position[first] > 0, -torch.inf)
        upper = self._flat[(place[last] + 1).clamp(max=self._flat.numel() - 1)]
        upper = upper.where(position[last] < self.n_columns - 1, torch.inf)
        lower, upper = lower.index_select(0, run), upper.index_select(0, run)
        return (key - lower <= self._reach) | (upper - key <= self._reach)

    def _matters(self, row: Tensor, key: Tensor, above: Tensor, count: Tensor) -> Tensor:
        """Mark items that rank high, may be their query's best, or could change its average precision.

        One place at rank r, with s relevant candidates above, changes it by some s / r^2 over all relevant.
        """
        passed = torch.nn.functional.pad(count.cumsum(0), (1, 0))
        ends = torch.searchsorted(row, torch.arange(len(self.queries), device=row.device), right=True)
        relevant = passed[ends].diff(prepend=passed[:1])
        better = passed[ends].index_select(0, row) - passed[1:]
        best = key[(ends - 1).clamp(min=0)]
        effect = (better + count) > (_MIN_EFFECT * relevant).index_select(0, row) * above.double().square()
        return (above < self.gallery.exact_depth) | effect | (key >= (best - self._reach).index_select(0, row))

    def top(self, depth: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return each query's nearest candidates, nearest first, in exact order: column and similarity (B, T).

        T is ``depth``, or all candidates if fewer; equal similarities are exact ties. The third result, int (B,), counts
        the candidates tied with the last one, copies and those beyond T included.
        """
        rows = torch.arange(len(self.queries), device=self._flat.device)
        depth = min(depth, self.n_columns)
        start = self._position_by_steps(rows, self._keys[:, self.n_columns - depth] - self._reach)
        width = self.n_columns - int(start.min())
        keys = self._keys[:, self.n_columns - width :]
        column = keys.view(torch.int64) & COLUMN_MASK
        values = (keys.view(torch.int64) - column).view(torch.float64).clone()
        inside = torch.arange(self.n_columns - width, self.n_columns, device=rows.device) >= start[:, None]
        values[~inside] = -torch.inf
        close = (keys[:, 1:] - keys[:, :-1] <= self._reach) & inside[:, :-1]
        near = torch.nn.functional.pad(close, (1, 0)) | torch.nn.functional.pad(close, (0, 1))
        owner, place = near.nonzero(as_tuple=True)
        if len(owner):
            values[owner, place] = self._exact_values(owner, column[owner, place], owner)
        best, order = values.topk(depth, dim=1)
        level = torch.where(values == best[:, -1:], self.gallery.shares[column], 0).sum(1)
        return column.gather(1, order), best, level

    def _resolve_ties(self, row: Tensor, position: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
        """Order all candidates within the rounding error of some items by exact similarity; return (above, tied).

        Candidates beyond an item's reach are ordered already.
        """
        base = row * self.n_columns
        first, last = _merge(
            base + self._position(row, key - self._reach), base + self._position(row, key + self._reach)
        )
        flat, segment = expand(first, last)
        owner = flat // self.n_columns
        column = self._flat[flat].view(torch.int64) & COLUMN_MASK
        exact = self._exact_values(owner, column, segment)
        order = _descending(segment, exact)
        block = torch.empty_like(order)
        block[order] = runs(segment[order], exact[order])
        size = torch.zeros_like(block[: int(block.max()) + 1]).index_add_(0, block, self.gallery.shares[column])
        before = size.cumsum(0) - size
        # Blocks are numbered through all segments: count from the first block of the segment.
        segment_start = before.new_full((len(first),), self.total * len(first) + 1)
        segment_start = segment_start.scatter_reduce(0, segment, before[block], "amin")
        place = torch.searchsorted(flat, base + position)
        mine, piece = block[place], segment[place]
        end = last[piece] - base
        return self._above(row, end) + before[mine] - segment_start[piece], size[mine]

    def _exact_values(self, owner: Tensor, column: Tensor, segment: Tensor) -> Tensor:
        """Return float64 similarities with the order and ties of the exact ones inside each segment.

        Where most of a tile is uncertain, as with collapsed embeddings, a float64 product of the whole tile resolves
        all but the few pairs closer than its own rounding, at a fiftieth of the cost.
        """
        vectors = self.gallery.vectors
        if len(owner) < self._flat.numel() // 8:
            return exact_similarity(self.queries, vectors, owner, column)
        values = (self.queries.double() @ vectors.double().T)[owner, column]
        order = _descending(segment, values)
        upper, lower = order[:-1], order[1:]
        close = values[upper] - values[lower] <= 2.0 * rounding_bound(vectors.shape[1], unit=2.0**-53)
        close &= segment[upper] == segment[lower]
        near = torch.cat([upper[close], lower[close]]).unique()
        values[near] = exact_similarity(self.queries, vectors, owner[near], column[near])
        return values


def _descending(segment: Tensor, values: Tensor) -> Tensor:
    """Return the order by segment, then by falling value."""
    order = values.argsort(descending=True, stable=True)
    return order[segment[order].argsort(stable=True)]


def _merge(starts: Tensor, stops: Tensor) -> tuple[Tensor, Tensor]:
    """Unite overlapping ranges; starts and stops rise together."""
    starts, stops = starts.sort().values, stops.sort().values
    fresh = torch.ones_like(starts, dtype=torch.bool)
    fresh[1:] = starts[1:] >= stops[:-1]
    ends = torch.roll(fresh, -1)  # the last range of a union comes before the first of the next one
    return starts[fresh], stops[ends]


def runs(*sorted_columns: Tensor) -> Tensor:
    """Number the runs of equal rows, from 0."""
    changed = torch.zeros_like(sorted_columns[0], dtype=torch.bool)
    for column in sorted_columns:
        changed[1:] |= column[1:] != column[:-1]
    return changed.cumsum(0)
