"""Evaluation: metrics of a run on test sets, as one bundle of files. Torch is loaded only when a run is scored."""

from typing import TYPE_CHECKING

from ctbench_core.rooms import load_on_use

if TYPE_CHECKING:
    from ctbench_core.evaluate.at_threshold import confusion_cells, on_slider, shortest_threshold
    from ctbench_core.evaluate.bundle import compute_metrics, write_bundle
    from ctbench_core.evaluate.bundle_tables import (
        GRID,
        best_thresholds,
        counts_frame,
        finding_curves,
        per_class_frame,
        sigmoid,
    )
    from ctbench_core.evaluate.external import evaluated_config
    from ctbench_core.evaluate.predictions import ScoreOptions, score_table
    from ctbench_core.evaluate.run_evaluation import (
        evaluate_on_tests,
        evaluate_on_validation,
        evaluate_run,
        predict_logits,
        require_test_manifests,
        run_summary,
    )
    from ctbench_core.evaluate.subgroups import evaluate_subgroups, stored_subgroups, subgroup_columns
    from ctbench_core.evaluate.tuning import BEFORE, PLATT, RECALIBRATED, RULES, rates_at, validation_choice

load_on_use(__name__)
