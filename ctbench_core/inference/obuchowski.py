"""Errors of AUROC without resampling: Obuchowski's clustered form, which is DeLong's with one row a patient.

An AUROC is a mean over pairs of a positive and a negative row. Its error is that of two means of *placements*: the
fraction of negatives below a positive row, and of positives above a negative row. Placements are summed over the rows
of a patient before they are squared. The sums by patient of several models, seeds, or subsets of the same patients
give their covariance.

Shapes: L layers (models, seeds, sides), N rows, P patients.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ctbench_core.errors import InputError
from ctbench_core.inference.patients import patient_codes
from ctbench_core.metrics import Floats, as_scores, as_targets


@dataclass(frozen=True)
class Placements:
    """An AUROC and its errors by patient: centred placements summed over a patient's positive and negative rows, (P,).

    ``positive`` and ``negative`` are divided by the rows of their class; the factors I/(I-1), J/(J-1) and K/(K-1) are
    those of the patients with a positive row, with a negative row, and with either. NaN where the error is undefined.
    """

    auroc: float
    positive: Floats
    negative: Floats
    factors: tuple[float, float, float]


def placements(targets: Floats, scores: Floats, codes: np.ndarray, patients: int) -> Placements:
    """Return the placements of one label and layer: targets (N,) in {0, 1, NaN}, scores and patient codes (N,)."""
    hit, miss = targets == 1, targets == 0
    high, low = scores[hit], scores[miss]
    counts = [np.count_nonzero(np.bincount(codes[mask])) for mask in (hit, miss, hit | miss)]
    if min(counts[:2]) < 2:
        nothing = np.full(patients, np.nan)
        return Placements(np.nan, nothing, nothing, (np.nan,) * 3)
    above, below = _fraction_below(high, np.sort(low)), 1 - _fraction_below(low, np.sort(high))
    area = float(above.mean())
    sums = [
        np.bincount(codes[mask], place - area, patients) / len(place) for mask, place in ((hit, above), (miss, below))
    ]
    i, j, k = (count / (count - 1) for count in counts)
    return Placements(area, sums[0], sums[1], (i, j, k))


def covariance(layers: list[Placements]) -> Floats:
    """Return the covariance (L, L) of AUROCs of the same patients.

    V = (I / (I - 1)) S10 / m^2 + (J / (J - 1)) S01 / n^2 + (K / (K - 1)) (S11 + S11') / (m n), where m, n count positive
    and negative rows, I, J the patients with such rows, K all patients, and S10, S01, S11 sum over patients the
    products of their summed centred placements. Between layers of different rows the factors are geometric means.
    Source: DeLong et al., Biometrics 1988; Obuchowski, Biometrics 1997.
    """
    i, j, k = (np.sqrt([layer.factors[at] for layer in layers])[:, None] for at in range(3))
    positive = np.stack([layer.positive for layer in layers])
    negative = np.stack([layer.negative for layer in layers])
    cross = (k * positive) @ (k * negative).T
    return (i * positive) @ (i * positive).T + (j * negative) @ (j * negative).T + cross + cross.T


def auroc_covariance(targets: ArrayLike, scores: ArrayLike, patients: ArrayLike | None = None) -> tuple[Floats, Floats]:
    """Return AUROC of M models (M,), and the covariance of their errors (M, M), from one label.

    targets (N,) in {0, 1, NaN = left out}; scores (M, N) or (N,); patients (N,), None = every row is a patient. NaN with
    one class, or with one patient in a class. Raises InputError for wrong shapes.

    >>> float(auroc_covariance([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])[1][0, 0])
    0.125
    """
    truth = as_targets(targets, axes=1)
    values = np.atleast_2d(as_scores(scores, truth))
    if values.ndim != 2:
        raise InputError(f"Scores must have shape (models, rows) or (rows,), got {values.shape}.")
    groups = np.arange(len(truth)) if patients is None else np.asarray(patients)
    if len(groups) != len(truth):
        raise InputError(f"Patients must be one a row, got {len(groups)} for {len(truth)} rows.")
    codes = patient_codes(groups)
    layers = [placements(truth, one, codes, int(codes.max(initial=-1)) + 1) for one in values]
    return np.array([layer.auroc for layer in layers]), covariance(layers)


def _fraction_below(values: Floats, ordered: Floats) -> Floats:
    """Return the fraction of the ordered values below each value; ties count half."""
    left, right = (np.searchsorted(ordered, values, side=side) for side in ("left", "right"))
    return np.asarray((left + right) / 2 / len(ordered))
