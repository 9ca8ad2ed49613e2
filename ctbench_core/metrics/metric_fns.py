"""Metrics that are resampled for intervals, as functions of targets, scores and row weights.

Shapes: N rows, C labels, R resamples; ``...`` leading axes such as models or seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from numpy.typing import ArrayLike

from ctbench_core.declared import METRICS, compared_metrics, load, metrics_of
from ctbench_core.metrics.arrays import Floats
from ctbench_core.metrics.calibration import brier_score
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
        elif metric.kind == "calibration":
            function = load(metric.function) if metric.function else lambda *arrays: brier_score(*arrays).brier
            values[metric.name] = function(targets, scores, weights)
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
