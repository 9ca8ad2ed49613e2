"""Checkpoints: tensors and plain values only, read with ``weights_only``, written atomically."""

from __future__ import annotations

import contextlib
import itertools
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ctbench_core.atomic import atomic_file
from ctbench_core.errors import CheckpointError
from ctbench_core.features import DAMAGE


def save(path: Path, content: Mapping[str, Any]) -> None:
    """Write a checkpoint atomically."""
    with atomic_file(path) as file:
        torch.save(dict(content), file)


def load(path: Path, snapshot: bool = False) -> dict[str, Any]:
    """Read a checkpoint onto the CPU without running any code in it.

    Args:
        snapshot: also read NumPy arrays of plain numbers, which the older system's random states are.

    Raises:
        CheckpointError: missing, damaged, pickled objects, or no dict.
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
    except DAMAGE as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(f"Checkpoint {path} cannot be read: {reason}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"Checkpoint {path} holds {type(content).__name__}; expected a state_dict.")
    return content


def _numpy_arrays() -> list[Any]:
    """Name what builds a NumPy array of numbers out of bytes: constructors that run nothing of the file's own."""
    rebuild = np.zeros(0).__reduce__()[0]
    spelled = [(rebuild, f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")]
    return [
        *spelled,
        np.ndarray,
        np.dtype,
        *{type(np.dtype(kind)) for kind in ("u1", "u4", "u8", "i4", "i8", "f4", "f8")},
    ]


def load_model_state(path: Path, snapshot: bool = False) -> dict[str, Tensor]:
    """Read the weights of a checkpoint: a state_dict, or one inside a training snapshot (see `load`).

    Raises:
        CheckpointError: it cannot be read or holds no tensors.
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
    """Return the layer widths that a ``network.*`` state_dict was saved with.

    Raises:
        CheckpointError: its layers do not form a chain.
    """
    names = sorted(
        (n for n in state if n.endswith(".weight")), key=lambda n: [int(p) for p in n.split(".") if p.isdigit()]
    )
    weights = [state[name] for name in names]
    if not weights or any(weight.ndim != 2 for weight in weights):
        raise CheckpointError(f"Checkpoint holds no chain of linear layers: {', '.join(state)}.")
    if any(a.shape[0] != b.shape[1] for a, b in itertools.pairwise(weights)):
        raise CheckpointError(f"Layers of the checkpoint do not fit each other: {[tuple(w.shape) for w in weights]}.")
    return [weights[0].shape[1], *(weight.shape[0] for weight in weights)]
