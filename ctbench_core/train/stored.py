"""Heads from their state_dicts: what kind it is shows in the names of its tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor

from ctbench_core.train.bank import Bank
from ctbench_core.train.checkpoint import widths_of
from ctbench_core.train.network import Dropout, Mlp


class StoredHead(Protocol):
    """A trained head, ready for logits."""

    features: int
    findings: int
    dtype: torch.dtype

    def logits(self, x_BD: Tensor) -> Tensor:
        """Return logits (B, C) of raw features (B, D)."""
        ...


class StoredNetwork:
    """An MLP or a linear head, logistic regression included."""

    def __init__(self, state: Mapping[str, Tensor], device: str) -> None:
        widths = widths_of(state)
        self.features, self.findings = widths[0], widths[-1]
        self.dtype = next(iter(state.values())).dtype
        self._bank = Bank(Mlp(widths, Dropout(0)), 1, self.dtype, device)
        self._bank.load_state_dict(0, state)

    def logits(self, x_BD: Tensor) -> Tensor:
        """Return logits (B, C)."""
        return self._bank.logits(x_BD)[0]


def restored(state: Mapping[str, Tensor], device: str) -> StoredHead:
    """Return the head of a state_dict.

    Raises:
        CheckpointError: it is none of ours.
    """
    return StoredNetwork(state, device)
