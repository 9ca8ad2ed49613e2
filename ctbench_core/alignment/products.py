"""Similarities of a tile: the float32 product, its sorted keys, and the exact product of single pairs.

Shapes: B queries of the tile, M distinct candidate vectors, D dimensions, I items (query, candidate).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

_COLUMN_BITS = 29
COLUMN_MASK = (1 << _COLUMN_BITS) - 1

# Rows widened and sorted at a time on a CPU: few, so that they stay in its nearest cache.
_ROWS_A_SORT = 8

# Pairs of an exact product at a time: on a CPU their terms stay in the cache.
_PAIRS_AT_ONCE = {"cpu": 1024}
_PAIRS_AT_ONCE_ELSEWHERE = 65_536


@dataclass(frozen=True)
class Gallery:
    """Candidates of one direction: float32 (M, D), how many samples share each, int64 (M,), and the depth to which
    every order is exact."""

    vectors: Tensor
    shares: Tensor
    exact_depth: int

    @property
    def size(self) -> int:
        """Number of candidates, shared vectors counted each time."""
        return int(self.shares.sum())


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
        with _full_precision():
            return torch.mm(queries, gallery.vectors.T, out=self._similarity[: len(queries)])

    def sorted_keys(self, similarity: Tensor) -> Tensor:
        """Return ascending keys float64 (B, M), valid until the next tile."""
        keys = self._keys[: len(similarity)]
        if keys.device.type != "cpu":
            keys.copy_(similarity).view(torch.int64).bitwise_or_(self._columns)
            return keys.sort(dim=1).values
        columns = self._columns.numpy()
        for into, values in zip(keys.split(_ROWS_A_SORT), similarity.split(_ROWS_A_SORT)):
            some = into.copy_(values).numpy()
            np.bitwise_or(some.view(np.int64), columns, out=some.view(np.int64))
            some.sort(axis=1)  # in place, and 15 times faster than Torch's on a CPU
        return keys


@contextmanager
def _full_precision() -> Iterator[None]:
    """Keep reduced-precision products (TF32, bfloat16) out: the rounding bound assumes float32."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
