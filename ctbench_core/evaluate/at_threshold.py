"""One finding at a threshold: which volumes are predicted positive there, their counts, and how the threshold is named.

A volume is predicted positive when its score is at or above the threshold, both in float64. Counts, rates and lists of
volumes come from the stored scores at that threshold; ``counts.parquet`` knows only some thresholds. Shapes: N volumes.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

# A slider's .3 may arrive as .30000000000000004.
_SLACK = 1e-12
_DIGITS = range(3, 17)


def confusion_cells(targets: ArrayLike, scores: ArrayLike, threshold: float) -> dict[str, np.ndarray]:
    """Return which volumes (N,) are true and false positives and negatives; one with an unknown target is none of them.

    Args:
        targets: 0, 1 or NaN, of shape (N,).
        scores: probabilities of shape (N,).
    """
    truth, called = np.asarray(targets, np.float64), np.asarray(scores, np.float64) >= np.float64(threshold)
    present, absent = truth == 1, truth == 0
    return {"tp": present & called, "fn": present & ~called, "fp": absent & called, "tn": absent & ~called}


def on_slider(threshold: float) -> float:
    """Return the thousandth that a slider means, without the rounding error of its steps; another threshold as it is."""
    position = round(threshold, 3)
    return position if abs(threshold - position) < _SLACK else threshold


def shortest_threshold(threshold: float, scores: ArrayLike) -> float:
    """Return the threshold of fewest digits, three or more, at which the same scores are positive.

    A chosen threshold is a score of 17 digits. Cut to three, it could call other volumes positive than its counts hold.
    With three digits, the short threshold reads as the long one.

    Args:
        scores: of every set on which the short threshold has to mean the same.
    """
    values = np.asarray(scores, np.float64)
    called = values >= threshold
    highest = float(values[called].min(initial=np.inf))
    lowest = float(values[values < threshold].max(initial=-np.inf))
    for digits in _DIGITS:
        for short in (round(threshold, digits), math.floor(threshold * 10**digits) / 10**digits):
            if lowest < short <= highest and round(short, 3) == round(threshold, 3):
                return short
    return threshold
