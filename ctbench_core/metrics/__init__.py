"""Metrics as pure functions: arrays in, arrays out; no files, no logging, no argument changed.

NumPy in float64 is the engine; torch tensors are converted at the door. What is undefined is NaN and says why.
"""

from __future__ import annotations

from ctbench_core.metrics.bands import Band, curve_bands
from ctbench_core.metrics.calibration import CalibrationMap, Reliability, ece, fit_calibration, reliability
from ctbench_core.metrics.calibration_line import CalibrationLines, calibration_lines
from ctbench_core.metrics.curves import Curve, CurvePoints, ThresholdCounts, curve_points, thin, threshold_counts
from ctbench_core.metrics.delong import AurocCovariance, auroc_covariance
from ctbench_core.metrics.figures import calibration_figures, ranking_figures, thresholded_figures
from ctbench_core.metrics.operating import OperatingPoint, sensitivity_at_specificity, specificity_at_sensitivity
from ctbench_core.metrics.ranking import RankingMetrics, macro, ranking_metrics
from ctbench_core.metrics.recipe import RecipeEstimate, recipe_intervals
from ctbench_core.metrics.resampling import Evidence, evidence, patient_weights, resampled
from ctbench_core.metrics.retrieval import (
    RetrievalMetrics,
    TiedBlocks,
    blocks_from_ranks,
    retrieval_metrics,
    tied_blocks,
)
from ctbench_core.metrics.scores import BrierScore, auprc_skill, brier_score
from ctbench_core.metrics.thresholded import ThresholdedMetrics, thresholded_metrics
from ctbench_core.metrics.thresholds import Thresholds, choose_thresholds, cross_fitted_calls, patient_folds
from ctbench_core.metrics.uncertainty import Estimate, bootstrap, bootstrap_intervals

__all__ = [
    "AurocCovariance",
    "Band",
    "BrierScore",
    "CalibrationLines",
    "CalibrationMap",
    "Curve",
    "CurvePoints",
    "Estimate",
    "Evidence",
    "OperatingPoint",
    "RankingMetrics",
    "RecipeEstimate",
    "Reliability",
    "RetrievalMetrics",
    "ThresholdCounts",
    "ThresholdedMetrics",
    "Thresholds",
    "TiedBlocks",
    "auprc_skill",
    "auroc_covariance",
    "blocks_from_ranks",
    "bootstrap",
    "bootstrap_intervals",
    "brier_score",
    "calibration_figures",
    "calibration_lines",
    "choose_thresholds",
    "cross_fitted_calls",
    "curve_bands",
    "curve_points",
    "ece",
    "evidence",
    "fit_calibration",
    "macro",
    "patient_folds",
    "patient_weights",
    "ranking_figures",
    "ranking_metrics",
    "recipe_intervals",
    "reliability",
    "resampled",
    "retrieval_metrics",
    "sensitivity_at_specificity",
    "specificity_at_sensitivity",
    "thin",
    "threshold_counts",
    "thresholded_figures",
    "thresholded_metrics",
    "tied_blocks",
]
