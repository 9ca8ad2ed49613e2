"""How sure a figure is, and whether two differ: intervals, tests, and corrections for many tests."""

from typing import TYPE_CHECKING

from ctbench_core.rooms import load_on_use

if TYPE_CHECKING:
    from ctbench_core.inference.bands import Band, curve_bands
    from ctbench_core.inference.calibration_line import CalibrationLines, calibration_lines
    from ctbench_core.inference.differences import (
        FEW_SEEDS,
        MODELS,
        RECIPES,
        SAME_PATIENTS,
        Difference,
        difference,
        match_seeds,
        recipe_difference,
    )
    from ctbench_core.inference.estimates import TWO_SEEDS, Estimate, estimate
    from ctbench_core.inference.figures import ELIGIBLE, MACRO, Figures, macro_start, measure, place_of
    from ctbench_core.inference.kfold import (
        MODELS_COLUMNS,
        FoldDifference,
        best_of_folds,
        corrected_t,
        kfold_difference,
        kfold_estimate,
        kfold_figures,
        mean_test_share,
    )
    from ctbench_core.inference.many_tests import Best, benjamini_hochberg, best_by_max_t, best_of
    from ctbench_core.inference.means import MeanInterval, mean_difference, mean_intervals, median_intervals
    from ctbench_core.inference.net_benefit import NetBenefit, net_benefit
    from ctbench_core.inference.obuchowski import auroc_covariance
    from ctbench_core.inference.patients import RESAMPLES, Evidence, evidence, patient_codes, patient_weights
    from ctbench_core.inference.rank_swaps import SWAPS, rank_swap
    from ctbench_core.inference.rules import LEVEL, MARK_NEAR_END, MIN_PATIENTS, NEAR_END, seed_factor, t_quantile

load_on_use(__name__)
