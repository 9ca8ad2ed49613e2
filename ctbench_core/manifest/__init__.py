"""Manifests: which volumes, whose they are, what is known of them."""

from ctbench_core.manifest.agreement import Agreement, compare_labels
from ctbench_core.manifest.budget import (
    DrawingOrder,
    Selection,
    choose_selection,
    draw_rows,
    draw_selections,
    read_selections,
    select_volumes,
    take_volumes,
    uncovered,
    write_selections,
)
from ctbench_core.manifest.cohort import apply_cohort
from ctbench_core.manifest.identity import Identities, clean_names, parse_identities
from ctbench_core.manifest.kfold import assign_folds, hold_out, read_folds, write_folds
from ctbench_core.manifest.manifest import Manifest, shared_patients
from ctbench_core.manifest.prepare import REASONS, Prepared, PrepareOptions, options_from, prepare, write_manifest
from ctbench_core.manifest.read import infer_labels, read_cohort, read_manifest
from ctbench_core.manifest.split import join_manifests, split_by_group, units_of
