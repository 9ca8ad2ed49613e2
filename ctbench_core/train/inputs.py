"""Inputs of training: rows of one feature matrix on the device, standardised by the training rows.

Shape suffixes: M distinct inputs, N volumes, D features, C findings.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ctbench_core.config import Config
from ctbench_core.dataset import Dataset

_CHUNK_ROWS = 256  # as float64 they stay in the cache


@dataclass(frozen=True)
class Scaler:
    """Mean and standard deviation of the training rows, each (D,)."""

    shift: Tensor
    scale: Tensor


def fit_scaler(config: Config, dataset: Dataset, dtype: torch.dtype, device: str) -> Scaler | None:
    """Return mean and deviation of the training rows, None without zscore; a constant dimension keeps scale 1."""
    if config.data.standardise != "zscore":
        return None
    matrix, rows = dataset.matrix, dataset.rows["train"]
    total, constant = _sum(matrix, rows), _constant_dimensions(matrix, rows)
    mean = total / len(rows)
    deviation = np.sqrt(_sum(matrix, rows, mean) / len(rows))
    values = mean, np.where(constant, 1, deviation)  # rounding gives a constant dimension some 1e-17, not 0
    return Scaler(*(torch.as_tensor(v, dtype=dtype, device=device) for v in values))


def _sum(matrix: np.ndarray, rows: np.ndarray, mean: np.ndarray | None = None) -> np.ndarray:
    """Add rows in their order in float64, or their squared distances from a mean (D,): (D,)."""
    wide = np.zeros((min(_CHUNK_ROWS, len(rows)) + 1, matrix.shape[1]))  # the total so far is the first row
    for part in _chunks(rows):
        narrow = matrix[part]
        values = wide[1 : len(narrow) + 1]
        values[:] = narrow
        if mean is not None:
            np.square(np.subtract(values, mean, out=values), out=values)
        wide[0] = wide[: len(narrow) + 1].sum(axis=0)
    return wide[0]


def _constant_dimensions(matrix: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Mark the dimensions that have one value in all rows, bool (D,)."""
    constant, first = np.ones(matrix.shape[1], bool), matrix[rows[0]]
    for part in _chunks(rows):
        if constant.any():
            constant &= (matrix[part] == first).all(axis=0)
    return constant


def _chunks(rows: np.ndarray) -> Iterator[slice | np.ndarray]:
    """Divide rows into parts that stay in the cache; consecutive ones are a slice, which copies nothing."""
    for start in range(0, len(rows), _CHUNK_ROWS):
        part = rows[start : start + _CHUNK_ROWS]
        yield slice(part[0], part[-1] + 1) if (np.diff(part) == 1).all() else part


def fold_scaler(state: dict[str, Tensor], slices: Mapping[str, slice], scaler: Scaler | None) -> dict[str, Tensor]:
    """Fold standardisation into the layers that read features: W (x - m) / s + b = (W / s) x + (b - W m / s)."""
    if scaler is None:
        return state
    shift, scale = scaler.shift.double(), scaler.scale.double()
    for name, part in slices.items():
        old_weight, old_bias = state[f"{name}.weight"], state[f"{name}.bias"]
        weight = old_weight.double() / scale[part].to(old_weight.device)
        bias = old_bias.double() - weight @ shift[part].to(old_weight.device)
        state[f"{name}.weight"], state[f"{name}.bias"] = weight.to(old_weight.dtype), bias.to(old_bias.dtype)
    return state


class DeviceFeatures:
    """Rows of one feature matrix, held on the device where they fit, else read from the memory map."""

    def __init__(self, matrix_MD: np.ndarray, dtype: torch.dtype, device: str) -> None:
        self.dtype, self.device = dtype, device
        # A packed store is mapped copy-on-write: its matrix is writable, and pages are read when first used.
        host = torch.from_numpy(matrix_MD if matrix_MD.flags.writeable else matrix_MD.copy())
        self._matrix = host.to(device) if device != "cpu" and _fits(host, device) else host
        self._buffers: dict[tuple[torch.dtype, str], Tensor] = {}
        self.scalers: dict[bytes, Scaler | None] = {}  # by the training rows that they were fitted on
        # Mean AUPRC on validation and penalty C of optima, by digests of what they depend on (`convergence.py`).
        self.optima: dict[bytes, tuple[float, float]] = {}

    @property
    def width(self) -> int:
        """Length of an input vector."""
        return self._matrix.shape[1]

    @property
    def rows(self) -> int:
        """Number of rows of the matrix."""
        return len(self._matrix)

    def take(self, rows: Tensor, scaler: Scaler | None = None) -> Tensor:
        """Return standardised rows (n, D) in the dtype of the products; valid until the next call."""
        places = rows.to(self._matrix.device)
        values = torch.index_select(self._matrix, 0, places, out=self._memory(self._matrix, len(rows)))
        kind = self.dtype if scaler is None else scaler.shift.dtype
        if values.dtype != kind or values.device.type != self.device:
            values = self._memory(torch.empty(0, dtype=kind, device=self.device), len(rows)).copy_(values)
        if scaler is not None:
            values.sub_(scaler.shift).div_(scaler.scale)
        return values.to(self.dtype)

    def _memory(self, like: Tensor, rows: int) -> Tensor:
        """Return memory for rows (n, D), the same at each call: fresh memory costs a page fault every 4 kB."""
        key = (like.dtype, like.device.type)
        if key not in self._buffers or len(self._buffers[key]) < rows:
            with torch.inference_mode(False):  # may be written to in any mode
                self._buffers[key] = like.new_empty((rows, self.width))
        return self._buffers[key][:rows]


def _fits(host: Tensor, device: str) -> bool:
    """Whether a matrix takes at most half of the free memory of a device; the rest is for heads and batches."""
    free, _ = torch.cuda.mem_get_info(device)
    return host.numel() * host.element_size() <= free // 2


@dataclass(frozen=True)
class Rows:
    """The rows of one split for one head: positions in the matrix (N,), targets (N, C) in {0, 1, NaN}."""

    rows: Tensor
    targets: Tensor
    scaler: Scaler | None = None
