"""Standardisation by the training rows, and how it is folded into weights so that a saved head reads raw features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ctbench_core.config import Config
from ctbench_core.dataset import Dataset


@dataclass(frozen=True)
class Scaler:
    """Mean and deviation of the training rows, each (D,)."""

    shift: Tensor
    scale: Tensor


def fit_scaler(config: Config, dataset: Dataset, dtype: torch.dtype, device: str) -> Scaler | None:
    """Return mean and deviation of the training rows, None unless asked for; a constant dimension keeps 1."""
    if config.data.standardise != "zscore":
        return None
    rows = dataset.inputs("train").astype(np.float64)
    constant = rows.min(axis=0) == rows.max(axis=0)  # rounding gives its deviation some 1e-17, not 0
    values = rows.mean(axis=0), np.where(constant, 1, rows.std(axis=0))
    return Scaler(*(torch.as_tensor(v, dtype=dtype, device=device) for v in values))


def folded(state: dict[str, Tensor], reads: Mapping[str, slice], scaler: Scaler | None) -> dict[str, Tensor]:
    """Fold standardisation into the layers that read features: W (x - m) / s + b = (W / s) x + (b - W m / s)."""
    if scaler is None:
        return state
    shift, scale = scaler.shift.double(), scaler.scale.double()
    for name, part in reads.items():
        old_weight, old_bias = state[f"{name}.weight"], state[f"{name}.bias"]
        weight = old_weight.double() / scale[part].to(old_weight.device)
        bias = old_bias.double() - weight @ shift[part].to(old_weight.device)
        state[f"{name}.weight"], state[f"{name}.bias"] = weight.to(old_weight.dtype), bias.to(old_bias.dtype)
    return state
