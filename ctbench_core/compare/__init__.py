"""Comparison: paired differences on common volumes, corrections for many tests, K-fold inference."""

from ctbench_core.compare.comparison import MACRO, Comparison, compare_models, compare_runs
from ctbench_core.compare.label_sets import compare_label_sets
from ctbench_core.compare.published import published_frame
from ctbench_core.compare.recipes import compare_recipes
from ctbench_core.compare.tables import config_differences, read_scored, scores_path, tests_of
