"""Variance of AUROC without resampling: DeLong for one row a patient, Obuchowski for several.

An AUROC is a mean over pairs of a positive and a negative row. Its error is that of two means of *placements*: the
fraction of negatives below a positive row, and of positives above a negative row. Obuchowski sums placements
over the rows of a patient before squaring them; with one row a patient this equals DeLong's estimate.

Shapes: M models, N rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr

from ctbench_core.errors import InputError
from ctbench_core.metrics import Floats, as_scores, as_targets, class_reasons, divide, nan_scores


@dataclass(frozen=True)
class AurocCovariance:
    """AUROC of M models on the same rows, with the covariance of their errors.

    Attributes:
        auroc: shape (M,); covariance: shape (M, M); both NaN where ``reason`` is given.
        clustered: True for Obuchowski's form, False for DeLong's.
    """

    auroc: Floats
    covariance: Floats
    clustered: bool
    reason: str | None

    def difference(self, a: int = 0, b: int = 1) -> tuple[float, float, float]:
        """Return the difference of two models' AUROC, its standard error, and the two-sided normal p-value.

        With zero error (both models rank alike) p is 1 for equal AUROC and 0 otherwise.
        """
        delta = float(self.auroc[a] - self.auroc[b])
        variance = float(self.covariance[a, a] + self.covariance[b, b] - 2 * self.covariance[a, b])
        error = float(np.sqrt(max(variance, 0.0))) if not np.isnan(variance) else np.nan
        if np.isnan(delta) or np.isnan(error):
            return delta, error, np.nan
        if error == 0.0:
            return delta, error, 1.0 if delta == 0.0 else 0.0
        return delta, error, float(2 * ndtr(-abs(delta) / error))


def auroc_covariance(targets: ArrayLike, scores: ArrayLike, patients: ArrayLike | None = None) -> AurocCovariance:
    """Estimate AUROC of M models and the covariance of their errors from one label.

    targets (N,) in {0, 1, NaN = left out}; scores (M, N) or (N,); patients (N,), None = every row is a patient.
    V = (I / (I - 1)) S10 / m^2 + (J / (J - 1)) S01 / n^2 + (K / (K - 1)) (S11 + S11') / (m n), where m, n count positive
    and negative rows, I, J the patients with such rows, K all patients, and S10, S01, S11 sum over patients the
    products of their summed centred placements. Source: DeLong et al., Biometrics 1988; Obuchowski, Biometrics 1997.
    Undefined with one class, or with one patient in a class. Raises InputError for wrong shapes.

    >>> float(auroc_covariance([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]).covariance[0, 0])
    0.125
    """
    truth = as_targets(targets, axes=1)
    values = np.atleast_2d(as_scores(scores, truth))
    if values.ndim != 2:
        raise InputError(f"Scores must have shape (models, rows) or (rows,), got {values.shape}.")
    groups = np.arange(len(truth)) if patients is None else np.asarray(patients).astype(str)
    if len(groups) != len(truth):
        raise InputError(f"Patients must be one a row, got {len(groups)} for {len(truth)} rows.")
    positive, negative = truth == 1, truth == 0
    codes = np.unique(groups, return_inverse=True)[1]
    known = positive | negative
    clustered = len(np.unique(codes[known])) < int(known.sum())
    reason = class_reasons(truth[:, None], nan_scores(truth[:, None], values[..., None]))[0]
    if reason is None and min(len(np.unique(codes[mask])) for mask in (positive, negative)) < 2:
        reason = "one patient in a class: the error cannot be estimated"
    if reason:
        empty = np.full(len(values), np.nan)
        return AurocCovariance(empty, np.full((len(values),) * 2, np.nan), clustered, reason)
    above, below = _placements(values[:, positive], values[:, negative])
    auroc = above.mean(axis=1)
    v10 = _by_patient(above - auroc[:, None], codes[positive], codes)
    v01 = _by_patient(below - auroc[:, None], codes[negative], codes)
    m, n = int(positive.sum()), int(negative.sum())
    i, j, k = (len(np.unique(codes[mask])) for mask in (positive, negative, known))
    cross = divide(k, k - 1) * (v10 @ v01.T)
    covariance = (
        divide(i, i - 1) * (v10 @ v10.T) / m**2 + divide(j, j - 1) * (v01 @ v01.T) / n**2 + (cross + cross.T) / (m * n)
    )
    return AurocCovariance(auroc, covariance, clustered, None)


def _placements(positive: Floats, negative: Floats) -> tuple[Floats, Floats]:
    """Return the fraction of negatives below each positive (M, m), and of positives above each negative (M, n)."""
    above, below = np.empty(positive.shape), np.empty(negative.shape)
    for k, (high, low) in enumerate(zip(positive, negative)):
        above[k] = _fraction_below(high, np.sort(low))
        below[k] = 1 - _fraction_below(low, np.sort(high))
    return above, below


def _fraction_below(values: Floats, ordered: Floats) -> Floats:
    """Return the fraction of the ordered values below each value; ties count half."""
    left, right = (np.searchsorted(ordered, values, side=side) for side in ("left", "right"))
    return np.asarray((left + right) / 2 / len(ordered))


def _by_patient(values: Floats, codes: np.ndarray, all_codes: np.ndarray) -> Floats:
    """Sum values (M, rows) over the rows of each patient: (M, patients)."""
    width = int(all_codes.max()) + 1
    return np.stack([np.bincount(codes, weights=row, minlength=width) for row in values])
