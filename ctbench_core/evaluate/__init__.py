"""Evaluation: a stored head on a test set, as one bundle of files."""

from ctbench_core.evaluate.bundle import compute_metrics, per_class_frame, write_bundle
from ctbench_core.evaluate.predict import predict_logits

__all__ = ["compute_metrics", "per_class_frame", "predict_logits", "write_bundle"]
