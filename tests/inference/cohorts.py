"""Small cohorts whose rows share a label and a shift by patient."""

from __future__ import annotations

import numpy as np


def clustered(patients: int, seed: int, share: float = 0.3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw targets (N, 1), scores (N, 1) and patient codes (N,); each patient has one to four rows."""
    draw = np.random.default_rng(seed)
    codes = np.repeat(np.arange(patients), draw.integers(1, 5, patients))
    sick = draw.random(patients) < share
    shift = draw.normal(0, 1, patients)
    return (
        sick[codes].astype(float)[:, None],
        (sick[codes] + shift[codes] + draw.normal(0, 0.3, len(codes)))[:, None],
        codes,
    )


def layers(patients: int, seed: int, count: int = 2, findings: int = 2) -> tuple[np.ndarray, ...]:
    """Draw targets (N, C), scores (count, N, C) of equal models that share noise, and patients (N,) as text."""
    draw = np.random.default_rng(seed)
    codes = np.repeat(np.arange(patients), draw.integers(1, 4, patients))
    sick = (draw.random((patients, findings)) < 0.3).astype(float)[codes]
    shared = draw.normal(size=(patients, findings))[codes]
    scores = np.stack([sick + shared + draw.normal(size=sick.shape) for _ in range(count)])
    return sick, scores, np.char.zfill(codes.astype(str), 4)
