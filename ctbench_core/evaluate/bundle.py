"""The evaluation bundle: scores, curves, counts, per-class table and metrics, computed once and looked up by pages."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ctbench_core.atomic import write_bytes, write_json, write_with
from ctbench_core.evaluate.counts import counts_frame
from ctbench_core.manifest import Manifest
from ctbench_core.metrics import (
    bootstrap,
    bootstrap_intervals,
    curve_points,
    macro,
    ranking_metrics,
    thin,
    thresholded_figures,
    thresholded_metrics,
)
from ctbench_core.runs import EvaluationPaths

PER_CLASS = ("auprc", "auroc", "precision", "recall", "f1", "specificity", "balanced_accuracy", "support", "prevalence")
# What METRICS calls the macro mean of a figure.
MACROS = {"auprc": "auprc", "auroc": "auroc", "f1": "f1_macro"}


def compute_metrics(
    manifest: Manifest, probabilities: np.ndarray, leaked: list[str], threshold: float = 0.5
) -> dict[str, Any]:
    """Compute METRICS of the contracts from probabilities of shape (N, C).

    Undefined figures are NaN, and ``undefined`` says why, by finding.
    """
    ranks = ranking_metrics(manifest.targets, probabilities)
    counted = thresholded_metrics(manifest.targets, probabilities, threshold)
    columns = {name: getattr(ranks if name in ("auprc", "auroc") else counted, name) for name in PER_CLASS}
    per_class = {
        label: {name: float(values[c]) for name, values in columns.items()} for c, label in enumerate(manifest.labels)
    }
    reasons = zip(manifest.labels, ranks.reasons, counted.reasons)
    undefined = {label: of_ranks or of_counts for label, of_ranks, of_counts in reasons if of_ranks or of_counts}
    return {
        "auprc": float(macro(ranks.auprc)[0]),
        "auroc": float(macro(ranks.auroc)[0]),
        "f1_macro": float(macro(counted.f1)[0]),
        "n": manifest.counts(),
        "leak": {"patients": len(leaked)},
        "undefined": undefined,
        "threshold": threshold,
        "per_class": per_class,
    }


def with_intervals(metrics: dict[str, Any], manifest: Manifest, probabilities: np.ndarray) -> dict[str, Any]:
    """Return METRICS with 95 % patient-clustered intervals of AUROC, AUPRC and F1; NaN where none is given."""
    threshold = metrics["threshold"]
    found = bootstrap_intervals(manifest.targets, probabilities, manifest.patients)
    called = bootstrap(thresholded_figures(threshold), manifest.targets, probabilities, manifest.patients)
    found = {**found, "f1": called["f1"]}
    per_class = {}
    for c, (label, values) in enumerate(metrics["per_class"].items()):
        bounds = {f"{name}_ci": estimate.bounds[c].tolist() for name, estimate in found.items()}
        reason = found["auroc"].reasons[c]
        per_class[label] = values | bounds | ({"no_interval": reason} if reason else {})
    macros = {f"{MACROS[name]}_ci": estimate.macro_bounds.tolist() for name, estimate in found.items()}
    macros["macro_interval_labels"] = found["auroc"].macro_labels
    return metrics | macros | {"per_class": per_class}


def write_bundle(
    paths: EvaluationPaths,
    manifest: Manifest,
    logits: np.ndarray,
    leaked: list[str],
    probabilities: np.ndarray | None = None,
) -> dict[str, Any]:
    """Write the bundle of one test set from logits of shape (N, C), and return its METRICS.

    ``probabilities`` are those of the logits unless given. ``metrics.json`` is written last: a reader
    that finds it finds the rest.
    """
    probabilities = sigmoid(logits) if probabilities is None else probabilities
    metrics = with_intervals(compute_metrics(manifest, probabilities, leaked), manifest, probabilities)
    write_with(paths.scores, lambda file: _scores(manifest, logits, probabilities).to_parquet(file, index=False))
    write_with(paths.curves, lambda file: _curves(manifest, probabilities).to_parquet(file, index=False))
    counted = counts_frame(manifest.targets, probabilities, manifest.labels)
    write_with(paths.counts, lambda file: counted.to_parquet(file, index=False))
    write_bytes(paths.per_class, per_class_frame(metrics).to_csv(index=False).encode("utf-8"))
    write_json(paths.metrics, metrics)
    return metrics


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Return probabilities in float64, where a float32 sigmoid would saturate and make ties."""
    z = logits.astype(np.float64)
    decay = np.exp(-np.abs(z))
    return np.where(z >= 0, 1 / (1 + decay), decay / (1 + decay))


def per_class_frame(metrics: dict[str, Any]) -> pd.DataFrame:
    """Return METRICS as a table, one row a finding; undefined figures are blank, with their reason."""
    rows = []
    for label, values in metrics["per_class"].items():
        row = {"finding": label, **{name: values[name] for name in PER_CLASS}}
        for name in ("auroc_ci", "auprc_ci", "f1_ci"):
            row[f"{name}_lower"], row[f"{name}_upper"] = values.get(name, [np.nan, np.nan])
        rows.append(row | {"undefined": metrics["undefined"].get(label, "")})
    return pd.DataFrame(rows)


def _scores(manifest: Manifest, logits: np.ndarray, probabilities: np.ndarray) -> pd.DataFrame:
    columns: dict[str, Any] = {"volumename": manifest.volumes, "exam": manifest.exams, "patient": manifest.patients}
    columns = {name: values.astype(str) for name, values in columns.items()}
    for c, label in enumerate(manifest.labels):
        known = pd.array(np.nan_to_num(manifest.targets[:, c]).astype(np.int8), dtype="Int8")
        known[np.isnan(manifest.targets[:, c])] = pd.NA
        columns[f"target_{label}"] = known
    columns |= {f"logit_{label}": logits[:, c] for c, label in enumerate(manifest.labels)}
    columns |= {f"prob_{label}": probabilities[:, c] for c, label in enumerate(manifest.labels)}
    return pd.DataFrame(columns)


def _curves(manifest: Manifest, probabilities: np.ndarray) -> pd.DataFrame:
    """Return PR (x recall, y precision) and ROC (x fpr, y tpr) points of every finding that has both classes."""
    parts = []
    for c, label in enumerate(manifest.labels):
        curves = curve_points(manifest.targets[:, c], probabilities[:, c])
        for name, curve in (("pr", curves.pr), ("roc", curves.roc)):
            points = thin(curve)
            part = {"threshold": points.threshold, "x": points.x, "y": points.y}
            parts.append(pd.DataFrame(part).assign(label=label, curve=name))
    frame = pd.concat(parts, ignore_index=True)
    return frame[["label", "curve", "threshold", "x", "y"]]
