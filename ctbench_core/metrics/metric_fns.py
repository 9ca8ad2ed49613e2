"""The figures that have intervals, as functions of targets, scores and row weights, for `resampled`.

Shapes: N rows, C labels, R resamples; ``...`` leading axes such as models or seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import ArrayLike

from ctbench_core.metrics.arrays import Floats, divide
from ctbench_core.metrics.calibration import equal_mass_bins
from ctbench_core.metrics.ranking import ranking_metrics
from ctbench_core.metrics.scores import brier_score
from ctbench_core.metrics.thresholded import RATES, thresholded_metrics

# Metrics (R, ..., C) by name, of targets (N, C), scores (..., N, C) and row weights (R, N); without weights (..., C).
MetricFn = Callable[[Floats, Floats, "Floats | None"], Mapping[str, Floats]]


def ranking_figures(targets: Floats, scores: Floats, weights: Floats | None = None) -> Mapping[str, Floats]:
    """Return AUROC and AUPRC."""
    found = ranking_metrics(targets, scores, weights)
    return {"auroc": found.auroc, "auprc": found.auprc}


def thresholded_figures(thresholds: ArrayLike) -> MetricFn:
    """Return a function that gives precision, recall, F1, specificity, balanced accuracy at thresholds () or (C,)."""

    def figures(targets: Floats, scores: Floats, weights: Floats | None = None) -> Mapping[str, Floats]:
        found = thresholded_metrics(targets, scores, thresholds, weights)
        return {rate: getattr(found, rate) for rate in RATES}

    return figures


def calibration_figures(targets: Floats, probabilities: Floats) -> MetricFn:
    """Return a function that gives Brier score and ECE of probabilities (N, C), its bins those of the whole sample."""
    known = ~np.isnan(targets)
    bins = []
    for column, p, there in zip(targets.T, probabilities.T, known.T):
        at = equal_mass_bins(p[there])
        gaps = np.zeros((len(column), int(at.max(initial=-1)) + 1))
        gaps[np.flatnonzero(there), at] = (p - np.nan_to_num(column))[there]
        bins.append(gaps)

    def figures(truth: Floats, scores: Floats, weights: Floats | None = None) -> Mapping[str, Floats]:
        draws = np.ones((1, len(truth))) if weights is None else weights
        gap = np.stack([np.abs(draws @ gaps).sum(axis=1) for gaps in bins], axis=-1)
        error = divide(gap, draws @ known)
        return {
            "brier": brier_score(truth, scores, weights).brier,
            "ece": error[0] if weights is None else error,
        }

    return figures
