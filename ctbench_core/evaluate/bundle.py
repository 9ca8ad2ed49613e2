"""The evaluation bundle: scores, curves, counts, per-class table and metrics, computed once and looked up by pages."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ctbench_core.atomic import write_bytes, write_json, write_with
from ctbench_core.evaluate.counts import counts_frame
from ctbench_core.evaluate.scores import metadata_frame, scores_frame, sigmoid
from ctbench_core.evaluate.tuning import BEFORE, calibration_frame, reliability_frame, stages, tuned_thresholds
from ctbench_core.inference import bootstrap, bootstrap_intervals, curve_bands
from ctbench_core.manifest import Manifest
from ctbench_core.metrics import curve_points, macro, ranking_metrics, thin, thresholded_figures, thresholded_metrics
from ctbench_core.runs import Disclosures, EvaluationPaths

TUNED = ("threshold_tuned", "f1_tuned", "precision_tuned", "recall_tuned", "specificity_tuned")
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
    macros["macro_no_interval"] = {MACROS[name]: one.macro_reason for name, one in found.items() if one.macro_reason}
    return metrics | macros | {"per_class": per_class}


def with_tuning(
    metrics: dict[str, Any], manifest: Manifest, probabilities: np.ndarray, tuning: dict[str, Any]
) -> dict[str, Any]:
    """Return METRICS with the figures at the thresholds that validation chose, and how far validation flattered.

    ``optimism`` is validation less test: validation also chose the epoch, and its thresholds are cross-fitted.
    """
    thresholds = tuned_thresholds(tuning, manifest.labels)
    found = bootstrap(thresholded_figures(thresholds), manifest.targets, probabilities, manifest.patients)
    per_class = {}
    for c, (label, values) in enumerate(metrics["per_class"].items()):
        tuned = {f"{name}_tuned": float(found[name].value[c]) for name in ("f1", "precision", "recall", "specificity")}
        tuned |= {"threshold_tuned": float(thresholds[c])}
        per_class[label] = values | tuned | {"f1_tuned_ci": found["f1"].bounds[c].tolist()}
    macros = {"f1_tuned": float(macro(found["f1"].value)[0]), "f1_tuned_ci": found["f1"].macro_bounds.tolist()}
    of_validation = tuning["validation"]
    figures = metrics | macros
    optimism = {name: _less(of_validation[name], figures[name]) for name in ("auprc", "auroc", "f1_tuned")}
    return figures | {"optimism": optimism, "per_class": per_class}


def _less(first: float | None, second: float) -> float:
    return float("nan") if first is None else first - second


def write_bundle(
    paths: EvaluationPaths,
    manifest: Manifest,
    logits: np.ndarray,
    leaked: list[str],
    probabilities: np.ndarray | None = None,
    tuning: dict[str, Any] | None = None,
    marks: Disclosures | None = None,
    epoch: int | None = None,
) -> dict[str, Any]:
    """Write the bundle of one test set from logits of shape (N, C), and return its METRICS.

    ``probabilities`` are those of the logits unless given; ``tuning`` is what validation chose; ``marks`` stand in
    METRICS and in the tables of findings; ``epoch`` is the one whose weights gave the logits. ``metrics.json`` is written last: a reader that finds it finds the rest.
    """
    marks = marks or Disclosures(Path(manifest.name).stem, manifest.counts(), leaked=len(leaked))
    probabilities = sigmoid(logits) if probabilities is None else probabilities
    metrics = with_intervals(compute_metrics(manifest, probabilities, leaked), manifest, probabilities)
    if tuning:
        metrics = with_tuning(metrics, manifest, probabilities, tuning)
    of_stages = stages(logits, probabilities, manifest.labels, tuning)
    calibration = calibration_frame(manifest, of_stages)
    metrics = _with_calibration(metrics, calibration) | marks.to_json() | _of_epoch(epoch)
    tables = {
        paths.scores: scores_frame(manifest, logits, probabilities),
        paths.curves: _curves(manifest, probabilities),
        paths.bands: _bands(manifest, probabilities),
        paths.counts: counts_frame(manifest.targets, probabilities, manifest.labels),
        paths.reliability: reliability_frame(manifest, of_stages),
        paths.metadata: metadata_frame(manifest),
    }
    for path, frame in tables.items():
        write_with(path, partial(frame.to_parquet, index=False))
    write_bytes(paths.calibration, marks.add_to(calibration).to_csv(index=False).encode("utf-8"))
    write_bytes(paths.per_class, marks.add_to(per_class_frame(metrics)).to_csv(index=False).encode("utf-8"))
    write_json(paths.metrics, metrics)
    return metrics


def write_scores(
    paths: EvaluationPaths,
    manifest: Manifest,
    logits: np.ndarray,
    leaked: list[str],
    tuning: dict[str, Any] | None,
    marks: Disclosures,
    epoch: int | None = None,
) -> dict[str, Any]:
    """Write scores and METRICS without intervals, curves and calibration, in a tenth of the time of `write_bundle`.

    A study judges its runs together, from their scores; opening one of them on its own completes the bundle.
    """
    probabilities = sigmoid(logits)
    metrics = (
        compute_metrics(manifest, probabilities, leaked) | marks.to_json() | {"detail": "scores"} | _of_epoch(epoch)
    )
    if tuning:
        thresholds = tuned_thresholds(tuning, manifest.labels)
        tuned = thresholded_metrics(manifest.targets, probabilities, thresholds).f1
        metrics["f1_tuned"] = float(macro(tuned)[0])
        for c, label in enumerate(manifest.labels):
            metrics["per_class"][label] |= {"f1_tuned": float(tuned[c]), "threshold_tuned": float(thresholds[c])}
    frame = scores_frame(manifest, logits, probabilities)
    write_with(paths.scores, partial(frame.to_parquet, index=False))
    write_bytes(paths.per_class, marks.add_to(per_class_frame(metrics)).to_csv(index=False).encode("utf-8"))
    write_json(paths.metrics, metrics)
    return metrics


def _of_epoch(epoch: int | None) -> dict[str, int]:
    """Return which epoch was judged: a run that is trained on later outgrows its bundle."""
    return {} if epoch is None else {"best_epoch": epoch}


def _with_calibration(metrics: dict[str, Any], calibration: pd.DataFrame) -> dict[str, Any]:
    """Return METRICS with Brier score and ECE of the probabilities as they are."""
    before = calibration[calibration["stage"] == BEFORE].set_index("finding")
    per_class = {
        label: values | {name: float(before.loc[label, name]) for name in ("brier", "ece")}
        for label, values in metrics["per_class"].items()
    }
    return metrics | {"per_class": per_class}


def per_class_frame(metrics: dict[str, Any]) -> pd.DataFrame:
    """Return METRICS as a table, one row a finding; undefined figures are blank, with their reason."""
    rows = []
    for label, values in metrics["per_class"].items():
        row = {"finding": label, **{name: values[name] for name in PER_CLASS}}
        for name in ("auroc_ci", "auprc_ci", "f1_ci", "f1_tuned_ci"):
            row[f"{name}_lower"], row[f"{name}_upper"] = values.get(name, [np.nan, np.nan])
        row |= {name: values[name] for name in (*TUNED, "brier", "ece") if name in values}
        rows.append(row | {"undefined": metrics["undefined"].get(label, "")})
    return pd.DataFrame(rows)


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


def _bands(manifest: Manifest, probabilities: np.ndarray) -> pd.DataFrame:
    """Return the bands of both curves of every finding whose intervals can be given."""
    parts = []
    for c, label in enumerate(manifest.labels):
        for name, band in curve_bands(manifest.targets[:, c], probabilities[:, c], manifest.patients).items():
            parts.append(pd.DataFrame(band._asdict()).assign(label=label, curve=name))
    return pd.concat(parts, ignore_index=True)[["label", "curve", "x", "lower", "upper"]]
