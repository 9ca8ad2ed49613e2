"""Metrics as pure functions: arrays in, arrays out; no files, no logging, no argument changed.

NumPy in float64 is the engine; torch tensors are converted at the door. What is undefined is NaN and says why."""

from ctbench_core.metrics.arrays import Floats, as_scores, as_targets, class_reasons, divide, nan_scores
from ctbench_core.metrics.calibration import (
    METHODS,
    CalibrationMap,
    Reliability,
    ece,
    fit_calibration,
    logistic_fit,
    reliability,
)
from ctbench_core.metrics.curves import Curve, CurvePoints, ThresholdCounts, curve_points, thin, threshold_counts
from ctbench_core.metrics.metric_fns import MetricFn, calibration_figures, ranking_figures, thresholded_figures
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
from ctbench_core.metrics.thresholds import (
    FOLDS,
    OperatingPoint,
    Thresholds,
    choose_thresholds,
    cross_fitted_calls,
    f1_of_calls,
    patient_folds,
    sensitivity_at_specificity,
    specificity_at_sensitivity,
)
