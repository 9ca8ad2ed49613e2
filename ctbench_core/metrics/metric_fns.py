"""Registered metrics by name, of targets, scores and the row weights of resamples.

Shapes: N rows, C labels, R resamples; ``...`` leading axes such as models or seeds.
"""

from __future__ import annotations

from collections.abc import Iterable

from numpy.typing import ArrayLike

from ctbench_core.declared import METRICS, load
from ctbench_core.metrics.arrays import Floats
from ctbench_core.metrics.calibration import brier_score
from ctbench_core.metrics.ranking import ranking_metrics
from ctbench_core.metrics.thresholded import thresholded_metrics


def metric_values(
    names: Iterable[str],
    targets: ArrayLike,
    scores: ArrayLike,
    weights: ArrayLike | None = None,
    thresholds: ArrayLike = 0.5,
) -> dict[str, Floats]:
    """Compute registered metrics by name: ranking metrics by one sort, those at thresholds () or (C,) by one count.

    targets (N, C); scores (..., N, C); row weights (R, N) or None. Values (R, ..., C), without weights (..., C).
    """
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
