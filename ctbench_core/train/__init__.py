"""Training: heads in banks, on whole tensors, with every epoch on disk."""

from ctbench_core.train.data import Dataset, load_dataset
from ctbench_core.train.leaks import mark_leaks
from ctbench_core.train.shared import SharedData, feature_key
from ctbench_core.train.splits import (
    Splits,
    check_places,
    make_splits,
    manifest_path,
    names_of_tests,
    read_test_manifests,
    read_training_manifests,
)

__all__ = [
    "Dataset",
    "SharedData",
    "Splits",
    "check_places",
    "feature_key",
    "load_dataset",
    "make_splits",
    "manifest_path",
    "mark_leaks",
    "names_of_tests",
    "read_test_manifests",
    "read_training_manifests",
]
