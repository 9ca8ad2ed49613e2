"""Thresholds chosen on validation, and what they are worth there when no patient judges a choice it took part in.

Shapes: N rows, C labels.

MERGED: Operating points: the threshold at which one of sensitivity and specificity is held and the other is best.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ctbench_core.errors import ConfigError, InputError
from ctbench_core.metrics.arrays import Floats, as_scores, as_targets, divide
from ctbench_core.metrics.curves import ThresholdCounts, curve_points, threshold_counts

RULES = ("f1", "youden", "sensitivity", "specificity")
FOLDS = 5
FALLBACK = 0.5


@dataclass(frozen=True)
class Thresholds:
    """A threshold a label (C,); `FALLBACK` where a reason says why none could be chosen."""

    rule: str
    values: Floats
    reasons: list[str | None]


def choose_thresholds(targets: ArrayLike, probabilities: ArrayLike, rule: str = "f1") -> Thresholds:
    """Choose a threshold for every label; positive is ``probability >= threshold``.

    targets (N, C) in {0, 1, NaN = left out}; probabilities (N, C). Rules: ``f1`` (highest F1), ``youden`` (highest
    sensitivity + specificity), ``sensitivity=.95`` (highest specificity among thresholds of that sensitivity or more),
    ``specificity=.9`` the other way round. Of thresholds that tie the highest is taken; all are scores of the data.
    Raises ConfigError for another rule.
    """
    score = _rule(rule)
    truth = as_targets(targets, axes=2)
    values = as_scores(probabilities, truth)
    chosen = np.full(truth.shape[1], FALLBACK)
    reasons: list[str | None] = [None] * truth.shape[1]
    for c, (column, p) in enumerate(zip(truth.T, values.T)):
        known = ~np.isnan(column)
        if not ((column == 1).any() and (column == 0).any()):
            reasons[c] = "validation holds one class only"
        elif np.isnan(p[known]).any():
            reasons[c] = "scores are NaN"
        else:
            counts = threshold_counts(column, p)
            at = 1 + int(np.argmax(score(counts)[1:]))  # the first point, at infinity, calls nothing
            chosen[c] = counts.threshold[at]
    return Thresholds(rule, chosen, reasons)


def _rule(rule: str) -> Callable[[ThresholdCounts], Floats]:
    name, _, demand = rule.partition("=")
    try:
        share = float(demand) if demand else None
    except ValueError:
        share = -1.0
    takes = name in ("sensitivity", "specificity")
    if name not in RULES or takes != (share is not None) or (share is not None and not 0 <= share <= 1):
        raise ConfigError(f"Unknown threshold rule {rule!r}. Known: f1, youden, sensitivity=.95, specificity=.95.")
    if name == "f1":
        return lambda n: 2 * n.tp / (n.tp + n.fp + n.tp[-1])
    if name == "youden":
        return lambda n: n.tp / n.tp[-1] - n.fp / n.fp[-1]
    floor = float(share or 0.0) - TOLERANCE
    return lambda n: _held(n.tp / n.tp[-1], 1 - n.fp / n.fp[-1], name == "sensitivity", floor)


def _held(sensitivity: Floats, specificity: Floats, hold_sensitivity: bool, floor: float) -> Floats:
    held, best = (sensitivity, specificity) if hold_sensitivity else (specificity, sensitivity)
    # Where no called point holds the demand (a specificity above every score's), the most specific one stands in.
    return np.where(held >= floor, best, held - 2.0)


def patient_folds(patients: ArrayLike, folds: int = FOLDS, seed: int = 0) -> np.ndarray:
    """Deal patients into folds of nearly equal size, at random; return the fold of each row, shape (N,)."""
    codes = np.unique(np.asarray(patients).astype(str), return_inverse=True)[1]
    count = int(codes.max(initial=-1)) + 1
    dealt = np.empty(count, np.intp)
    dealt[np.random.default_rng(seed).permutation(count)] = np.arange(count) % folds
    return dealt[codes]


def cross_fitted_calls(
    targets: ArrayLike, probabilities: ArrayLike, patients: ArrayLike, rule: str = "f1", folds: int = FOLDS
) -> Floats:
    """Call every row by the threshold that the other folds' patients choose: 0 or 1, shape (N, C).

    Scored against the targets this is what the rule is worth on validation; the threshold chosen on all of validation
    and scored there would flatter itself.
    """
    truth = as_targets(targets, axes=2)
    values = as_scores(probabilities, truth)
    at = patient_folds(patients, folds)
    calls = np.zeros(truth.shape)
    for fold in range(folds):
        mine = at == fold
        calls[mine] = values[mine] >= choose_thresholds(truth[~mine], values[~mine], rule).values
    return calls


def f1_of_calls(targets: Floats, calls: Floats) -> Floats:
    """Compute F1 of calls 0 or 1 per label, (C,): NaN without a positive row or call."""
    known = ~np.isnan(targets)
    tp = np.where(known, targets * calls, 0.0).sum(axis=0)
    return divide(2 * tp, np.where(known, targets + calls, 0.0).sum(axis=0))


# Weighted sums round: a rate this close to the demanded one meets it.
TOLERANCE = 1e-12


class OperatingPoint(NamedTuple):
    """A threshold (positive when ``score >= threshold``) with its rates; all NaN where the reason is given."""

    threshold: float
    sensitivity: float
    specificity: float
    reason: str | None = None


def sensitivity_at_specificity(
    targets: ArrayLike, scores: ArrayLike, specificity: float, weights: ArrayLike | None = None
) -> OperatingPoint:
    """Find the highest sensitivity among the thresholds whose specificity is at least the one demanded.

    targets, scores (N,), weights None or (N,); specificity in [0, 1]. Of thresholds that tie in sensitivity the
    highest is given; an infinite one calls nothing positive. Thresholds are points of the data, never between them.
    NaN with a reason when the label has one class. Raises InputError for a demand outside [0, 1].

    >>> sensitivity_at_specificity([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8], 1.0)[:3]
    (0.8, 0.5, 1.0)
    """
    return _operating_point(targets, scores, weights, specificity, "specificity")


def specificity_at_sensitivity(
    targets: ArrayLike, scores: ArrayLike, sensitivity: float, weights: ArrayLike | None = None
) -> OperatingPoint:
    """Find the highest specificity among the thresholds whose sensitivity is at least the one demanded.

    As `sensitivity_at_specificity`, with the two rates exchanged.

    >>> specificity_at_sensitivity([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8], 1.0)[:3]
    (0.35, 1.0, 0.5)
    """
    return _operating_point(targets, scores, weights, sensitivity, "sensitivity")


def _operating_point(
    targets: ArrayLike, scores: ArrayLike, weights: ArrayLike | None, demand: float, held: str
) -> OperatingPoint:
    if not 0 <= demand <= 1:
        raise InputError(f"The {held} demanded must lie in [0, 1], got {demand}: give a share, not per cent.")
    curves = curve_points(targets, scores, weights)
    if curves.reason:
        return OperatingPoint(np.nan, np.nan, np.nan, curves.reason)
    sensitivity, specificity = curves.roc.y, 1 - curves.roc.x
    kept, best = (sensitivity, specificity) if held == "sensitivity" else (specificity, sensitivity)
    # argmax gives the first, so the highest threshold, of those that tie.
    at = int(np.argmax(np.where(kept >= demand - TOLERANCE, best, -1.0)))
    return OperatingPoint(float(curves.roc.threshold[at]), float(sensitivity[at]), float(specificity[at]))
