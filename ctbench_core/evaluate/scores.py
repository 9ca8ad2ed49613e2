"""The scores table of a bundle: ids, targets, logits and probabilities of every volume."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from ctbench_core.manifest import Manifest


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Return probabilities in float64, where a float32 sigmoid would saturate and make ties."""
    z = logits.astype(np.float64)
    decay = np.exp(-np.abs(z))
    return np.where(z >= 0, 1 / (1 + decay), decay / (1 + decay))


def scores_frame(manifest: Manifest, logits: np.ndarray, probabilities: np.ndarray) -> pd.DataFrame:
    """Return the table of ``scores.parquet`` from logits and probabilities (N, C)."""
    columns: dict[str, Any] = {"volumename": manifest.volumes, "exam": manifest.exams, "patient": manifest.patients}
    columns = {name: values.astype(str) for name, values in columns.items()}
    for c, label in enumerate(manifest.labels):
        known = pd.array(np.nan_to_num(manifest.targets[:, c]).astype(np.int8), dtype="Int8")
        known[np.isnan(manifest.targets[:, c])] = pd.NA
        columns[f"target_{label}"] = known
    columns |= {f"logit_{label}": logits[:, c] for c, label in enumerate(manifest.labels)}
    columns |= {f"prob_{label}": probabilities[:, c] for c, label in enumerate(manifest.labels)}
    return pd.DataFrame(columns)


def metadata_frame(manifest: Manifest) -> pd.DataFrame:
    """Return volumename and every column of the manifest that is no id, path or finding, as text."""
    known = {"volumename", "patient_id", "exam_id", *manifest.labels}
    left = [name for name in manifest.frame if name not in known and not str(name).endswith(("_path", "_id"))]
    return manifest.frame[left].astype("string").assign(volumename=manifest.volumes.astype(str))


def scored_arrays(frame: pd.DataFrame) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Return findings, targets (N, C) in {0, 1, NaN} and probabilities (N, C) of a scores table."""
    labels = [name.removeprefix("prob_") for name in frame if name.startswith("prob_")]
    return labels, numbers(frame, "target_", labels), numbers(frame, "prob_", labels)


def numbers(frame: pd.DataFrame, prefix: str, labels: Sequence[str]) -> np.ndarray:
    """Return the columns of a prefix for these findings as float64 (N, C), NaN where blank."""
    return frame[[prefix + label for label in labels]].astype("Float64").to_numpy(np.float64, na_value=np.nan)
