"""The groups of the registered truths: candidates of the query's group are hits.

Each function returns the group of N volumes, numbers or names (N,), from their manifest, the M distinct text vectors
(M, D) and the row of each volume in them (N,).
"""

from __future__ import annotations

import numpy as np

from ctbench_core.manifest import Manifest


def exam_groups(manifest: Manifest, text: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the exam of each volume."""
    return manifest.exams


def patient_groups(manifest: Manifest, text: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the patient of each volume."""
    return manifest.patients


def text_groups(manifest: Manifest, text: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the report of each volume; reports are the same when their embeddings are bit-identical."""
    return np.unique(text, axis=0, return_inverse=True)[1].reshape(-1)[rows]


def label_groups(manifest: Manifest, text: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the label vector of each volume, by number; unknown is a value of its own."""
    return np.unique(np.nan_to_num(manifest.targets, nan=-1), axis=0, return_inverse=True)[1].reshape(-1)
