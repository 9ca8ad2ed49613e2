"""Logits of a stored head on any split."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from ctbench_core.errors import CheckpointError
from ctbench_core.train.checkpoint import widths_of
from ctbench_core.train.data import Dataset
from ctbench_core.train.heads import Bank
from ctbench_core.train.trainer import forward_rows


def predict_logits(state: Mapping[str, Tensor], dataset: Dataset, split: str, device: str) -> np.ndarray:
    """Return the logits of a state_dict on a split, float64 of shape (N, C).

    Raises:
        CheckpointError: the head reads another width, or knows another number of findings.
    """
    widths = widths_of(state)
    manifest = dataset.manifests[split]
    expected = (dataset.matrix.shape[1], len(manifest.labels))
    if (widths[0], widths[-1]) != expected:
        raise CheckpointError(
            f"The checkpoint maps {widths[0]} features to {widths[-1]} findings, but {manifest.name} has {expected[0]} features "
            f"and {expected[1]} findings. Evaluate on the features and findings that the run was trained on."
        )
    dtype = next(iter(state.values())).dtype
    bank = Bank(widths, [0], 0.0, dtype, device)
    bank.load_state_dict(0, {_plain_name(name): tensor for name, tensor in state.items()})
    matrix = torch.as_tensor(dataset.matrix, dtype=dtype, device=device)
    rows = torch.as_tensor(dataset.rows[split], device=device)
    return forward_rows(bank, matrix, rows)[0].double().cpu().numpy()


def _plain_name(name: str) -> str:
    """Drop what wrappers put before a layer's name (``module.``, ``model.``)."""
    return name[name.index("network.") :] if "network." in name else name
