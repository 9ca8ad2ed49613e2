"""Heads from their state_dicts: what kind it is shows in the names of its tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from ctbench_core.train.bank import Bank
from ctbench_core.train.batches import Features
from ctbench_core.train.checkpoint import widths_of
from ctbench_core.train.network import Dropout, Gated, Mlp

ROWS = 1024  # of one forward pass


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


class StoredGate:
    """A head that weighs two modalities."""

    def __init__(self, state: Mapping[str, Tensor], device: str) -> None:
        later = sorted(
            (n for n in state if n.startswith("network.") and n.endswith(".weight")), key=lambda n: int(n.split(".")[1])
        )
        widths = [len(state["visual.bias"]), *(len(state[name]) for name in later)]
        parts = [state[f"{name}.weight"].shape[1] for name in ("visual", "text")]
        self.features, self.findings = sum(parts), widths[-1]
        self.dtype = state["visual.weight"].dtype
        network = Gated(parts, widths, len(state["gate.bias"]), Dropout(0))
        self._bank = Bank(network, 1, self.dtype, device)
        self._bank.load_state_dict(0, state)

    def logits(self, x_BD: Tensor) -> Tensor:
        """Return logits (B, C)."""
        return self._bank.logits(x_BD)[0]


class StoredNeighbours:
    """k nearest training volumes by cosine: the log odds of (positives + 1/2) in (known + 1)."""

    def __init__(self, state: Mapping[str, Tensor], device: str) -> None:
        self._memory, self._targets = state["knn.features"].to(device), state["knn.targets"].to(device)
        self._k = int(state["knn.k"])
        self._scale = [state[name].to(device) for name in ("knn.shift", "knn.scale") if name in state]
        self.features, self.findings = self._memory.shape[1], self._targets.shape[1]
        self.dtype = self._memory.dtype

    def logits(self, x_BD: Tensor) -> Tensor:
        """Return logits (B, C)."""
        x_BD = (x_BD - self._scale[0]) / self._scale[1] if self._scale else x_BD
        near = torch.topk(F.normalize(x_BD, dim=1) @ self._memory.T, self._k, dim=1).indices
        votes = self._targets[near].double()
        known = (~torch.isnan(votes)).sum(dim=1)
        positive = torch.nansum(votes, dim=1)
        return torch.log((positive + 0.5) / (known - positive + 0.5))


class StoredPrompts:
    """Scaled cosine to a finding's positive prompt less that to its negative one."""

    def __init__(self, state: Mapping[str, Tensor], device: str) -> None:
        positive, negative, scale = (state[f"zero_shot.{n}"].to(device) for n in ("positive", "negative", "scale"))
        self._direction = (positive - negative) * scale
        self.findings, self.features = positive.shape
        self.dtype = positive.dtype

    def logits(self, x_BD: Tensor) -> Tensor:
        """Return logits (B, C)."""
        return F.normalize(x_BD, dim=1) @ self._direction.T


# By the name that a kind of head's tensors begin with.
STORED: dict[str, Callable[[Mapping[str, Tensor], str], StoredHead]] = {
    "gate.": StoredGate,
    "knn.": StoredNeighbours,
    "zero_shot.": StoredPrompts,
}


def restored(state: Mapping[str, Tensor], device: str) -> StoredHead:
    """Return the head of a state_dict.

    Raises:
        CheckpointError: it is none of ours.
    """
    for beginning, kind in STORED.items():
        if any(name.startswith(beginning) for name in state):
            return kind(state, device)
    return StoredNetwork(state, device)


def logits_on(head: StoredHead, features: Features, rows: Tensor) -> Tensor:
    """Return a head's logits (N, C) on rows of raw features."""
    return torch.cat([head.logits(features.take(chunk)) for chunk in rows.split(ROWS)])
