"""Metrics as pure functions: arrays in, arrays out; no files, no logging, no argument changed.

Inputs, torch tensors too, become NumPy arrays in float64. Undefined values are NaN, with a reason."""

from typing import TYPE_CHECKING

from ctbench_core.rooms import load_on_use

if TYPE_CHECKING:
    from ctbench_core.metrics.arrays import Floats, as_scores, as_targets, class_reasons, divide, nan_scores
    from ctbench_core.metrics.calibration import (
        METHODS,
        BrierScore,
        CalibrationMap,
        Reliability,
        brier_score,
        ece,
        fit_calibration,
        logistic_fit,
        reliability,
        shift_prevalence,
    )
    from ctbench_core.metrics.curves import Curve, CurvePoints, ThresholdCounts, curve_points, thin, threshold_counts
    from ctbench_core.metrics.metric_fns import metric_values
    from ctbench_core.metrics.ranking import RankingMetrics, auprc_skill, macro, ranking_metrics
    from ctbench_core.metrics.retrieval import (
        RetrievalMetrics,
        TiedBlocks,
        blocks_from_ranks,
        retrieval_metrics,
        tied_blocks,
    )
    from ctbench_core.metrics.thresholded import ThresholdedMetrics, thresholded_metrics
    from ctbench_core.metrics.thresholds import (
        FOLDS,
        Thresholds,
        choose_thresholds,
        cross_fitted_calls,
        patient_folds,
        rule_score,
    )

load_on_use(__name__)
