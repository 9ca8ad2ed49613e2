"""Choose thresholds on validation data, and find operating points on given data.

Thresholds are scores of the data, never values between them; positive is ``score >= threshold``.
Shapes: N rows, C labels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ctbench_core.errors import ConfigError
from ctbench_core.metrics.arrays import Floats, as_scores, as_targets
from ctbench_core.metrics.curves import ThresholdCounts, threshold_counts

RULES = ("f1", "youden", "sensitivity", "specificity")
FOLDS = 5
FALLBACK = 0.5
# Weighted sums round: a rate this close to the minimum meets it.
TOLERANCE = 1e-12


@dataclass(frozen=True)
class Thresholds:
    """One threshold a label (C,); `FALLBACK` where a reason says why none could be chosen."""

    rule: str
    values: Floats
    reasons: list[str | None]


def choose_thresholds(targets: ArrayLike, probabilities: ArrayLike, rule: str = "f1") -> Thresholds:
    """Choose a threshold for every label by a rule; of thresholds that tie, the highest.

    targets (N, C) in {0, 1, NaN = left out}; probabilities (N, C). Rules: ``f1`` (highest F1), ``youden`` (highest
    sensitivity + specificity), ``sensitivity=.95`` (highest specificity among thresholds with at least this
    sensitivity), ``specificity=.9`` (the reverse). Raises ConfigError for another rule.
    """
    score = rule_score(rule)
    truth = as_targets(targets, axes=2)
    values = as_scores(probabilities, truth)
    thresholds = np.full(truth.shape[1], FALLBACK)
    reasons: list[str | None] = [None] * truth.shape[1]
    for c, (column, p) in enumerate(zip(truth.T, values.T)):
        known = ~np.isnan(column)
        if not ((column == 1).any() and (column == 0).any()):
            reasons[c] = "validation holds one class only"
        elif np.isnan(p[known]).any():
            reasons[c] = "scores are NaN"
        else:
            counts = threshold_counts(column, p)
            best = 1 + int(np.argmax(score(counts)[1:]))  # the first point, at infinity, predicts nothing positive
            thresholds[c] = counts.threshold[best]
    return Thresholds(rule, thresholds, reasons)


def rule_score(rule: str) -> Callable[[ThresholdCounts], Floats]:
    """Return the function of the counts that a rule maximises; ConfigError for an unknown rule."""
    name, _, number = rule.partition("=")
    try:
        rate = float(number) if number else None
    except ValueError:
        rate = -1.0
    needs_rate = name in ("sensitivity", "specificity")
    if name not in RULES or needs_rate != (rate is not None) or (rate is not None and not 0 <= rate <= 1):
        raise ConfigError(f"Unknown threshold rule {rule!r}. Known: f1, youden, sensitivity=.95, specificity=.95.")
    if name == "f1":
        return lambda n: 2 * n.tp / (n.tp + n.fp + n.tp[-1])
    if name == "youden":
        return lambda n: n.tp / n.tp[-1] - n.fp / n.fp[-1]
    minimum = float(rate or 0.0) - TOLERANCE
    return lambda n: _other_rate(n.tp / n.tp[-1], 1 - n.fp / n.fp[-1], name == "sensitivity", minimum)


def _other_rate(sensitivity: Floats, specificity: Floats, fix_sensitivity: bool, minimum: float) -> Floats:
    fixed, other = (sensitivity, specificity) if fix_sensitivity else (specificity, sensitivity)
    # If no threshold reaches the minimum (a specificity above that of every score), the most specific one is best.
    return np.where(fixed >= minimum, other, fixed - 2.0)


def patient_folds(patients: ArrayLike, folds: int = FOLDS, seed: int = 0) -> np.ndarray:
    """Assign patients to folds of nearly equal size, at random; return the fold of each row, shape (N,)."""
    codes = np.unique(np.asarray(patients).astype(str), return_inverse=True)[1]
    count = int(codes.max(initial=-1)) + 1
    fold_of = np.empty(count, np.intp)
    fold_of[np.random.default_rng(seed).permutation(count)] = np.arange(count) % folds
    return fold_of[codes]


def cross_fitted_calls(
    targets: ArrayLike, probabilities: ArrayLike, patients: ArrayLike, rule: str = "f1", folds: int = FOLDS
) -> Floats:
    """Predict each row, 0 or 1, with the threshold chosen on the other folds' patients; shape (N, C).

    Scored against the targets, these predictions estimate the rule on validation. A threshold chosen and scored on the
    same patients would be too optimistic.
    """
    truth = as_targets(targets, axes=2)
    values = as_scores(probabilities, truth)
    fold_of = patient_folds(patients, folds)
    calls = np.zeros(truth.shape)
    for fold in range(folds):
        inside = fold_of == fold
        calls[inside] = values[inside] >= choose_thresholds(truth[~inside], values[~inside], rule).values
    return calls
