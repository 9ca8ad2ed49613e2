"""The evaluation bundle of a test set: METRICS with intervals, tuned thresholds and calibration, and its tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ctbench_core.atomic import write_csv, write_json
from ctbench_core.evaluate.bundle_tables import (
    PER_CLASS,
    bands_frame,
    counts_frame,
    curves_frame,
    metadata_frame,
    per_class_frame,
    scores_frame,
    sigmoid,
    write_parquet,
)
from ctbench_core.evaluate.tuning import (
    BEFORE,
    calibration_frame,
    calibration_stages,
    reliability_frame,
    tuned_thresholds,
)
from ctbench_core.inference import bootstrap, bootstrap_intervals
from ctbench_core.manifest import Manifest
from ctbench_core.metrics import macro, ranking_metrics, thresholded_metric_fn, thresholded_metrics
from ctbench_core.runs import Disclosures, EvaluationPaths

# The key in METRICS of a metric's macro mean.
MACROS = {"auprc": "auprc", "auroc": "auroc", "f1": "f1_macro"}


def compute_metrics(
    manifest: Manifest, probabilities: np.ndarray, leaked: list[str], threshold: float = 0.5
) -> dict[str, Any]:
    """Compute METRICS from probabilities of shape (N, C).

    Undefined metrics are NaN, with a reason by finding in ``undefined``.
    """
    ranks = ranking_metrics(manifest.targets, probabilities)
    rates = thresholded_metrics(manifest.targets, probabilities, threshold)
    columns = {name: getattr(ranks if name in ("auprc", "auroc") else rates, name) for name in PER_CLASS}
    per_class = {
        label: {name: float(values[c]) for name, values in columns.items()} for c, label in enumerate(manifest.labels)
    }
    reasons = zip(manifest.labels, ranks.reasons, rates.reasons)
    return {
        "auprc": float(macro(ranks.auprc)[0]),
        "auroc": float(macro(ranks.auroc)[0]),
        "f1_macro": float(macro(rates.f1)[0]),
        "n": manifest.counts(),
        "leak": {"patients": len(leaked)},
        "undefined": {label: rank or rate for label, rank, rate in reasons if rank or rate},
        "threshold": threshold,
        "per_class": per_class,
    }


def with_intervals(metrics: dict[str, Any], manifest: Manifest, probabilities: np.ndarray) -> dict[str, Any]:
    """Return METRICS with 95 % patient-clustered intervals of AUROC, AUPRC and F1; NaN where none is given."""
    arguments = (manifest.targets, probabilities, manifest.patients)
    f1 = bootstrap(thresholded_metric_fn(metrics["threshold"]), *arguments)["f1"]
    estimates = {**bootstrap_intervals(*arguments), "f1": f1}
    per_class = {}
    for c, (label, values) in enumerate(metrics["per_class"].items()):
        bounds = {f"{name}_ci": estimate.bounds[c].tolist() for name, estimate in estimates.items()}
        reason = estimates["auroc"].reasons[c]
        per_class[label] = values | bounds | ({"no_interval": reason} if reason else {})
    macros: dict[str, Any] = {f"{MACROS[name]}_ci": one.macro_bounds.tolist() for name, one in estimates.items()}
    macros["macro_interval_labels"] = estimates["auroc"].macro_labels
    macros["macro_no_interval"] = {
        MACROS[name]: one.macro_reason for name, one in estimates.items() if one.macro_reason
    }
    return metrics | macros | {"per_class": per_class}


def with_tuning(
    metrics: dict[str, Any], manifest: Manifest, probabilities: np.ndarray, tuning: dict[str, Any]
) -> dict[str, Any]:
    """Return METRICS with the metrics at tuned thresholds, and validation - test as ``optimism``.

    Validation metrics are optimistic, because validation also chose the epoch; its thresholds are cross-fitted.
    """
    thresholds = tuned_thresholds(tuning, manifest.labels)
    estimates = bootstrap(thresholded_metric_fn(thresholds), manifest.targets, probabilities, manifest.patients)
    f1 = estimates["f1"]
    per_class = {}
    for c, (label, values) in enumerate(metrics["per_class"].items()):
        rates = {name: float(estimates[name].value[c]) for name in ("f1", "precision", "recall", "specificity")}
        tuned: dict[str, Any] = {f"{name}_tuned": value for name, value in rates.items()}
        per_class[label] = (
            values | tuned | {"threshold_tuned": float(thresholds[c]), "f1_tuned_ci": f1.bounds[c].tolist()}
        )
    result = metrics | {"f1_tuned": float(macro(f1.value)[0]), "f1_tuned_ci": f1.macro_bounds.tolist()}
    validation = tuning["validation"]
    optimism = {
        name: np.nan if validation[name] is None else validation[name] - result[name]
        for name in ("auprc", "auroc", "f1_tuned")
    }
    return result | {"optimism": optimism, "per_class": per_class}


def write_bundle(
    paths: EvaluationPaths,
    manifest: Manifest,
    logits: np.ndarray,
    leaked: list[str],
    probabilities: np.ndarray | None = None,
    tuning: dict[str, Any] | None = None,
    disclosures: Disclosures | None = None,
    epoch: int | None = None,
) -> dict[str, Any]:
    """Write the bundle of one test set from logits of shape (N, C), and return its METRICS.

    ``metrics.json`` is written last and marks the bundle as complete.

    Args:
        probabilities: by default those of the logits.
        tuning: the run's ``tuning.json``, for tuned thresholds and calibration.
        disclosures: added to METRICS and to the tables of findings.
        epoch: the epoch of the evaluated weights.
    """
    disclosures = disclosures or Disclosures(Path(manifest.name).stem, manifest.counts(), leak_patients=len(leaked))
    probabilities = sigmoid(logits) if probabilities is None else probabilities
    metrics = with_intervals(compute_metrics(manifest, probabilities, leaked), manifest, probabilities)
    if tuning:
        metrics = with_tuning(metrics, manifest, probabilities, tuning)
    stages = calibration_stages(logits, probabilities, manifest.labels, tuning)
    calibration = calibration_frame(manifest, stages)
    metrics = _with_calibration(metrics, calibration) | disclosures.to_json() | _epoch_entry(epoch)
    tables = {
        paths.scores: scores_frame(manifest, logits, probabilities),
        paths.curves: curves_frame(manifest, probabilities),
        paths.bands: bands_frame(manifest, probabilities),
        paths.counts: counts_frame(manifest.targets, probabilities, manifest.labels),
        paths.reliability: reliability_frame(manifest, stages),
        paths.metadata: metadata_frame(manifest),
    }
    for path, frame in tables.items():
        write_parquet(path, frame)
    write_csv(paths.calibration, disclosures.add_to(calibration))
    write_csv(paths.per_class, disclosures.add_to(per_class_frame(metrics)))
    write_json(paths.metrics, metrics)
    return metrics


def write_scores(
    paths: EvaluationPaths,
    manifest: Manifest,
    logits: np.ndarray,
    leaked: list[str],
    tuning: dict[str, Any] | None,
    disclosures: Disclosures,
    epoch: int | None = None,
) -> dict[str, Any]:
    """Write scores and METRICS without intervals, curves and calibration, in a tenth of the time of `write_bundle`.

    A study compares its runs by their scores; evaluating a run on its own writes the full bundle.
    """
    probabilities = sigmoid(logits)
    metrics = compute_metrics(manifest, probabilities, leaked) | disclosures.to_json()
    metrics |= {"detail": "scores"} | _epoch_entry(epoch)
    if tuning:
        thresholds = tuned_thresholds(tuning, manifest.labels)
        f1 = thresholded_metrics(manifest.targets, probabilities, thresholds).f1
        metrics["f1_tuned"] = float(macro(f1)[0])
        for c, label in enumerate(manifest.labels):
            metrics["per_class"][label] |= {"f1_tuned": float(f1[c]), "threshold_tuned": float(thresholds[c])}
    write_parquet(paths.scores, scores_frame(manifest, logits, probabilities))
    write_csv(paths.per_class, disclosures.add_to(per_class_frame(metrics)))
    write_json(paths.metrics, metrics)
    return metrics


def _epoch_entry(epoch: int | None) -> dict[str, int]:
    """Return the evaluated epoch for METRICS: the bundle is stale when the run's best epoch is another."""
    return {} if epoch is None else {"best_epoch": epoch}


def _with_calibration(metrics: dict[str, Any], calibration: pd.DataFrame) -> dict[str, Any]:
    """Return METRICS with Brier score and ECE of the uncalibrated probabilities."""
    before = calibration[calibration["stage"] == BEFORE].set_index("finding")
    per_class = {
        label: values | {name: float(before.loc[label, name]) for name in ("brier", "ece")}
        for label, values in metrics["per_class"].items()
    }
    return metrics | {"per_class": per_class}
