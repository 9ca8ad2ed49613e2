"""Metrics that are resampled for intervals, as functions of targets, scores and row weights.

Shapes: N rows, C labels, R resamples; ``...`` leading axes such as models or seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np
from numpy.typing import ArrayLike

from ctbench_core.declared import METRICS, compared_metrics, load, metrics_of
from ctbench_core.metrics.arrays import Floats, divide
from ctbench_core.metrics.calibration import brier_score, equal_mass_bins
from ctbench_core.metrics.ranking import ranking_metrics
from ctbench_core.metrics.thresholded import thresholded_metrics

# Metrics (R, ..., C) by name, of targets (N, C), scores (..., N, C) and row weights (R, N); without weights (..., C).
MetricFn = Callable[[Floats, Floats, "Floats | None"], Mapping[str, Floats]]


def metric_values(
    names: Iterable[str],
    targets: ArrayLike,
    scores: ArrayLike,
    weights: ArrayLike | None = None,
    thresholds: ArrayLike = 0.5,
) -> dict[str, Floats]:
    """Compute registered metrics by name: ranking metrics by one sort, those at thresholds () or (C,) by one count."""
    metrics = [METRICS.resolve(name) for name in names]
    ranks = counts = None
    values: dict[str, Floats] = {}
    for metric in metrics:
        if metric.kind == "ranking" and metric.function:
            values[metric.name] = load(metric.function)(targets, scores, weights)
        elif metric.kind == "ranking":
            ranks = ranks or ranking_metrics(targets, scores, weights)
            values[metric.name] = getattr(ranks, metric.name)
        else:
            counts = counts or thresholded_metrics(targets, scores, thresholds, weights)
            values[metric.name] = counts.value(metric.name)
    return values


def compared_metric_fn(targets: Floats, scores: Floats, weights: Floats | None = None) -> Mapping[str, Floats]:
    """Return the metrics that are compared, such as AUROC and AUPRC; those at a threshold at .5."""
    return metric_values(compared_metrics(), targets, scores, weights)


def thresholded_metric_fn(thresholds: ArrayLike, names: Iterable[str] | None = None) -> MetricFn:
    """Return the function of metrics at thresholds () or (C,), by default of all."""
    chosen = [metric.name for metric in metrics_of("thresholded")] if names is None else list(names)

    def metric_fn(targets: Floats, scores: Floats, weights: Floats | None = None) -> Mapping[str, Floats]:
        return metric_values(chosen, targets, scores, weights, thresholds)

    return metric_fn


def calibration_metric_fn(targets: Floats, probabilities: Floats) -> MetricFn:
    """Return the function of the calibration metrics of probabilities (N, C); ECE with the bins of the whole sample."""
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
        own = {"brier": brier_score(truth, scores, weights).brier, "ece": error[0] if weights is None else error}
        others = [metric for metric in metrics_of("calibration") if metric.function]
        return own | {metric.name: load(metric.function)(truth, scores, weights) for metric in others}

    return metric_fn
