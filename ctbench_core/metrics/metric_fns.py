"""Metrics that are resampled for intervals, as functions of targets, scores and row weights.

Shapes: N rows, C labels, R resamples; ``...`` leading axes such as models or seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import ArrayLike

from ctbench_core.metrics.arrays import Floats, divide
from ctbench_core.metrics.calibration import brier_score, equal_mass_bins
from ctbench_core.metrics.ranking import ranking_metrics
from ctbench_core.metrics.thresholded import RATES, thresholded_metrics

# Metrics (R, ..., C) by name, of targets (N, C), scores (..., N, C) and row weights (R, N); without weights (..., C).
MetricFn = Callable[[Floats, Floats, "Floats | None"], Mapping[str, Floats]]


def ranking_metric_fn(targets: Floats, scores: Floats, weights: Floats | None = None) -> Mapping[str, Floats]:
    """Return AUROC and AUPRC."""
    metrics = ranking_metrics(targets, scores, weights)
    return {"auroc": metrics.auroc, "auprc": metrics.auprc}


def thresholded_metric_fn(thresholds: ArrayLike) -> MetricFn:
    """Return the function of precision, recall, F1, specificity, balanced accuracy at thresholds () or (C,)."""

    def metric_fn(targets: Floats, scores: Floats, weights: Floats | None = None) -> Mapping[str, Floats]:
        metrics = thresholded_metrics(targets, scores, thresholds, weights)
        return {rate: getattr(metrics, rate) for rate in RATES}

    return metric_fn


def calibration_metric_fn(targets: Floats, probabilities: Floats) -> MetricFn:
    """Return the function of Brier score and ECE of probabilities (N, C), with the bins of the whole sample."""
    known = ~np.isnan(targets)
    label_gaps = []
    for column, p, rows in zip(targets.T, probabilities.T, known.T):
        bins = equal_mass_bins(p[rows])
        gaps = np.zeros((len(column), int(bins.max(initial=-1)) + 1))
        gaps[np.flatnonzero(rows), bins] = (p - np.nan_to_num(column))[rows]
        label_gaps.append(gaps)

    def metric_fn(truth: Floats, scores: Floats, weights: Floats | None = None) -> Mapping[str, Floats]:
        draws = np.ones((1, len(truth))) if weights is None else weights
        gap = np.stack([np.abs(draws @ gaps).sum(axis=1) for gaps in label_gaps], axis=-1)
        error = divide(gap, draws @ known)
        return {"brier": brier_score(truth, scores, weights).brier, "ece": error[0] if weights is None else error}

    return metric_fn
