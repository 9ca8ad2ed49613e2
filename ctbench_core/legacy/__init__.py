"""Serve users of ct-rate-feature-benchmarks: import their run folders, and write their tables and manifest files."""

from typing import TYPE_CHECKING

from ctbench_core.rooms import load_on_use

if TYPE_CHECKING:
    from ctbench_core.legacy.aggregate import (
        PRIMARY_METRICS,
        aggregate_runs,
        budget_keys,
        by_budget_table,
        evaluate_runs,
        find_runs,
        per_run_table,
        scaling_figure,
        scaling_page,
    )
    from ctbench_core.legacy.budget_files import MANIFEST_INDEX, SELECTION_INDEX, write_budget_files
    from ctbench_core.legacy.contrast import (
        FINDING_METRICS,
        PAIR_KEYS,
        contrast_tables,
        pairing_warnings,
        read_per_run,
        runs_of_source,
        summarise,
    )
    from ctbench_core.legacy.folders import OldRun, find_old_runs, is_old_run
    from ctbench_core.legacy.importing import ImportedRun, import_runs, list_runs

load_on_use(__name__)
