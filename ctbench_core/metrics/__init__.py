"""Metrics as pure functions: arrays in, arrays out; no files, no logging, no argument changed.

NumPy in float64 is the engine; torch tensors are converted at the door. What is undefined is NaN and says why.
"""

from __future__ import annotations

from ctbench_core.metrics.curves import Curve, CurvePoints, ThresholdCounts, curve_points, thin, threshold_counts
from ctbench_core.metrics.operating import OperatingPoint, sensitivity_at_specificity, specificity_at_sensitivity
from ctbench_core.metrics.ranking import RankingMetrics, macro, ranking_metrics
from ctbench_core.metrics.retrieval import (
    RetrievalMetrics,
    TiedBlocks,
    blocks_from_ranks,
    retrieval_metrics,
    tied_blocks,
)
from ctbench_core.metrics.scores import BrierScore, auprc_skill, brier_score
from ctbench_core.metrics.thresholded import ThresholdedMetrics, thresholded_metrics
from ctbench_core.metrics.uncertainty import Intervals, bootstrap_intervals

__all__ = [
    "BrierScore",
    "Curve",
    "CurvePoints",
    "Intervals",
    "OperatingPoint",
    "RankingMetrics",
    "RetrievalMetrics",
    "ThresholdCounts",
    "ThresholdedMetrics",
    "TiedBlocks",
    "auprc_skill",
    "blocks_from_ranks",
    "bootstrap_intervals",
    "brier_score",
    "curve_points",
    "macro",
    "ranking_metrics",
    "retrieval_metrics",
    "sensitivity_at_specificity",
    "specificity_at_sensitivity",
    "thin",
    "threshold_counts",
    "thresholded_metrics",
    "tied_blocks",
]
