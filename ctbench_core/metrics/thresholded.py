"""Precision, recall, F1, specificity and balanced accuracy once a threshold has turned probabilities into calls.

Shapes: N rows, C labels, R resamples; ``...`` leading axes such as heads.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ctbench_core.errors import InputError, unknown_name
from ctbench_core.metrics.arrays import (
    Bools,
    Floats,
    any_head,
    as_scores,
    as_targets,
    as_weights,
    class_reasons,
    divide,
    has_resamples,
    nan_scores,
    to_numpy,
)
from ctbench_core.metrics.ranking import macro

RATES = ("precision", "recall", "f1", "specificity", "balanced_accuracy")


@dataclass(frozen=True)
class ThresholdedMetrics:
    """Weighted counts per label, the rates that follow from them (NaN where undefined), and the reason per label."""

    tp: Floats
    fp: Floats
    fn: Floats
    tn: Floats
    reasons: list[str | None]

    @property
    def precision(self) -> Floats:
        """tp / (tp + fp): NaN when no known row is predicted positive."""
        return divide(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> Floats:
        """tp / (tp + fn), the sensitivity: NaN without positive rows."""
        return divide(self.tp, self.support)

    @property
    def f1(self) -> Floats:
        """2 tp / (2 tp + fp + fn): 0 when positives are all missed, NaN only when the denominator is 0."""
        return divide(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    @property
    def specificity(self) -> Floats:
        """tn / (tn + fp): NaN without negative rows."""
        return divide(self.tn, self.tn + self.fp)

    @property
    def balanced_accuracy(self) -> Floats:
        """Mean of recall and specificity: NaN when either is."""
        return (self.recall + self.specificity) / 2

    @property
    def support(self) -> Floats:
        """Weight of the positive rows, tp + fn."""
        return self.tp + self.fn

    @property
    def prevalence(self) -> Floats:
        """Share of positives among the known rows: NaN without known rows."""
        return divide(self.support, self.tp + self.fp + self.fn + self.tn)

    def average(self, kind: str = "macro") -> dict[str, Floats]:
        """Average every rate over the labels (last axis) by macro, micro or weighted.

        macro: mean over the labels where the rate is defined; weighted: the same with the support as weight;
        micro: the rate of the counts summed over labels. NaN when no label defines it. Source: scikit-learn
        `precision_recall_fscore_support`, with ``zero_division=nan``. Raises ConfigError for another kind.
        """
        if kind not in AVERAGES:
            raise unknown_name("average", kind, AVERAGES)
        return AVERAGES[kind](self)


def thresholded_metrics(
    targets: ArrayLike, probabilities: ArrayLike, thresholds: ArrayLike = 0.5, weights: ArrayLike | None = None
) -> ThresholdedMetrics:
    """Count calls per label at a threshold: positive when ``probability >= threshold``.

    targets (N, C) in {0, 1, NaN = unknown, left out}; probabilities (..., N, C); thresholds one number or (C,);
    weights None, (N,) or (R, N). Counts have shape (..., C), with a leading R axis for weights (R, N).
    A label with a NaN probability in a known row is NaN throughout. Raises InputError for wrong shapes or values.

    >>> thresholded_metrics([[0], [1], [1]], [[0.2], [0.5], [0.4]]).recall
    array([0.5])
    """
    truth = as_targets(targets, axes=2)
    values = as_scores(probabilities, truth)
    draws = as_weights(weights, len(truth))
    called = values >= _limits(thresholds, truth.shape[1])
    positive, negative = truth == 1, truth == 0
    broken = nan_scores(truth, values)
    cells = (called & positive, called & negative, ~called & positive, ~called & negative)
    tp, fp, fn, tn = (_weigh(cell, broken, draws, weights) for cell in cells)
    reached = any_head(np.asarray((called & (positive | negative)).any(axis=-2)))
    reasons = class_reasons(truth, broken)
    reasons = [why or (None if some else "no rows predicted positive") for why, some in zip(reasons, reached)]
    return ThresholdedMetrics(tp, fp, fn, tn, reasons)


def _limits(thresholds: ArrayLike, labels: int) -> Floats:
    """Return thresholds () or (C,) as float64; InputError for another shape or a NaN."""
    limits = to_numpy(thresholds).astype(np.float64)
    if limits.shape not in ((), (labels,)):
        raise InputError(f"Thresholds must be one number or one for each of the {labels} labels, got {limits.shape}.")
    if np.isnan(limits).any():
        raise InputError("A threshold is NaN: give every label a number, such as 0.5 where none could be fitted.")
    return limits


def _weigh(cell: Bools, broken: Bools, draws: Floats, weights: ArrayLike | None) -> Floats:
    """Sum a cell (..., N, C) over its rows, NaN where broken: (..., C), or (R, ..., C) for resamples."""
    summed = np.moveaxis(draws @ cell.astype(np.float64), -2, 0)
    return np.where(broken, np.nan, summed if has_resamples(weights) else summed[0])


def _macro(metrics: ThresholdedMetrics) -> dict[str, Floats]:
    return {rate: macro(getattr(metrics, rate))[0] for rate in RATES}


def _micro(metrics: ThresholdedMetrics) -> dict[str, Floats]:
    tp, fp, fn, tn = (np.nansum(count, axis=-1) for count in (metrics.tp, metrics.fp, metrics.fn, metrics.tn))
    total = ThresholdedMetrics(tp, fp, fn, tn, reasons=[])
    return {rate: getattr(total, rate)[()] for rate in RATES}


def _weighted(metrics: ThresholdedMetrics) -> dict[str, Floats]:
    return {rate: _weighted_mean(getattr(metrics, rate), metrics.support) for rate in RATES}


def _weighted_mean(values: Floats, weights: Floats) -> Floats:
    defined = ~np.isnan(values)
    total = np.where(defined, weights, 0.0).sum(axis=-1)
    return divide(np.where(defined, values * weights, 0.0).sum(axis=-1), total)[()]


AVERAGES: dict[str, Callable[[ThresholdedMetrics], dict[str, Floats]]] = {
    "macro": _macro,
    "micro": _micro,
    "weighted": _weighted,
}
