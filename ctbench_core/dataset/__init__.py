"""Manifests and features joined for a run: its splits, its matrix, what runs share, and packed stores."""

from ctbench_core.dataset.load import Dataset, feature_kinds, load_dataset, load_inputs, pack_cache
from ctbench_core.dataset.packing import KnownPack, known_packs, pack_features
from ctbench_core.dataset.shared import SharedData, feature_key
from ctbench_core.dataset.splits import (
    Sources,
    Splits,
    check_places,
    make_splits,
    manifest_path,
    mark_leaks,
    names_of_tests,
    read_test_manifests,
    read_training_manifests,
)
