"""Statistical inference: intervals of metrics, tests of differences, corrections for many tests."""

from ctbench_core.inference.calibration_line import CalibrationLines, calibration_lines
from ctbench_core.inference.delong import AurocCovariance, auroc_covariance
from ctbench_core.inference.intervals import (
    LEVEL,
    MIN_MACRO_AUPRC,
    MIN_PATIENTS,
    Estimate,
    bootstrap,
    bootstrap_intervals,
    estimates,
    interval_rule,
    macro_error,
    macro_means,
    metric_dof,
    missing_interval_reasons,
    mixed_dof,
    moderated_error,
    satterthwaite,
    standard_error,
    t_quantile,
    t_test,
)
from ctbench_core.inference.kfold import (
    SensitivityTest,
    corrected_resampled_t,
    fold_differences,
    out_of_fold_scores,
    sign_flip,
)
from ctbench_core.inference.many_tests import Best, benjamini_hochberg, best_by_max_t
from ctbench_core.inference.paired import SWAPS, Difference, difference_error, paired_difference, rank_swap
from ctbench_core.inference.percentiles import Band, curve_bands, query_intervals
from ctbench_core.inference.recipe import RecipeEstimate, recipe_intervals
from ctbench_core.inference.resampling import RESAMPLES, PatientCounts, count_patients, patient_weights, resampled
