"""Evaluation: a stored head on a test set, as one bundle of files. Predictions load torch, so they are imported by name."""

from ctbench_core.evaluate.bundle import compute_metrics, per_class_frame, write_bundle
from ctbench_core.evaluate.counts import best_thresholds, confusion_at, counts_frame
from ctbench_core.evaluate.opening import evaluate_run, named_tests, open_tests, summary
from ctbench_core.evaluate.score import ScoreOptions, options_from, score_table
from ctbench_core.evaluate.scores import numbers
from ctbench_core.evaluate.subgroups import MACRO, METRICS, columns_of, known_subgroups, subgroups_of
from ctbench_core.evaluate.tuning import BEFORE, RULES, read_tuning, validation_choice
