"""The exact order of all candidates, for a tile of queries at a time.

Shapes: B queries of the tile, M distinct candidate vectors, D dimensions, I items (query, candidate).

One float32 product and one sort a tile. A float32 widened to float64 leaves 29 bits free; they carry
the candidate's column, so that sorting plain numbers also yields the order (NumPy sorts such a row
several times faster than it, or Torch, argsorts one). Neighbours closer than the product's rounding
error are put in order again by their exact similarity, which no tile size or device changes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from ctbench_core.alignment.ragged import expand

_COLUMN_BITS = 29
_COLUMN_MASK = (1 << _COLUMN_BITS) - 1

# Below this rank an order lost in float32 rounding moves average precision by less than 1e-8, so only
# a query's best relevant candidate is still settled there.
EXACT_DEPTH = 1000

# Pairs of an exact product at a time: on a CPU their terms stay in the cache.
_PAIRS_AT_ONCE = {"cpu": 1024}
_PAIRS_AT_ONCE_ELSEWHERE = 65_536


@dataclass(frozen=True)
class Gallery:
    """Candidates of one direction: float32 (M, D), and how many samples share each, int64 (M,)."""

    vectors: Tensor
    shares: Tensor
    exact_depth: int = EXACT_DEPTH

    @property
    def size(self) -> int:
        """Number of candidates, shared vectors counted each time."""
        return int(self.shares.sum())


@dataclass(frozen=True)
class Ranked:
    """Items (I,) of a tile: query row, candidate, copies of it that are relevant, and its tied block.

    ``above`` counts the candidates strictly more similar to the query, ``tied`` those as similar,
    the item's own copies included.
    """

    row: Tensor
    item: Tensor
    count: Tensor
    above: Tensor
    tied: Tensor


def rounding_bound(dimensions: int, unit: float = 2.0**-24) -> float:
    """Bound the error of a dot product of unit vectors in arithmetic of the given unit, float32's u = 2^-24.

    The smaller of the certain bound D u and 3 sqrt(D) u: errors grow as sqrt(D) (Higham and
    Mary, SIAM J. Sci. Comput. 2019), and the worst of 16 million products measured was 1.5 sqrt(D) u,
    over Gaussian, positive, nearly constant and outlier-ridden vectors of 3 to 4,096 dimensions.
    """
    return unit * min(dimensions + 1.0, 3.0 * dimensions**0.5)


def exact_similarity(queries: Tensor, candidates: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """Return float64 similarities (I,) of rows and columns, bit for bit the same on every device.

    Products of float32 values are exact in float64; the sum folds halves in a fixed order.
    """
    some = _PAIRS_AT_ONCE.get(row.device.type, _PAIRS_AT_ONCE_ELSEWHERE)
    found = row.new_empty(len(row), dtype=torch.float64)
    for into, rows, columns in zip(found.split(some), row.split(some), column.split(some)):
        terms = queries[rows].double().mul_(candidates[columns])
        while (width := terms.shape[1]) > 1:
            half = (width + 1) // 2
            terms[:, : width - half] += terms[:, half:]
            terms = terms[:, :half]
        into.copy_(terms[:, 0])
    return found


class Workspace:
    """Buffers for one tile after another: fresh pages for each would cost as much as the sort."""

    def __init__(self, rows: int, gallery: Gallery) -> None:
        shape, device = (rows, len(gallery.vectors)), gallery.vectors.device
        self._similarity = torch.empty(shape, dtype=torch.float32, device=device)
        self._keys = torch.empty(shape, dtype=torch.float64, device=device)
        self._columns = torch.arange(shape[1], device=device)

    def similarity(self, queries: Tensor, gallery: Gallery) -> Tensor:
        """Return float32 (B, M), valid until the next tile."""
        similarity = self._similarity[: len(queries)]
        if queries.device.type == "cpu":
            np.matmul(queries.numpy(), gallery.vectors.numpy().T, out=similarity.numpy())
            return similarity
        with _full_precision():
            return torch.mm(queries, gallery.vectors.T, out=similarity)

    def sorted_keys(self, similarity: Tensor) -> Tensor:
        """Return ascending keys float64 (B, M), valid until the next tile."""
        keys = self._keys[: len(similarity)].copy_(similarity)
        keys.view(torch.int64).bitwise_or_(self._columns)
        if keys.device.type != "cpu":
            return keys.sort(dim=1).values
        keys.numpy().sort(axis=1)  # in place, and 15 times faster than Torch's on a CPU
        return keys


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
        # Two float32 errors part a pair; a key's own column adds less than one more unit.
        self._reach = 2.0 * rounding_bound(queries.shape[1]) + 2.0**-22

    def _cumulative_shares(self) -> Tensor | None:
        if self.total == self.n_columns:
            return None  # every candidate counts once: positions are counts
        shares = self.gallery.shares[self._keys.view(torch.int64) & _COLUMN_MASK]
        return torch.nn.functional.pad(shares.cumsum(1, dtype=torch.int32), (1, 0))

    def _above(self, row: Tensor, position: Tensor) -> Tensor:
        """Count the candidates from a position of the ascending order upwards."""
        if self._cumulative is None:
            return self.total - position
        return self.total - self._cumulative[row, position].long()

    def _position(self, row: Tensor, key: Tensor) -> Tensor:
        """Count the columns whose key is below the given one, in each item's own row; rows ascend."""
        by_row = key.device.type == "cpu"  # several times faster there than steps over all items at once
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
        bounds = np.searchsorted(row.numpy(), np.arange(len(self.queries) + 1)).tolist()
        keys, wanted = self._keys.numpy(), key.numpy()
        for number, (start, stop) in enumerate(pairwise(bounds)):
            if stop > start:
                position[start:stop] = keys[number].searchsorted(wanted[start:stop])
        return torch.from_numpy(position)

    def keys(self, row: Tensor, item: Tensor) -> Tensor:
        """Return the sort keys of items: their similarity in the high bits."""
        similarity = self._similarity[row, item].double()
        return (similarity.view(torch.int64) | item).view(torch.float64)

    def counts_below(self, edges: Tensor) -> Tensor:
        """Count each query's candidates below each edge: float64 (E,) to int64 (B, E)."""
        rows = len(self.queries)
        position = torch.searchsorted(self._keys, edges.expand(rows, -1).contiguous())
        row = torch.arange(rows, device=edges.device)[:, None].expand_as(position)
        return self.total - self._above(row, position)

    def rank(self, row: Tensor, item: Tensor, count: Tensor) -> Ranked:
        """Place items exactly, ties with everything as similar included."""
        key = self.keys(row, item)
        position = self._position(row, key)
        above, tied = self._above(row, position + 1), self.gallery.shares[item]
        unsettled = (self._has_neighbour(row, position, key) & self._matters(row, key, above)).nonzero()[:, 0]
        if len(unsettled):
            placed = self._settle(row[unsettled], position[unsettled], key[unsettled])
            above[unsettled], tied[unsettled] = placed
        return Ranked(row, item, count, above, tied)

    def _has_neighbour(self, row: Tensor, position: Tensor, key: Tensor) -> Tensor:
        """Tell which items have another candidate within the rounding error."""
        base = row * self.n_columns
        lower = self._flat[base + (position - 1).clamp(min=0)]
        upper = self._flat[base + (position + 1).clamp(max=self.n_columns - 1)]
        near_lower = (position > 0) & (key - lower <= self._reach)
        near_upper = (position < self.n_columns - 1) & (upper - key <= self._reach)
        return near_lower | near_upper

    def _matters(self, row: Tensor, key: Tensor, above: Tensor) -> Tensor:
        """Tell which items stand high, or may be their query's best."""
        best = key.new_full((len(self.queries),), -torch.inf).scatter_reduce(0, row, key, "amax")
        return (above < self.gallery.exact_depth) | (key >= best[row] - self._reach)

    def _settle(self, row: Tensor, position: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
        """Order everything within the rounding error of the given items by its exact similarity.

        Returns (above, tied) of the items. What lies outside an item's reach is in order already.
        """
        base = row * self.n_columns
        first, last = _merge(
            base + self._position(row, key - self._reach), base + self._position(row, key + self._reach)
        )
        flat, segment = expand(first, last)
        owner = flat // self.n_columns
        column = self._flat[flat].view(torch.int64) & _COLUMN_MASK
        exact = self._settled(owner, column, segment)
        order = _descending(segment, exact)
        block = torch.empty_like(order)
        block[order] = runs(segment[order], exact[order])
        size = torch.zeros_like(block[: int(block.max()) + 1]).index_add_(0, block, self.gallery.shares[column])
        before = size.cumsum(0) - size
        # Blocks run through all segments: count from the segment's own first block.
        segment_start = before.new_full((len(first),), self.total * len(first) + 1)
        segment_start = segment_start.scatter_reduce(0, segment, before[block], "amin")
        place = torch.searchsorted(flat, base + position)
        mine, piece = block[place], segment[place]
        end = last[piece] - base
        return self._above(row, end) + before[mine] - segment_start[piece], size[mine]

    def _settled(self, owner: Tensor, column: Tensor, segment: Tensor) -> Tensor:
        """Return similarities, float64, whose order and ties inside a segment are those of the exact ones.

        Where most of a tile is unsettled, as with collapsed embeddings, a float64 product of the whole
        tile settles all but the few closer than its own rounding, at a fiftieth of the cost.
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
    ends = torch.roll(fresh, -1)  # the last of a union stands before the next one's first
    return starts[fresh], stops[ends]


def runs(*sorted_columns: Tensor) -> Tensor:
    """Number the runs of equal rows, from 0."""
    changed = torch.zeros_like(sorted_columns[0], dtype=torch.bool)
    for column in sorted_columns:
        changed[1:] |= column[1:] != column[:-1]
    return changed.cumsum(0)


@contextmanager
def _full_precision() -> Iterator[None]:
    """Keep reduced-precision products (TF32, bfloat16) out: the rounding bound assumes float32."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
