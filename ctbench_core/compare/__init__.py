"""Comparison: paired differences on common volumes, corrections for many tests, K-fold inference."""

from ctbench_core.compare.comparison import Comparison, compare_models, compare_runs
from ctbench_core.compare.kfold import (
    SensitivityTest,
    corrected_resampled_t,
    fold_differences,
    out_of_fold_scores,
    sign_flip,
)
from ctbench_core.compare.many import Best, best_by_max_t
from ctbench_core.compare.paired import Difference, paired_difference, rank_swap
from ctbench_core.compare.recipes import compare_recipes
from ctbench_core.metrics.discovery import benjamini_hochberg

__all__ = [
    "Best",
    "Comparison",
    "Difference",
    "SensitivityTest",
    "benjamini_hochberg",
    "best_by_max_t",
    "compare_models",
    "compare_recipes",
    "compare_runs",
    "corrected_resampled_t",
    "fold_differences",
    "out_of_fold_scores",
    "paired_difference",
    "rank_swap",
    "sign_flip",
]
