"""The tables of an evaluation bundle, and the values that pages read from them.

Shapes: N volumes, C findings.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from ctbench_core.declared import (
    CALIBRATED,
    SOURCE_PREVALENCE,
    TUNED,
    calibrated_keys,
    finding_metrics,
    metrics_of,
    tuned_metrics,
)
from ctbench_core.inference import curve_bands
from ctbench_core.manifest import Manifest
from ctbench_core.metrics import ThresholdedMetrics, curve_points, rule_score, thin, threshold_counts
from ctbench_core.runs import Metrics

# Positions of a threshold slider: .000, .001 ... 1.000.
GRID = np.round(np.arange(1001) / 1000, 3)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Return probabilities in float64; a float32 sigmoid would saturate and make ties."""
    z = logits.astype(np.float64)
    decay = np.exp(-np.abs(z))
    return np.where(z >= 0, 1 / (1 + decay), decay / (1 + decay))


def scores_frame(manifest: Manifest, logits: np.ndarray, probabilities: np.ndarray) -> pd.DataFrame:
    """Return the table of ``scores.parquet``: ids, targets, logits and probabilities (N, C) of every volume."""
    columns: dict[str, Any] = {"volumename": manifest.volumes, "exam": manifest.exams, "patient": manifest.patients}
    columns = {name: values.astype(str) for name, values in columns.items()}
    for c, label in enumerate(manifest.labels):
        known = pd.array(np.nan_to_num(manifest.targets[:, c]).astype(np.int8), dtype="Int8")
        known[np.isnan(manifest.targets[:, c])] = pd.NA
        columns[f"target_{label}"] = known
    columns |= {f"logit_{label}": logits[:, c] for c, label in enumerate(manifest.labels)}
    columns |= {f"prob_{label}": probabilities[:, c] for c, label in enumerate(manifest.labels)}
    return pd.DataFrame(columns)


def metadata_frame(manifest: Manifest) -> pd.DataFrame:
    """Return volumename and every column of the manifest that is not an id, a path or a finding, as text."""
    metadata = manifest.frame[manifest.metadata_columns].astype("string")
    return metadata.assign(volumename=manifest.volumes.astype(str))


def per_class_frame(metrics: Metrics) -> pd.DataFrame:
    """Return METRICS as a table, one row a finding; undefined metrics are blank, with a reason.

    Columns: finding, the declared metrics, the bounds of those with an interval; prevalence in training and validation,
    metrics at tuned thresholds and of calibration where they are stored; why a metric is undefined and an interval
    missing, and marks of intervals.
    """
    stored = {name for finding in metrics.findings.values() for name in finding.values}
    tuned = [f"threshold{TUNED}", *(metric.name + TUNED for metric in tuned_metrics())]
    calibration = [metric.name for metric in metrics_of("calibration")]
    optional = [*SOURCE_PREVALENCE.values(), "labelled", *tuned, *calibration]
    optional += [key for stage in CALIBRATED for key in calibrated_keys(stage).values()]
    with_interval = [metric.name for metric in finding_metrics() if metric.interval]
    with_interval += [metric.name + TUNED for metric in tuned_metrics() if metric.interval]
    rows = []
    for label, finding in metrics.findings.items():
        row: dict[str, Any] = {"finding": label}
        row |= {metric.name: finding.value(metric.name) for metric in finding_metrics()}
        for name in with_interval:
            row[f"{name}_ci_lower"], row[f"{name}_ci_upper"] = finding.interval(name).to_list()
        row |= {name: finding.value(name) for name in optional if name in stored}
        notes = {"undefined": metrics.note(label)}
        if metrics.has_intervals:
            notes |= {"no_interval": finding.interval_note(), "marks": finding.mark_note()}
        rows.append(row | notes)
    return pd.DataFrame(rows)


def curves_frame(manifest: Manifest, probabilities: np.ndarray) -> pd.DataFrame:
    """Return PR (x recall, y precision) and ROC (x fpr, y tpr) points of every finding that has both classes."""
    columns = zip(manifest.labels, np.asarray(manifest.targets).T, probabilities.T)
    parts = [finding_curves(y, p).assign(label=label) for label, y, p in columns]
    return pd.concat(parts, ignore_index=True)[["label", "curve", "threshold", "x", "y"]]


def finding_curves(targets: np.ndarray, probabilities: np.ndarray) -> pd.DataFrame:
    """Return the points of one finding's curves from arrays (N,): curve, threshold, x, y as `curves_frame`."""
    curves = curve_points(targets, probabilities)
    parts = [pd.DataFrame(thin(getattr(curves, name))._asdict()).assign(curve=name) for name in ("pr", "roc")]
    return pd.concat(parts, ignore_index=True)


def bands_frame(manifest: Manifest, probabilities: np.ndarray) -> pd.DataFrame:
    """Return the 95 % bands of both curves of every finding with enough patients."""
    parts = []
    every = curve_bands(manifest.targets, probabilities, manifest.patients)
    for label, bands in zip(manifest.labels, every):
        for name, band in bands.items():
            parts.append(pd.DataFrame(band._asdict()).assign(label=label, curve=name))
    return pd.concat(parts, ignore_index=True)[["label", "curve", "x", "lower", "upper"]]


def counts_frame(targets: np.ndarray, probabilities: np.ndarray, labels: Sequence[str]) -> pd.DataFrame:
    """Count positive predictions (``probability >= threshold``) from targets {0, 1, NaN} and probabilities (N, C).

    Columns: label, threshold (ascending within a label), tp, fp. Thresholds are `GRID`, the points of the thinned
    curves, and those with the highest F1 and Youden index; all counts are exact. In the first row, at 0, everything is
    predicted positive, so it holds the positives and the negatives. A label without both classes has no rows.
    """
    parts = [_label_counts(targets[:, c], probabilities[:, c]).assign(label=label) for c, label in enumerate(labels)]
    return pd.concat(parts, ignore_index=True)[["label", "threshold", "tp", "fp"]]


def _label_counts(targets: np.ndarray, probabilities: np.ndarray) -> pd.DataFrame:
    curves = curve_points(targets, probabilities)
    if curves.reason:
        return pd.DataFrame({"threshold": np.empty(0), "tp": np.empty(0, np.int64), "fp": np.empty(0, np.int64)})
    counts = threshold_counts(targets, probabilities)
    best = [counts.threshold[np.argmax(rule_score(rule)(counts))] for rule in ("f1", "youden")]
    thresholds = np.concatenate([GRID, thin(curves.pr).threshold, thin(curves.roc).threshold, best])
    thresholds = np.unique(thresholds[np.isfinite(thresholds)])
    # Counted thresholds fall, so the counts are those of the last one that is not lower.
    at = np.searchsorted(-counts.threshold, -thresholds, side="right") - 1
    return pd.DataFrame(
        {"threshold": thresholds, "tp": counts.tp[at].astype(np.int64), "fp": counts.fp[at].astype(np.int64)}
    )


def best_thresholds(counts: pd.DataFrame) -> dict[str, float]:
    """Return the thresholds with the highest F1 and Youden index on these rows; of ties, the highest.

    They are chosen and scored on the same rows, so they must not be reported for a test set.

    Args:
        counts: the rows of one finding of `counts_frame`.
    """
    tp, fp = (counts[name].to_numpy().astype(float) for name in ("tp", "fp"))
    confusion = ThresholdedMetrics(tp, fp, tp[0] - tp, fp[0] - fp, reasons=[])
    scores = {"f1": confusion.f1, "youden": confusion.recall + confusion.specificity - 1}
    stored = counts["threshold"].to_numpy()
    return {name: float(stored[np.flatnonzero(score == np.nanmax(score))[-1]]) for name, score in scores.items()}
