"""Checkpoints: written atomically, read without running code, and turned back into heads that give logits.

A checkpoint holds tensors and plain values only. The kind of a head follows from the names of its tensors, or from the
run's config.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ctbench_core.atomic import atomic_file
from ctbench_core.config import ModelConfig
from ctbench_core.declared import HEADS
from ctbench_core.declared import load as load_reference
from ctbench_core.errors import CheckpointError
from ctbench_core.features import READ_ERRORS
from ctbench_core.train.inputs import DeviceFeatures
from ctbench_core.train.module import SCALE, SHIFT
from ctbench_core.train.network import Dropout, Gated, Mlp, Network
from ctbench_core.train.parameters import StackedParameters, fill_tensors

ROWS = 1024  # of one forward pass


def save(path: Path, content: Mapping[str, Any]) -> None:
    """Write a checkpoint atomically.

    Raises:
        FileNotFoundError: the folder of its run is gone; it is not made again.
        StorageError: the system refuses it.
    """
    buffer = io.BytesIO()  # torch turns a refusal of the disk into a RuntimeError about positions in its zip
    torch.save(dict(content), buffer)
    with atomic_file(path, parents=False) as file:
        file.write(buffer.getbuffer())


def load(path: Path, snapshot: bool = False) -> dict[str, Any]:
    """Read a checkpoint onto the CPU without running any code in it.

    Args:
        snapshot: also allow NumPy arrays of plain numbers, which hold the older system's random states.

    Raises:
        CheckpointError: the file is missing or damaged, holds pickled objects, or is no dict.
    """
    if not path.is_file():
        raise CheckpointError(f"Checkpoint {path} does not exist. Train the run first, or set paths.checkpoint_path.")
    try:
        with torch.serialization.safe_globals(_numpy_arrays()) if snapshot else contextlib.nullcontext():
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"Checkpoint {path} is damaged or holds objects that could run code; save a plain state_dict."
        ) from error
    except READ_ERRORS as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(f"Checkpoint {path} cannot be read: {reason}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"Checkpoint {path} holds {type(content).__name__}; expected a state_dict.")
    return content


def _numpy_arrays() -> list[Any]:
    """Return the constructors that build a NumPy array of numbers out of bytes; they run no code of the file."""
    rebuild = np.zeros(0).__reduce__()[0]
    names = [(rebuild, f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")]
    dtypes = {type(np.dtype(kind)) for kind in ("u1", "u4", "u8", "i4", "i8", "f4", "f8")}
    return [*names, np.ndarray, np.dtype, *dtypes]


def load_model_state(path: Path, snapshot: bool = False) -> dict[str, Tensor]:
    """Read the weights of a checkpoint: a state_dict, or one inside a training snapshot (see `load`).

    Raises:
        CheckpointError: the file cannot be read or holds no tensors.
    """
    content = load(path, snapshot)
    for name in ("best_model_state", "state_dict", "model_state_dict", "model"):
        if isinstance(content.get(name), dict):
            content = content[name]
            break
    if not content or not all(isinstance(value, Tensor) for value in content.values()):
        raise CheckpointError(f"Checkpoint {path} holds no state_dict: expected names such as network.0.weight.")
    return content


def widths_of(state: Mapping[str, Tensor]) -> list[int]:
    """Return the layer widths of a ``network.*`` state_dict; refuse layers that do not form a chain."""
    names = sorted(
        (n for n in state if n.endswith(".weight")), key=lambda n: [int(p) for p in n.split(".") if p.isdigit()]
    )
    weights = [state[name] for name in names]
    if not weights or any(weight.ndim != 2 for weight in weights):
        raise CheckpointError(f"Checkpoint holds no chain of linear layers: {', '.join(state)}.")
    if any(a.shape[0] != b.shape[1] for a, b in itertools.pairwise(weights)):
        raise CheckpointError(f"Layers of the checkpoint do not fit each other: {[tuple(w.shape) for w in weights]}.")
    return [weights[0].shape[1], *(weight.shape[0] for weight in weights)]


class StoredHead:
    """A trained head, ready for logits."""

    features: int
    findings: int
    dtype: torch.dtype

    def logits(self, x_BD: Tensor) -> Tensor:
        """Return logits (B, C) of raw features (B, D)."""
        raise NotImplementedError


class StoredNetwork(StoredHead):
    """A linear head, an MLP or a gated head; logistic regression is stored as a linear head."""

    def __init__(self, state: Mapping[str, Tensor], device: str) -> None:
        state = strip_prefixes(state)
        network, self.features, self.findings = _gated(state) if "gate.bias" in state else _mlp(state)
        self.dtype = next(iter(state.values())).dtype
        self._parameters = StackedParameters(network, 1, self.dtype, device)
        self._parameters.load_state_dict(0, state)

    def logits(self, x_BD: Tensor) -> Tensor:
        return self._parameters.logits(x_BD)[0]


def _mlp(state: Mapping[str, Tensor]) -> tuple[Network, int, int]:
    widths = widths_of(state)
    return Mlp(widths, Dropout(0)), widths[0], widths[-1]


def _gated(state: Mapping[str, Tensor]) -> tuple[Network, int, int]:
    names = (name for name in state if name.startswith("network.") and name.endswith(".weight"))
    later = sorted(names, key=lambda name: int(name.split(".")[1]))
    widths = [len(state["visual.bias"]), *(len(state[name]) for name in later)]
    parts = [state[f"{name}.weight"].shape[1] for name in ("visual", "text")]
    return Gated(parts, widths, len(state["gate.bias"]), Dropout(0)), sum(parts), widths[-1]


class StoredNeighbours(StoredHead):
    """k nearest training volumes by cosine: the log odds of (positives + 1/2) in (known + 1)."""

    def __init__(self, state: Mapping[str, Tensor], device: str) -> None:
        self._memory, self._targets = state["knn.features"].to(device), state["knn.targets"].to(device)
        self._k = int(state["knn.k"])
        self._scale = [state[name].to(device) for name in ("knn.shift", "knn.scale") if name in state]
        self.features, self.findings = self._memory.shape[1], self._targets.shape[1]
        self.dtype = self._memory.dtype

    def logits(self, x_BD: Tensor) -> Tensor:
        x_BD = (x_BD - self._scale[0]) / self._scale[1] if self._scale else x_BD
        near = torch.topk(F.normalize(x_BD, dim=1) @ self._memory.T, self._k, dim=1).indices
        votes = self._targets[near].double()
        known = (~torch.isnan(votes)).sum(dim=1)
        positive = torch.nansum(votes, dim=1)
        return torch.log((positive + 0.5) / (known - positive + 0.5))


class StoredPrompts(StoredHead):
    """Scaled cosine to the positive prompt of a finding minus that to its negative prompt."""

    def __init__(self, state: Mapping[str, Tensor], device: str) -> None:
        positive, negative, scale = (state[f"zero_shot.{n}"].to(device) for n in ("positive", "negative", "scale"))
        self._direction = (positive - negative) * scale
        self.findings, self.features = positive.shape
        self.dtype = positive.dtype

    def logits(self, x_BD: Tensor) -> Tensor:
        return F.normalize(x_BD, dim=1) @ self._direction.T


class StoredModule(StoredHead):
    """A head that is a torch module, with the z-scores of its features where they were standardised."""

    def __init__(
        self, state: Mapping[str, Tensor], device: str, module: nn.Module, features: int, findings: int
    ) -> None:
        self.features, self.findings = features, findings
        self.dtype = next(iter(state.values())).dtype
        self._module = module.to(device, self.dtype).eval().requires_grad_(False)
        fill_tensors(dict(self._module.named_parameters()), {n: t for n, t in state.items() if n not in (SHIFT, SCALE)})
        self._scale = [state[name].to(device) for name in (SHIFT, SCALE) if name in state]

    def logits(self, x_BD: Tensor) -> Tensor:
        logits: Tensor = self._module((x_BD - self._scale[0]) / self._scale[1] if self._scale else x_BD)
        return logits


def strip_prefixes(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Name the layers of a network as it does itself, without ``module.`` or ``model.`` of a wrapper."""
    return {name[max(name.find("network."), 0) :]: tensor for name, tensor in state.items()}


def load_head(
    state: Mapping[str, Tensor], device: str, model: ModelConfig | None = None, features: int = 0, findings: int = 0
) -> StoredHead:
    """Return the head of a state_dict: by the names of its tensors, else the module that its config names, else a network.

    Args:
        model, features, findings: what a module is built of.

    Raises:
        CheckpointError: the tensors do not fit.
    """
    for declared in HEADS.values():
        if declared.tensors and any(name.startswith(declared.tensors) for name in state):
            stored: StoredHead = load_reference(declared.reader)(state, device)
            return stored
    head = HEADS.get(HEADS.canonical(model._target_)) if model else None
    if model and head and head.module:
        module = load_reference(head.module)(model.params, features, findings)
        return StoredModule(state, device, module, features, findings)
    return StoredNetwork(state, device)


def head_logits(head: StoredHead, features: DeviceFeatures, rows: Tensor) -> Tensor:
    """Return a head's logits (N, C) on rows of raw features."""
    return torch.cat([head.logits(features.take(chunk)) for chunk in rows.split(ROWS)])
