"""Manifests: which volumes there are, their patients and labels, and how they are divided."""

from typing import TYPE_CHECKING

from ctbench_core.rooms import load_on_use

if TYPE_CHECKING:
    from ctbench_core.manifest.agreement import Agreement, compare_labels
    from ctbench_core.manifest.budget import (
        DrawingOrder,
        Selection,
        apply_selection,
        choose_selection,
        draw_rows,
        read_selections,
        select_volumes,
        write_selections,
    )
    from ctbench_core.manifest.cohort import apply_cohort
    from ctbench_core.manifest.columns import (
        ColumnGuess,
        IdColumns,
        column_guesses,
        find_columns,
        find_volume,
        require_columns,
        spelled_columns,
    )
    from ctbench_core.manifest.datasets import PreparedDataset, PreparedPart, prepare_dataset, write_dataset
    from ctbench_core.manifest.identity import (
        TableIdentity,
        digest_bytes,
        digest_text,
        identity_of,
        label_codes,
        set_id,
    )
    from ctbench_core.manifest.label_maps import LabelMap, label_map, map_path
    from ctbench_core.manifest.label_problems import LabelProblem
    from ctbench_core.manifest.labels import configured_findings, judged_findings, label_problems, read_labels
    from ctbench_core.manifest.manifest import Manifest, clean_names, parse_identities, shared_patients
    from ctbench_core.manifest.prepare import UNMATCHED_REASONS, PrepareOptions, PrepareResult, prepare, write_manifest
    from ctbench_core.manifest.read import read_cohort, read_configured, read_manifest, read_rows
    from ctbench_core.manifest.roles import column_roles, left_out_columns
    from ctbench_core.manifest.split import (
        assign_folds,
        join_manifests,
        read_folds,
        split_by_fold,
        split_by_group,
        units_of,
        write_folds,
    )
    from ctbench_core.manifest.split_column import TEST_ROWS, divide_by_column, read_roles, unused_split

load_on_use(__name__)
