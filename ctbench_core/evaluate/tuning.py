"""Tune thresholds and calibration on validation, and report calibration before and after on any set.

Nothing here sees a test set while it fits. The files are ``scores.parquet`` and ``tuning.json`` in `<run>/validation/`.
Shapes: N volumes, C findings.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ctbench_core.atomic import write_json
from ctbench_core.declared import CALIBRATED, TUNED, averaged_metrics, metrics_of, tuned_metrics
from ctbench_core.evaluate.bundle_tables import scores_frame, sigmoid
from ctbench_core.inference import Estimate, calibration_lines, estimate, measure, net_benefit, patient_codes
from ctbench_core.manifest import Manifest
from ctbench_core.metrics import (
    FOLDS,
    METHODS,
    CalibrationMap,
    brier_score,
    choose_thresholds,
    cross_fitted_calls,
    ece,
    fit_calibration,
    macro,
    metric_values,
    patient_folds,
    reliability,
    shift_prevalence,
)
from ctbench_core.runs import RunPaths, label_columns, read_frame, write_parquet

# The fitted threshold rules; tables and "tuned" metrics use the first.
RULES = ("f1", "youden", "sensitivity=.95", "specificity=.95")
BEFORE = "before"
PLATT, RECALIBRATED = CALIBRATED


def fit_tuning(manifest: Manifest, logits: np.ndarray) -> dict[str, Any]:
    """Fit thresholds and calibration of every finding on validation logits (N, C); return plain values.

    ``validation`` holds metrics of validation itself: AUROC and AUPRC as they are (validation also chose the epoch),
    thresholds and calibration cross-fitted over patients: no patient is scored by a value that was fitted to it.
    """
    targets, probabilities, labels = manifest.targets, sigmoid(logits), list(manifest.labels)
    thresholds = {rule: choose_thresholds(targets, probabilities, rule) for rule in RULES}
    maps = {method: fit_calibration(targets, logits, method) for method in METHODS}
    return {
        "n": manifest.counts(),
        "folds": FOLDS,
        "labels": labels,
        "thresholds": {rule: dict(zip(labels, one.values.tolist())) for rule, one in thresholds.items()},
        "calibration": {
            method: {
                "slope": dict(zip(labels, one.slope.tolist())),
                "intercept": dict(zip(labels, one.intercept.tolist())),
            }
            for method, one in maps.items()
        },
        "reasons": {label: reason for label, reason in zip(labels, thresholds[RULES[0]].reasons) if reason is not None},
        "validation": _validation_metrics(manifest, logits),
    }


def tune_thresholds(manifest: Manifest, logits: np.ndarray) -> dict[str, Any]:
    """Fit the thresholds of the first rule only, in a fiftieth of the time of `fit_tuning`, in the same form."""
    thresholds = choose_thresholds(manifest.targets, sigmoid(logits), RULES[0])
    return {"thresholds": {RULES[0]: dict(zip(manifest.labels, thresholds.values.tolist()))}}


def _validation_metrics(manifest: Manifest, logits: np.ndarray) -> dict[str, Any]:
    targets, probabilities = np.asarray(manifest.targets, np.float64), sigmoid(logits)
    columns = metric_values([one.name for one in averaged_metrics() if one.kind == "ranking"], targets, probabilities)
    calls = cross_fitted_calls(targets, probabilities, manifest.patients, RULES[0])
    tuned = metric_values([one.name for one in averaged_metrics() if one.tuned], targets, calls)
    columns |= {name + TUNED: values for name, values in tuned.items()}
    for method in METHODS:
        calibrated = cross_fitted_probabilities(targets, logits, manifest.patients, method)
        columns[f"brier_{method}"] = brier_score(targets, calibrated).brier
        columns[f"ece_{method}"] = _ece(targets, calibrated, manifest.patients)
    per_class = {
        label: {name: float(values[c]) for name, values in columns.items()} for c, label in enumerate(manifest.labels)
    }
    return {name: float(macro(values)[0]) for name, values in columns.items()} | {"per_class": per_class}


def cross_fitted_probabilities(
    targets: np.ndarray, logits: np.ndarray, patients: np.ndarray, method: str = PLATT
) -> np.ndarray:
    """Calibrate every row (N, C) by the map fitted on the other folds' patients."""
    fold_of = patient_folds(patients)
    probabilities = np.empty(logits.shape)
    for fold in range(FOLDS):
        inside = fold_of == fold
        fitted = fit_calibration(targets[~inside], logits[~inside], method)
        probabilities[inside] = fitted.apply(logits[inside])
    return probabilities


def write_tuning(paths: RunPaths, manifest: Manifest, logits: np.ndarray, epoch: int | None = None) -> dict[str, Any]:
    """Fit on validation, write the files of `<run>/validation`, and return the tuning.

    Args:
        epoch: the epoch of the weights that gave the logits; None for a checkpoint of another run.
    """
    tuning = fit_tuning(manifest, logits) | {"best_epoch": epoch}
    write_parquet(paths.validation_scores, scores_frame(manifest, logits, sigmoid(logits)))
    write_json(paths.tuning, tuning)
    return tuning


def validation_choice(scores: Path, label: str, rule: str) -> dict[str, float]:
    """Return the threshold that a rule chooses for a finding on stored validation scores, and its rates there.

    ``threshold`` is chosen on all of validation; the rates at it are cross-fitted over patients.
    """
    frame = read_frame(scores, columns=["patient", f"target_{label}", f"prob_{label}"])
    targets, probabilities = (label_columns(frame, prefix, [label]) for prefix in ("target_", "prob_"))
    threshold = choose_thresholds(targets, probabilities, rule).values[0]
    calls = cross_fitted_calls(targets, probabilities, frame["patient"].to_numpy(str), rule)
    rates = metric_values([metric.name for metric in tuned_metrics()], targets, calls)
    return {"threshold": float(threshold), **{name: float(values[0]) for name, values in rates.items()}}


def rates_at(scores: Path, label: str, threshold: float) -> dict[str, Estimate]:
    """Return a finding's rates at a threshold on stored scores, with intervals over patients, by name."""
    frame = read_frame(scores, columns=["patient", f"target_{label}", f"prob_{label}"])
    targets, probabilities = (label_columns(frame, prefix, [label]) for prefix in ("target_", "prob_"))
    names = [metric.name for metric in tuned_metrics()]
    figures = measure(targets, probabilities[None], frame["patient"].to_numpy(str), [label], names, threshold)
    return {name: estimate(one) for name, one in figures.items()}


def tuned_thresholds(tuning: dict[str, Any], labels: list[str], rule: str = RULES[0]) -> np.ndarray:
    """Return the thresholds of a rule for these findings, (C,)."""
    return np.array([tuning["thresholds"][rule][label] for label in labels])


def calibration_map(tuning: dict[str, Any], labels: list[str], method: str) -> CalibrationMap:
    """Return the stored calibration map of a method for these findings."""
    stored = tuning["calibration"][method]
    slope, intercept = (np.array([stored[part][label] for label in labels]) for part in ("slope", "intercept"))
    return CalibrationMap(method, slope, intercept, [tuning["reasons"].get(label) for label in labels])


def calibration_stages(
    logits: np.ndarray, probabilities: np.ndarray, labels: list[str], tuning: dict[str, Any] | None
) -> dict[str, np.ndarray]:
    """Return the probabilities (N, C) before calibration and, given a tuning, after each calibration method."""
    stages = {BEFORE: probabilities}
    for method in METHODS if tuning else ():
        stages[method] = calibration_map(tuning or {}, labels, method).apply(logits)
    return stages


def recalibrate(stages: dict[str, np.ndarray], manifest: Manifest, source: np.ndarray) -> dict[str, np.ndarray]:
    """Return the stages with Platt probabilities recalibrated from the prevalences ``source`` (C,) to those of a manifest."""
    if PLATT not in stages:
        return stages
    target = np.array(list(manifest.prevalence().values()))
    return stages | {RECALIBRATED: shift_prevalence(stages[PLATT], source, target)}


def calibration_frame(manifest: Manifest, stages: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Return a row a finding and stage: calibration metrics, slope and intercept, with bounds where they have any."""
    targets, patients, labels = np.asarray(manifest.targets, np.float64), manifest.patients, list(manifest.labels)
    with_interval = [metric.name for metric in metrics_of("calibration") if metric.interval]
    others = [metric.name for metric in metrics_of("calibration") if metric.function and not metric.interval]
    rows = []
    for stage, p in stages.items():
        figures = measure(targets, p[None], patients, labels, with_interval)
        estimates = {name: estimate(one) for name, one in figures.items()}
        lines = calibration_lines(targets, p, patients)
        values = {name: one.value for name, one in estimates.items()} | metric_values(others, targets, p)
        values |= {"ece": _ece(targets, p, patients), "slope": lines.slope, "intercept": lines.intercept}
        bounds = {name: one.bounds for name, one in estimates.items()}
        bounds |= {"slope": lines.slope_bounds, "intercept": lines.intercept_bounds}
        for c, label in enumerate(labels):
            row: dict[str, Any] = {"finding": label, "stage": stage}
            for name, value in values.items():
                row[name] = float(value[c])
                if name in bounds:
                    row[f"{name}_ci_lower"], row[f"{name}_ci_upper"] = map(float, bounds[name][c])
            rows.append(row | {"undefined": lines.reasons[c] or ""})
    return pd.DataFrame(rows)


def _ece(targets: np.ndarray, probabilities: np.ndarray, patients: np.ndarray) -> np.ndarray:
    codes = patient_codes(patients)  # numbers sort quicker than names
    return np.array([ece(y, p, codes) for y, p in zip(targets.T, probabilities.T)])


def net_benefit_frame(manifest: Manifest, probabilities: np.ndarray) -> pd.DataFrame:
    """Return the decision curves of calibrated probabilities (N, C): finding, and the fields of `NetBenefit`."""
    parts = []
    for label, y, p in zip(manifest.labels, np.asarray(manifest.targets, np.float64).T, probabilities.T):
        curve = net_benefit(y, p, manifest.patients)
        parts.append(pd.DataFrame({"finding": label, **vars(curve), "reason": curve.reason or ""}))
    return pd.concat(parts, ignore_index=True)


def reliability_frame(manifest: Manifest, stages: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Return the bins of every reliability plot: finding, stage, forecast, observed, rows."""
    parts = []
    for stage, p in stages.items():
        for c, label in enumerate(manifest.labels):
            bins = reliability(manifest.targets[:, c], p[:, c])
            part = {"forecast": bins.forecast, "observed": bins.observed, "rows": bins.rows.astype(int)}
            parts.append(pd.DataFrame(part).assign(finding=label, stage=stage))
    return pd.concat(parts, ignore_index=True)[["finding", "stage", "forecast", "observed", "rows"]]
