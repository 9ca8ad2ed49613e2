"""The two sides of an alignment: unit vectors, each distinct one held once.

Volumes of an exam share feature files and reports repeat word for word. Bit-identical vectors are
computed once, so that true ties stay ties whatever the arithmetic does, and cost nothing.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import torch

from ctbench_core.errors import FeatureError, InputError, first_rows

_CHUNK_ROWS = 4096


@dataclass(frozen=True)
class Side:
    """Distinct unit vectors float32 (M, D), and the one each of N samples has, int64 (N,)."""

    vectors: np.ndarray
    of_sample: np.ndarray


def read_side(name: str, matrix: np.ndarray, rows: np.ndarray | None = None) -> Side:
    """Normalise the vectors a side uses and fold its bit-identical ones.

    matrix: (R, D); rows: int (N,), the matrix row of each sample, all rows in order when None.

    Raises:
        InputError: the matrix is not two-dimensional or a row number lies outside it.
        FeatureError: a value is NaN or infinite.
    """
    matrix = np.asarray(matrix)
    if matrix.ndim != 2 or not matrix.shape[1]:
        raise InputError(f"Expected the {name} vectors as a matrix (samples, dimensions), got shape {matrix.shape}.")
    rows = np.arange(len(matrix)) if rows is None else np.asarray(rows)
    if rows.ndim != 1 or (len(rows) and not (rows.min() >= 0 and rows.max() < len(matrix))):
        raise InputError(f"The row numbers of the {name} side must be a list of numbers from 0 to {len(matrix) - 1}.")
    used, of_sample = np.unique(rows, return_inverse=True)
    unit = _unit_rows(name, matrix, used)
    distinct = _first_of_its_kind(unit)
    kept, folded = np.unique(distinct, return_inverse=True)
    return Side(unit if len(kept) == len(unit) else unit[kept], folded[of_sample])


def _unit_rows(name: str, matrix: np.ndarray, used: np.ndarray) -> np.ndarray:
    """Divide rows by their norm in float64; a row of zero norm stays zero, similar to nothing."""
    unit = np.empty((len(used), matrix.shape[1]), np.float32)
    for start in range(0, len(used), _CHUNK_ROWS):
        part = matrix[used[start : start + _CHUNK_ROWS]].astype(np.float64)
        bad = ~np.isfinite(part).all(axis=1)
        if bad.any():
            named = first_rows(used[start : start + _CHUNK_ROWS][bad], int(bad.sum()))
            raise FeatureError(f"Expected finite {name} vectors; NaN or infinite values in rows {named}. Drop them.")
        norm = np.linalg.norm(part, axis=1, keepdims=True)
        unit[start : start + _CHUNK_ROWS] = part / np.where(norm > 0, norm, 1.0)
    unit += 0.0  # -0.0 becomes 0.0: equal values get equal bits
    return unit


def _first_of_its_kind(unit: np.ndarray) -> np.ndarray:
    """Return for each row the first row with the same bits (by a 128-bit digest: no chance collision)."""
    seen: dict[bytes, int] = {}
    digests = (hashlib.blake2b(row.data, digest_size=16).digest() for row in unit)
    return np.fromiter((seen.setdefault(digest, i) for i, digest in enumerate(digests)), np.int64, len(unit))


def sum_within_groups(image: Side, text: Side, groups: np.ndarray) -> float:
    """Return the exact sum of similarities over all pairs of one group: sum over g of (sum v) . (sum t).

    groups: int (N,) from 0. Computed in float64 from group sums, a few dimensions at a time, so that
    no pair is ever formed: O(N D) time, O(N) memory.
    """
    total, n_groups = 0.0, int(groups.max()) + 1
    index = torch.from_numpy(groups)

    def group_sums(side: Side, columns: slice) -> torch.Tensor:
        values = torch.from_numpy(side.vectors[:, columns].astype(np.float64)[side.of_sample])
        return torch.zeros((n_groups, values.shape[1]), dtype=torch.float64).index_add_(0, index, values)

    for start in range(0, image.vectors.shape[1], 32):
        columns = slice(start, start + 32)
        total += float((group_sums(image, columns) * group_sums(text, columns)).sum())
    return total
