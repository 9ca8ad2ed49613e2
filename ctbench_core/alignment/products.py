"""Similarities of a tile: the float32 product, its sorted keys, and exact products of single pairs.

Shapes: B queries of the tile, M distinct candidate vectors, D dimensions, I items (query, candidate).
"""

from __future__ import annotations

import functools
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

_COLUMN_BITS = 29
COLUMN_MASK = (1 << _COLUMN_BITS) - 1

# Rows widened and sorted at a time on a CPU: few, so that they stay in its nearest cache.
_SORT_ROWS = 8

# Pairs of an exact product at a time: on a CPU their terms stay in the cache.
_PAIR_CHUNK_CPU, _PAIR_CHUNK_GPU = 1024, 65_536


@dataclass(frozen=True)
class Gallery:
    """Candidates of one direction: float32 (M, D), and the number of samples that share each, int64 (M,).

    ``exact_depth`` is the depth to which every order is exact.
    """

    vectors: Tensor
    shares: Tensor
    exact_depth: int

    @property
    def size(self) -> int:
        """Number of candidates, shared vectors counted each time."""
        return int(self.shares.sum())


def rounding_bound(dimensions: int, unit: float = 2.0**-24) -> float:
    """Bound the rounding error of a dot product of unit vectors; ``unit`` is u, 2^-24 for float32.

    The smaller of the certain bound D u and 3 sqrt(D) u: errors grow as sqrt(D) (Higham and Mary, SIAM J. Sci. Comput.
    2019), and the worst of 16 million measured products was 1.5 sqrt(D) u, over Gaussian, positive, nearly constant and
    outlier-ridden vectors of 3 to 4,096 dimensions.
    """
    return unit * min(dimensions + 1.0, 3.0 * dimensions**0.5)


def exact_similarity(queries: Tensor, candidates: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """Return float64 similarities (I,) of rows and columns, bit for bit the same on every device.

    Products of float32 values are exact in float64; the sum folds halves in a fixed order.
    """
    chunk = _PAIR_CHUNK_CPU if row.device.type == "cpu" else _PAIR_CHUNK_GPU
    similarity = row.new_empty(len(row), dtype=torch.float64)
    for target, rows, columns in zip(similarity.split(chunk), row.split(chunk), column.split(chunk)):
        terms = queries[rows].double().mul_(candidates[columns])
        while (width := terms.shape[1]) > 1:
            half = (width + 1) // 2
            terms[:, : width - half] += terms[:, half:]
            terms = terms[:, :half]
        target.copy_(terms[:, 0])
    return similarity


class Workspace:
    """Buffers that one tile after another uses: fresh memory for each would cost as much as the sort."""

    def __init__(self, rows: int, gallery: Gallery) -> None:
        shape, device = (rows, len(gallery.vectors)), gallery.vectors.device
        self._similarity = _memory(shape, torch.float32, device)
        self._keys = _memory(shape, torch.float64, device)
        self._columns = torch.arange(shape[1], device=device)

    def similarity(self, queries: Tensor, gallery: Gallery) -> Tensor:
        """Return float32 (B, M), valid until the next tile."""
        similarity = self._similarity[: len(queries)]
        if similarity.device.type == "cpu" and _is_amd():
            np.matmul(queries.numpy(), gallery.vectors.numpy().T, out=similarity.numpy())
            return similarity
        return torch.mm(queries, gallery.vectors.T, out=similarity)

    def sorted_keys(self, similarity: Tensor) -> Tensor:
        """Return ascending keys float64 (B, M), valid until the next tile."""
        keys = self._keys[: len(similarity)]
        if keys.device.type != "cpu":
            keys.copy_(similarity).view(torch.int64).bitwise_or_(self._columns)
            return keys.sort(dim=1).values
        columns = self._columns.numpy()
        for target, values in zip(keys.split(_SORT_ROWS), similarity.split(_SORT_ROWS)):
            rows = target.copy_(values).numpy()
            np.bitwise_or(rows.view(np.int64), columns, out=rows.view(np.int64))
            rows.sort(axis=1)  # in place, and 15 times faster than Torch's on a CPU
        return keys


def _memory(shape: tuple[int, int], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return memory that is not set; on a CPU from NumPy, which asks the system for large pages, as Torch does not."""
    if device.type == "cpu":
        return torch.from_numpy(np.empty(shape, str(dtype).removeprefix("torch.")))
    return torch.empty(shape, dtype=dtype, device=device)


@functools.cache
def _is_amd() -> bool:
    """Whether the processor is AMD's: NumPy's product is quicker there, Torch's on others."""
    with suppress(OSError):
        return "AuthenticAMD" in Path("/proc/cpuinfo").read_text(encoding="utf-8")
    return "AuthenticAMD" in platform.processor()  # Windows has the maker in this text


@contextmanager
def full_precision() -> Iterator[None]:
    """Forbid reduced-precision products (TF32, bfloat16) in all threads: the rounding bound assumes float32."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
