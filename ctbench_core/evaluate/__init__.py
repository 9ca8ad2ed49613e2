"""Evaluation: a stored head on a test set, as one bundle of files. Predictions load torch, so they are imported by name."""

from ctbench_core.evaluate.bundle import compute_metrics, per_class_frame, write_bundle

__all__ = ["compute_metrics", "per_class_frame", "write_bundle"]
