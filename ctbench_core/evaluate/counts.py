"""Stored counts: true and false positives of every finding at each threshold that a reader can ask for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ctbench_core.metrics import ThresholdCounts, ThresholdedMetrics, curve_points, thin, threshold_counts

# Where a threshold slider stops: .000, .001 ... 1.000.
GRID = np.round(np.arange(1001) / 1000, 3)
# A slider's .3 may arrive as .30000000000000004.
_SLACK = 1e-9


def counts_frame(targets: np.ndarray, probabilities: np.ndarray, labels: Sequence[str]) -> pd.DataFrame:
    """Count calls (``probability >= threshold``) from targets {0, 1, NaN} and probabilities of shape (N, C).

    Columns: label, threshold (ascending within a label), tp, fp. Thresholds are `GRID`, the points of the thinned
    curves, and those with the highest F1 and Youden index, all exact. The first row, at 0, calls everything, so it
    holds the positives and the negatives. A label without both classes has no rows.
    """
    parts = [_of_label(targets[:, c], probabilities[:, c]).assign(label=label) for c, label in enumerate(labels)]
    return pd.concat(parts, ignore_index=True)[["label", "threshold", "tp", "fp"]]


def _of_label(targets: np.ndarray, probabilities: np.ndarray) -> pd.DataFrame:
    curves = curve_points(targets, probabilities)
    if curves.reason:
        return pd.DataFrame({"threshold": np.empty(0), "tp": np.empty(0, np.int64), "fp": np.empty(0, np.int64)})
    every = threshold_counts(targets, probabilities)
    best = [every.threshold[np.argmax(score)] for score in (_f1(every), _youden(every))]
    asked = np.concatenate([GRID, thin(curves.pr).threshold, thin(curves.roc).threshold, best])
    asked = np.unique(asked[np.isfinite(asked)])
    # Thresholds fall: the last one not below the asked tells how many were called.
    at = np.searchsorted(-every.threshold, -asked, side="right") - 1
    counted = {name: values[at].astype(np.int64) for name, values in (("tp", every.tp), ("fp", every.fp))}
    return pd.DataFrame({"threshold": asked, **counted})


def _f1(counts: ThresholdCounts) -> np.ndarray:
    return 2 * counts.tp / (counts.tp + counts.fp + counts.tp[-1])


def _youden(counts: ThresholdCounts) -> np.ndarray:
    return counts.tp / counts.tp[-1] - counts.fp / counts.fp[-1]


def confusion_at(counts: pd.DataFrame, threshold: float) -> tuple[float, ThresholdedMetrics]:
    """Return the stored threshold at or next above the one asked, and the confusion counts there, of shape ().

    Args:
        counts: the rows of one finding of `counts_frame`.
    """
    stored = counts["threshold"].to_numpy()
    at = min(int(np.searchsorted(stored, threshold)), len(stored) - 1)
    if stored[at] != threshold and at and threshold - stored[at - 1] < _SLACK:
        at -= 1
    return float(stored[at]), _confusion(counts, at)


def _confusion(counts: pd.DataFrame, at: int | slice) -> ThresholdedMetrics:
    tp, fp = (counts[name].to_numpy().astype(float) for name in ("tp", "fp"))
    return ThresholdedMetrics(tp[at], fp[at], tp[0] - tp[at], fp[0] - fp[at], reasons=[])


def best_thresholds(counts: pd.DataFrame) -> dict[str, float]:
    """Return the thresholds with the highest F1 and Youden index on these very rows, so no fair choice for a test.

    Args:
        counts: the rows of one finding of `counts_frame`. Of thresholds that tie the highest is given.
    """
    every = _confusion(counts, slice(None))
    scores = {"f1": every.f1, "youden": every.recall + every.specificity - 1}
    stored = counts["threshold"].to_numpy()
    return {name: float(stored[np.flatnonzero(score == np.nanmax(score))[-1]]) for name, score in scores.items()}
