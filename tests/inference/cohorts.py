"""Small cohorts whose rows share a label and a shift by patient."""

from __future__ import annotations

from collections.abc import Callable

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


def effective(codes: np.ndarray, mask: np.ndarray) -> float:
    """Return Kish's effective number of the patients of marked rows (N,)."""
    sizes = np.unique(codes[mask], return_counts=True)[1].astype(float)
    return float(sizes.sum() ** 2 / (sizes**2).sum())


def scarcer(targets: np.ndarray, codes: np.ndarray, column: int = 0) -> float:
    """Return the effective patients of the class of a finding that fewer patients have."""
    sides = [targets[:, column] == side for side in (0, 1)]
    return effective(codes, min(sides, key=lambda mask: len(np.unique(codes[mask]))))


def dof_of(deviations: np.ndarray, most: float) -> float:
    """Return 2 V^2 / Var(V) of a sum V of squared deviations (P,), at most ``most`` (Hinkley 1977)."""
    squares = [deviation**2 for deviation in deviations if deviation]
    variance = sum((square - sum(squares) / len(squares)) ** 2 for square in squares)
    return min(most, 2 * sum(squares) ** 2 / variance)


def auroc_deviations(targets: np.ndarray, scores: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Return what each patient adds to the error of an AUROC (P,), from all pairs of rows (N,) written out."""
    positive, negative = np.flatnonzero(targets == 1), np.flatnonzero(targets == 0)
    wins = (scores[positive][:, None] > scores[negative]) + 0.5 * (scores[positive][:, None] == scores[negative])
    area, deviations = wins.mean(), np.zeros(codes.max() + 1)
    for rows, places in ((positive, wins.mean(axis=1)), (negative, wins.mean(axis=0))):
        patients = len(np.unique(codes[rows]))
        for row, place in zip(rows, places):
            deviations[codes[row]] += np.sqrt(patients / (patients - 1)) * (place - area) / len(rows)
    return deviations


def left_out(metric: Callable[[np.ndarray], float], codes: np.ndarray) -> np.ndarray:
    """Return the jackknife deviations (P,) of a metric of rows, which is given the rows that are kept."""
    patients = np.unique(codes)
    values = np.array([metric(np.flatnonzero(codes != patient)) for patient in patients])
    return np.sqrt((len(patients) - 1) / len(patients)) * (values - values.mean())
