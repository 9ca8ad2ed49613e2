"""Manifests and features joined for a run: its splits, its feature matrix, shared data and packed stores."""

from typing import TYPE_CHECKING

from ctbench_core.rooms import load_on_use

if TYPE_CHECKING:
    from ctbench_core.dataset.changes import input_changes, write_inputs
    from ctbench_core.dataset.digests import NOT_VERIFIABLE, compare_digests
    from ctbench_core.dataset.load import Dataset, feature_kinds, load_dataset, load_inputs
    from ctbench_core.dataset.overlap import seed_overlap
    from ctbench_core.dataset.packing import StoreUsage, pack_features, store_usage
    from ctbench_core.dataset.per_finding import check_sources, finding_columns
    from ctbench_core.dataset.shared import SharedData, feature_key
    from ctbench_core.dataset.shared_tests import SharedTests
    from ctbench_core.dataset.splits import (
        ManifestCache,
        Splits,
        check_paths,
        find_leaks,
        list_test_sets,
        make_splits,
        manifest_path,
        pack_cache,
        read_test_manifests,
        read_training_manifests,
        reference_config,
    )

load_on_use(__name__)
