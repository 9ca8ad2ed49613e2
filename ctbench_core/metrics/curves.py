"""Count true and false positives of one label at every threshold, and compute its PR and ROC curves.

Curves begin at the highest threshold; T distinct scores give T + 1 points, the first at an infinite threshold, where
nothing is predicted positive.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ctbench_core.errors import InputError
from ctbench_core.metrics.arrays import (
    Floats,
    as_scores,
    as_targets,
    as_weights,
    class_reasons,
    has_resamples,
    nan_scores,
)


class ThresholdCounts(NamedTuple):
    """Weighted true and false positives (T + 1,) of the prediction ``score >= threshold``; the last include every row."""

    threshold: Floats
    tp: Floats
    fp: Floats


class Curve(NamedTuple):
    """Points (T + 1,) of a curve: pr has x = recall, y = precision; roc has x = fpr, y = tpr."""

    threshold: Floats
    x: Floats
    y: Floats


class CurvePoints(NamedTuple):
    """Both curves of one label; both empty, with the reason, where the label has one class or a NaN score."""

    pr: Curve
    roc: Curve
    reason: str | None


def threshold_counts(targets: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None) -> ThresholdCounts:
    """Count true and false positives at every distinct score, highest first.

    targets (N,) in {0, 1, NaN = unknown, left out}; scores (N,); weights None or (N,), where a weight of 0 leaves the
    row out. Raises InputError for other shapes, unusable targets or weights, and NaN scores of known rows.

    >>> threshold_counts([0, 1, 1], [0.2, 0.2, 0.7]).tp
    array([0., 1., 2.])
    """
    truth = as_targets(targets, axes=1)
    values = as_scores(scores, truth)
    if values.ndim != 1 or has_resamples(weights):
        raise InputError("A curve is of one label, one head and one set of weights: pass arrays of shape (rows,).")
    weight = as_weights(weights, len(truth))[0]
    used = ~np.isnan(truth) & (weight > 0)
    if np.isnan(values[used]).any():
        raise InputError("A score of a known row is NaN: a curve needs a score for every known row.")
    order = np.argsort(-values[used])
    ranked, hit, weight = values[used][order], truth[used][order] == 1, weight[used][order]
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True)[: len(ranked)])
    tp, fp = np.cumsum(weight * hit)[last], np.cumsum(weight * ~hit)[last]
    return ThresholdCounts(np.append(np.inf, ranked[last]), np.append(0.0, tp), np.append(0.0, fp))


def curve_points(targets: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None) -> CurvePoints:
    """Compute the PR and the ROC curve of one label with all thresholds, as scikit-learn does.

    Arrays as `threshold_counts`. PR begins at recall 0, precision 1; ROC at (0, 0). Source: scikit-learn
    `precision_recall_curve` (in the opposite direction) and `roc_curve(drop_intermediate=False)`. Raises InputError
    for wrong shapes, targets or weights.
    """
    truth = as_targets(targets, axes=1)
    values = as_scores(scores, truth)
    weighted = truth if weights is None else np.where(as_weights(weights, len(truth))[0] > 0, truth, np.nan)
    column = weighted[:, None]
    reason = class_reasons(column, nan_scores(column, values[:, None]))[0]
    if reason:
        empty = Curve(np.empty(0), np.empty(0), np.empty(0))
        return CurvePoints(empty, empty, reason)
    threshold, tp, fp = threshold_counts(targets, scores, weights)
    precision = np.append(1.0, tp[1:] / (tp[1:] + fp[1:]))
    pr, roc = Curve(threshold, tp / tp[-1], precision), Curve(threshold, fp / fp[-1], tp / tp[-1])
    return CurvePoints(pr, roc, None)


def thin(curve: Curve, points: int = 300) -> Curve:
    """Keep at most `points` points of a curve for drawing, each exactly where it was.

    Points inside a straight run are dropped, which leaves the drawn line unchanged. If too many corners remain, those
    nearest to even steps along the line are kept, first and last included.
    """
    if points < 2:
        raise InputError(f"A curve needs at least 2 points to draw, got points={points}.")
    corners = Curve(*(values[_corners(curve)] for values in curve))
    if len(corners.x) <= points:
        return corners
    length = np.append(0.0, np.cumsum(np.hypot(np.diff(corners.x), np.diff(corners.y))))
    index = np.unique(np.searchsorted(length, np.linspace(0.0, length[-1], points)).clip(0, len(length) - 1))
    index[-1] = len(length) - 1  # rounding may end before the last point
    return Curve(*(values[index] for values in corners))


def _corners(curve: Curve) -> np.ndarray:
    """Return which points are ends or corners, that is, not on the segment between their neighbours."""
    if len(curve.x) < 3:
        return np.ones(len(curve.x), bool)
    dx, dy = np.diff(curve.x), np.diff(curve.y)
    turn = dx[:-1] * dy[1:] - dx[1:] * dy[:-1]
    reversal = dx[:-1] * dx[1:] + dy[:-1] * dy[1:] < 0
    # Steps are multiples of 1 / rows, so rounding on a straight run is far below the smallest real turn.
    return np.concatenate([[True], (np.abs(turn) > 1e-15) | reversal, [True]])
