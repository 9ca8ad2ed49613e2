"""Training: heads in banks, on whole tensors, with every epoch on disk."""

from ctbench_core.train.data import (
    Dataset,
    check_places,
    load_dataset,
    manifest_path,
    mark_leaks,
    read_test_manifests,
    read_training_manifests,
)

__all__ = [
    "Dataset",
    "check_places",
    "load_dataset",
    "manifest_path",
    "mark_leaks",
    "read_test_manifests",
    "read_training_manifests",
]
