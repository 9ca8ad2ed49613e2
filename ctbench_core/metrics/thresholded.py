"""Compute precision, recall, F1, specificity, NPV and balanced accuracy of probabilities at a threshold.

Shapes: N rows, C labels, R resamples; ``...`` leading axes such as heads.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ctbench_core.declared import METRICS, load
from ctbench_core.errors import InputError
from ctbench_core.metrics.arrays import (
    Bools,
    Floats,
    any_head,
    as_arrays,
    class_reasons,
    divide,
    has_resamples,
    nan_scores,
    to_numpy,
)


@dataclass(frozen=True)
class ThresholdedMetrics:
    """Weighted counts per label, the rates computed from them (NaN where undefined), and the reason per label."""

    tp: Floats
    fp: Floats
    fn: Floats
    tn: Floats
    reasons: list[str | None]

    @property
    def precision(self) -> Floats:
        """Return tp / (tp + fp): NaN when no known row is predicted positive."""
        return divide(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> Floats:
        """Return tp / (tp + fn), the sensitivity: NaN without positive rows."""
        return divide(self.tp, self.support)

    @property
    def f1(self) -> Floats:
        """Return 2 tp / (2 tp + fp + fn): 0 when all positives are missed, NaN only when the denominator is 0."""
        return divide(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    @property
    def specificity(self) -> Floats:
        """Return tn / (tn + fp): NaN without negative rows."""
        return divide(self.tn, self.tn + self.fp)

    @property
    def npv(self) -> Floats:
        """Return tn / (tn + fn): NaN when no known row is predicted negative."""
        return divide(self.tn, self.tn + self.fn)

    @property
    def balanced_accuracy(self) -> Floats:
        """Return the mean of recall and specificity: NaN when either is."""
        return (self.recall + self.specificity) / 2

    @property
    def support(self) -> Floats:
        """Return the weight of the positive rows, tp + fn."""
        return self.tp + self.fn

    @property
    def prevalence(self) -> Floats:
        """Return the fraction of positives among the known rows: NaN without known rows."""
        return divide(self.support, self.tp + self.fp + self.fn + self.tn)

    def value(self, name: str) -> Floats:
        """Return a registered metric of the counts by name."""
        function = METRICS.resolve(name).function
        return np.asarray(load(function)(self) if function else getattr(self, name))


def thresholded_metrics(
    targets: ArrayLike, probabilities: ArrayLike, thresholds: ArrayLike = 0.5, weights: ArrayLike | None = None
) -> ThresholdedMetrics:
    """Count predictions per label at a threshold: positive when ``probability >= threshold``.

    targets (N, C) in {0, 1, NaN = unknown, left out}; probabilities (..., N, C); thresholds one number or (C,);
    weights None, (N,) or (R, N). Counts have shape (..., C), with a leading R axis for weights (R, N).
    A label with a NaN probability in a known row has NaN counts. Raises InputError for wrong shapes or values.

    >>> thresholded_metrics([[0], [1], [1]], [[0.2], [0.5], [0.4]]).recall
    array([0.5])
    """
    truth, values, draws = as_arrays(targets, probabilities, weights)
    predicted = values >= _as_thresholds(thresholds, truth.shape[1])
    positive, negative = truth == 1, truth == 0
    nan_labels = nan_scores(truth, values)
    masks = (predicted & positive, predicted & negative, ~predicted & positive, ~predicted & negative)
    tp, fp, fn, tn = (_weighted_count(mask, nan_labels, draws, weights) for mask in masks)
    has_positive = any_head(np.asarray((predicted & (positive | negative)).any(axis=-2)))
    reasons = [
        reason or (None if some else "no rows predicted positive")
        for reason, some in zip(class_reasons(truth, nan_labels), has_positive)
    ]
    return ThresholdedMetrics(tp, fp, fn, tn, reasons)


def _as_thresholds(thresholds: ArrayLike, labels: int) -> Floats:
    """Return thresholds () or (C,) as float64; InputError for another shape or a NaN."""
    limits = to_numpy(thresholds).astype(np.float64)
    if limits.shape not in ((), (labels,)):
        raise InputError(
            f"Thresholds must be one number or one for each of the {labels} labels, got shape {limits.shape}."
        )
    if np.isnan(limits).any():
        raise InputError("A threshold is NaN. Give every label a number, such as 0.5 where none could be fitted.")
    return limits


def _weighted_count(mask: Bools, nan_labels: Bools, draws: Floats, weights: ArrayLike | None) -> Floats:
    """Sum a mask (..., N, C) over its rows, NaN for labels with NaN scores: (..., C), or (R, ..., C) for resamples."""
    count = np.moveaxis(draws @ mask.astype(np.float64), -2, 0)
    return np.where(nan_labels, np.nan, count if has_resamples(weights) else count[0])
