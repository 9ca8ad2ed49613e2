"""How sure a figure is, and whether two differ: every interval, p-value and correction of the product."""

from ctbench_core.inference.bands import Band, curve_bands
from ctbench_core.inference.calibration_line import CalibrationLines, calibration_lines
from ctbench_core.inference.delong import AurocCovariance, auroc_covariance
from ctbench_core.inference.intervals import (
    LEVEL,
    MIN_MACRO_AUPRC,
    MIN_PATIENTS,
    Estimate,
    bootstrap,
    bootstrap_intervals,
    dof_of,
    estimates,
    inflation,
    macro_draws,
    mixed_freedom,
    moderated_error,
    no_interval,
    quantile,
    satterthwaite,
    standard_error,
)
from ctbench_core.inference.kfold import (
    SensitivityTest,
    corrected_resampled_t,
    fold_differences,
    out_of_fold_scores,
    sign_flip,
)
from ctbench_core.inference.many_tests import Best, benjamini_hochberg, best_by_max_t
from ctbench_core.inference.paired import METRICS, SWAPS, Difference, difference_error, paired_difference, rank_swap
from ctbench_core.inference.recipe import RecipeEstimate, recipe_intervals
from ctbench_core.inference.resampling import RESAMPLES, Evidence, evidence, patient_weights, resampled
from ctbench_core.inference.retrieval import query_intervals
