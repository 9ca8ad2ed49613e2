"""Operating points: the threshold at which one of sensitivity and specificity is held and the other is best."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ctbench_core.errors import InputError
from ctbench_core.metrics.curves import curve_points

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
