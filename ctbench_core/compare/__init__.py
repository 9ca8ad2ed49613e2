"""Comparison of runs, recipes and label sets on common volumes."""

from ctbench_core.compare.comparability import (
    ModelScores,
    common_sets,
    config_differences,
    published_frame,
    read_model_scores,
    scores_path,
)
from ctbench_core.compare.comparison import MACRO, Comparison, compare_models, compare_runs
from ctbench_core.compare.label_sets import compare_label_sets, read_label_set
from ctbench_core.compare.recipes import compare_recipes
