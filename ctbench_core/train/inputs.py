"""Inputs of training: rows of one feature matrix on the device, standardised by the training rows.

Shape suffixes: M distinct inputs, N volumes, D features, C findings.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ctbench_core.config import Config
from ctbench_core.dataset import Dataset

_CHUNK_ROWS = 8192


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
    parts = [rows[start : start + _CHUNK_ROWS] for start in range(0, len(rows), _CHUNK_ROWS)]
    mean = _sum(matrix[part].astype(np.float64) for part in parts) / len(rows)
    deviation = np.sqrt(_sum(np.square(matrix[part].astype(np.float64) - mean) for part in parts) / len(rows))
    constant = np.ones(matrix.shape[1], bool)  # rounding gives its deviation some 1e-17, not 0
    for part in parts:
        constant &= (matrix[part] == matrix[rows[0]]).all(axis=0)
    values = mean, np.where(constant, 1, deviation)
    return Scaler(*(torch.as_tensor(v, dtype=dtype, device=device) for v in values))


def _sum(parts: Iterable[np.ndarray]) -> np.ndarray:
    """Add the rows of all parts (n, D) in their order, as if they were one matrix: (D,)."""
    total: np.ndarray | None = None
    for part in parts:
        total = part.sum(axis=0) if total is None else np.concatenate([total[None], part]).sum(axis=0)
    assert total is not None
    return total


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
        self._buffer = self._matrix.new_empty((0, host.shape[1]))
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
        values = self._gather(rows.to(self._matrix.device)).to(self.device)
        if scaler is None:
            return values.to(self.dtype)
        return values.to(scaler.shift.dtype).sub(scaler.shift).div_(scaler.scale).to(self.dtype)

    def _gather(self, rows: Tensor) -> Tensor:
        """Gather into the same memory at each call: fresh memory costs a page fault every 4 kB."""
        if len(self._buffer) < len(rows):
            with torch.inference_mode(False):  # may be written to in any mode
                self._buffer = self._matrix.new_empty((len(rows), self.width))
        return torch.index_select(self._matrix, 0, rows, out=self._buffer[: len(rows)])


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
