"""Logits of a stored head on any split."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from ctbench_core.dataset import Dataset
from ctbench_core.errors import CheckpointError
from ctbench_core.train.batches import Features
from ctbench_core.train.stored import logits_on, restored


def predict_logits(state: Mapping[str, Tensor], dataset: Dataset, split: str, device: str) -> np.ndarray:
    """Return the logits of a state_dict on a split, float64 of shape (N, C).

    Raises:
        CheckpointError: the head reads another width, or knows another number of findings.
    """
    head = restored({_plain_name(name): tensor for name, tensor in state.items()}, device)
    manifest = dataset.manifests[split]
    expected = (dataset.matrix.shape[1], len(manifest.labels))
    if (head.features, head.findings) != expected:
        raise CheckpointError(
            f"The checkpoint maps {head.features} features to {head.findings} findings, but {manifest.name} has "
            f"{expected[0]} features and {expected[1]} findings. Evaluate on the features and findings that the run "
            "was trained on."
        )
    features = Features(dataset.matrix, head.dtype, device)
    rows = torch.as_tensor(dataset.rows[split])
    with torch.inference_mode():
        return logits_on(head, features, rows).double().cpu().numpy()


def _plain_name(name: str) -> str:
    """Drop what wrappers put before a layer's name (``module.``, ``model.``)."""
    return name[name.index("network.") :] if "network." in name else name
