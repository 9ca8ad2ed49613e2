"""Inference for K-fold studies: out-of-fold scores for the patient-level test, and two sensitivity tests.

Folds share training patients, and one fold has few test patients, so metrics of folds are not an independent sample.
The main test is therefore `paired_difference` on out-of-fold scores averaged over seeds. The two tests over folds are
labelled as sensitivity.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtr

from ctbench_core.errors import InputError
from ctbench_core.metrics import Floats, compared_metric_fn

# Up to 36 differences all sign patterns are counted; beyond, 9,999 random ones.
_EXACT, _SAMPLES = 36, 9999


@dataclass(frozen=True)
class SensitivityTest:
    """A sensitivity test: its name, two-sided p, the smallest p it can give, and a note for the reader."""

    name: str
    p: float
    smallest_p: float
    note: str


def out_of_fold_scores(scores: ArrayLike) -> Floats:
    """Average out-of-fold scores over seeds: (S, N, C) to (N, C).

    Raises InputError for a row without a score (NaN): every row must be in one test fold of every seed.
    """
    values = np.asarray(scores, np.float64)
    if values.ndim != 3:
        raise InputError(f"Out-of-fold scores must have shape (seeds, rows, labels), got {values.shape}.")
    missing = np.isnan(values).any(axis=(0, 2))
    if missing.any():
        raise InputError(
            f"Rows without an out-of-fold score in some seed: {missing.sum()}. Run all folds of all seeds."
        )
    return np.asarray(values.mean(axis=0))


def fold_differences(targets: ArrayLike, first: ArrayLike, second: ArrayLike, folds: ArrayLike) -> dict[str, Floats]:
    """Return first - second of AUROC and AUPRC in every fold and seed, (folds x seeds, C); NaN where a fold has one class.

    targets (N, C) in {0, 1, NaN}; first, second (S, N, C) out-of-fold scores; folds (N,), the fold of each row.
    """
    truth, fold_of = np.asarray(targets, np.float64), np.asarray(folds).astype(str)
    both = np.stack([np.asarray(first, np.float64), np.asarray(second, np.float64)])
    differences: dict[str, list[Floats]] = {}
    for fold in np.unique(fold_of):
        rows = fold_of == fold
        for name, value in compared_metric_fn(truth[rows], both[:, :, rows]).items():
            differences.setdefault(name, []).append(value[0] - value[1])
    return {name: np.concatenate(parts) for name, parts in differences.items()}


def sign_flip(differences: ArrayLike, seed: int = 0) -> SensitivityTest:
    """Test the mean of (fold, seed) differences (J,) by flipping their signs: all 2^J patterns up to J = 36.

    It assumes independent and symmetric differences, which folds are not. Source: Fisher's randomisation test.
    """
    values = _finite(differences)
    count = len(values)
    observed = abs(values.sum()) * (1 - 1e-12)
    if count <= _EXACT:
        p = _fraction_of_patterns(values, observed)
    else:
        signs = np.random.default_rng(seed).choice([-1, 1], (_SAMPLES, count))
        p = ((np.abs(signs @ values) >= observed).sum() + 1) / (_SAMPLES + 1)
    smallest = 2 / 2**count if count <= _EXACT else 1 / (_SAMPLES + 1)
    note = f"sensitivity: {count} (fold, seed) differences treated as independent"
    if smallest > 0.05:
        note += f"; {count} differences cannot give p below {smallest:.3f}"
    return SensitivityTest("sign flip", float(p), smallest, note)


def _fraction_of_patterns(values: Floats, observed: float) -> float:
    """Return the fraction of all sign patterns whose sum is at least as far from 0 as the observed one.

    The sums of one half are searched in the sorted sums of the other: 2^(J/2) sums instead of 2^J.
    """
    half = len(values) // 2
    low, high = (_sums(part) for part in (values[:half], values[half:]))
    low.sort()
    above = len(low) - np.searchsorted(low, observed - high, side="left")
    below = np.searchsorted(low, -observed - high, side="right")
    extreme = above + below if observed > 0 else np.full(len(high), len(low))
    return float(extreme.sum() / (len(low) * len(high)))


def _sums(values: Floats) -> Floats:
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums + value, sums - value])
    return sums


def corrected_resampled_t(differences: ArrayLike, test_share: float) -> SensitivityTest:
    """Test the mean of J fold differences by a t whose variance accounts for the overlap of training sets.

    t = mean / sqrt((1 / J + n_test / n_train) s^2), J - 1 degrees of freedom. `test_share` is n_test / n_train: 1 / (K
    - 1) in K-fold. Source: Nadeau and Bengio, Mach. Learn. 2003. Raises InputError for fewer than two differences.
    """
    values = _finite(differences)
    count = len(values)
    if count < 2:
        raise InputError("The corrected t-test needs at least two folds.")
    error = np.sqrt((1 / count + test_share) * values.var(ddof=1))
    mean = values.mean()
    p = 2 * stdtr(count - 1, -abs(mean) / error) if error > 0 else float(mean == 0)
    note = f"sensitivity: {count} folds, n_test / n_train = {test_share:.3f}"
    return SensitivityTest("corrected resampled t", float(p), 0.0, note)


def _finite(differences: ArrayLike) -> Floats:
    values = np.asarray(differences, np.float64).ravel()
    if not len(values) or not np.isfinite(values).all():
        raise InputError("Differences of folds must be finite, and at least one is needed.")
    return values
