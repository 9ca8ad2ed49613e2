"""What validation decides for a run: thresholds and calibration maps; and what both are worth there, cross-fitted.

Nothing here sees a test set. The files lie in `<run>/validation/`: ``scores.parquet`` and ``tuning.json``.

MERGED: Calibration of a test set before and after the maps that validation fitted, as tables.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ctbench_core.atomic import write_json, write_with
from ctbench_core.evaluate.scores import numbers, scores_frame, sigmoid
from ctbench_core.inference import bootstrap, calibration_lines
from ctbench_core.manifest import Manifest
from ctbench_core.metrics import (
    FOLDS,
    METHODS,
    CalibrationMap,
    brier_score,
    calibration_figures,
    choose_thresholds,
    cross_fitted_calls,
    ece,
    f1_of_calls,
    fit_calibration,
    macro,
    patient_folds,
    ranking_metrics,
    reliability,
    thresholded_metrics,
)
from ctbench_core.runs import RunPaths, read_json

# The threshold rules that are fitted; the first is the one that tables and F1 "tuned" use.
RULES = ("f1", "youden", "sensitivity=.95", "specificity=.95")


def fit_tuning(manifest: Manifest, logits: np.ndarray) -> dict[str, Any]:
    """Fit thresholds and calibration of every finding on validation logits (N, C); return plain values.

    ``validation`` holds the figures of validation itself: AUROC and AUPRC as they are (validation also chose the epoch),
    thresholds and calibration cross-fitted over patients, so that no patient judges what it took part in choosing.
    """
    targets, probabilities = manifest.targets, sigmoid(logits)
    thresholds = {rule: choose_thresholds(targets, probabilities, rule) for rule in RULES}
    maps = {method: fit_calibration(targets, logits, method) for method in METHODS}
    reasons = {
        label: reason for label, reason in zip(manifest.labels, thresholds[RULES[0]].reasons) if reason is not None
    }
    return {
        "n": manifest.counts(),
        "folds": FOLDS,
        "labels": list(manifest.labels),
        "thresholds": {rule: dict(zip(manifest.labels, found.values.tolist())) for rule, found in thresholds.items()},
        "calibration": {
            method: {
                "slope": dict(zip(manifest.labels, found.slope.tolist())),
                "intercept": dict(zip(manifest.labels, found.intercept.tolist())),
            }
            for method, found in maps.items()
        },
        "reasons": reasons,
        "validation": _validation_figures(manifest, logits),
    }


def tuned_alone(manifest: Manifest, logits: np.ndarray) -> dict[str, Any]:
    """Fit the thresholds of the first rule alone, in a fiftieth of the time of `fit_tuning`; the form is the same."""
    found = choose_thresholds(manifest.targets, sigmoid(logits), RULES[0])
    return {"thresholds": {RULES[0]: dict(zip(manifest.labels, found.values.tolist()))}}


def _validation_figures(manifest: Manifest, logits: np.ndarray) -> dict[str, Any]:
    targets, probabilities = np.asarray(manifest.targets, np.float64), sigmoid(logits)
    ranks = ranking_metrics(targets, probabilities)
    tuned = f1_of_calls(targets, cross_fitted_calls(targets, probabilities, manifest.patients, RULES[0]))
    columns = {"auprc": ranks.auprc, "auroc": ranks.auroc, "f1_tuned": tuned}
    for method in METHODS:
        calibrated = cross_fitted_probabilities(targets, logits, manifest.patients, method)
        columns[f"brier_{method}"] = brier_score(targets, calibrated).brier
        columns[f"ece_{method}"] = np.array([ece(y, p) for y, p in zip(targets.T, calibrated.T)])
    return {
        **{name: float(macro(values)[0]) for name, values in columns.items()},
        "per_class": {
            label: {name: float(values[c]) for name, values in columns.items()}
            for c, label in enumerate(manifest.labels)
        },
    }


def cross_fitted_probabilities(
    targets: np.ndarray, logits: np.ndarray, patients: np.ndarray, method: str = "platt"
) -> np.ndarray:
    """Calibrate every row (N, C) by the map that the other folds' patients fit."""
    at = patient_folds(patients)
    found = np.empty(logits.shape)
    for fold in range(FOLDS):
        mine = at == fold
        found[mine] = fit_calibration(targets[~mine], logits[~mine], method).apply(logits[mine])
    return found


def write_tuning(paths: RunPaths, manifest: Manifest, logits: np.ndarray, epoch: int | None = None) -> dict[str, Any]:
    """Fit on validation, write the files of `<run>/validation`, and return the tuning.

    Args:
        epoch: the one whose weights gave the logits; None for a checkpoint from elsewhere.
    """
    tuning = fit_tuning(manifest, logits) | {"best_epoch": epoch}
    frame = scores_frame(manifest, logits, sigmoid(logits))
    write_with(paths.validation_scores, lambda file: frame.to_parquet(file, index=False))
    write_json(paths.tuning, tuning)
    return tuning


def read_tuning(path: Path) -> dict[str, Any] | None:
    """Return a run's ``tuning.json``; None when validation was never scored."""
    return read_json(path)


def validation_choice(scores: Path, label: str, rule: str) -> dict[str, float]:
    """Return the threshold that a rule chooses for a finding on stored validation scores, and its rates there.

    ``threshold`` is chosen on all of validation; precision, recall, specificity and f1 are cross-fitted over patients.
    """
    frame = pd.read_parquet(scores, columns=["patient", f"target_{label}", f"prob_{label}"])
    targets, probabilities = numbers(frame, "target_", [label]), numbers(frame, "prob_", [label])
    chosen = choose_thresholds(targets, probabilities, rule)
    calls = cross_fitted_calls(targets, probabilities, frame["patient"].to_numpy(str), rule)
    rates = thresholded_metrics(targets, calls, 0.5)
    found = {name: float(getattr(rates, name)[0]) for name in ("precision", "recall", "specificity", "f1")}
    return {"threshold": float(chosen.values[0]), **found}


def tuned_thresholds(tuning: dict[str, Any], labels: list[str], rule: str = RULES[0]) -> np.ndarray:
    """Return the thresholds of a rule for these findings, (C,)."""
    return np.array([tuning["thresholds"][rule][label] for label in labels])


def calibration_map(tuning: dict[str, Any], labels: list[str], method: str) -> CalibrationMap:
    """Return the stored calibration map of a method for these findings."""
    stored = tuning["calibration"][method]
    slope, intercept = (np.array([stored[part][label] for label in labels]) for part in ("slope", "intercept"))
    return CalibrationMap(method, slope, intercept, [tuning["reasons"].get(label) for label in labels])


BEFORE = "before"
_RESAMPLES = 400  # enough for a standard error: that of the standard error itself is 3.5 %


def stages(
    logits: np.ndarray, probabilities: np.ndarray, labels: list[str], tuning: dict[str, Any] | None
) -> dict[str, np.ndarray]:
    """Return the probabilities (N, C) before and, where validation was scored, after each calibration method."""
    found = {BEFORE: probabilities}
    for method in METHODS if tuning else ():
        found[method] = calibration_map(tuning or {}, labels, method).apply(logits)
    return found


def calibration_frame(manifest: Manifest, of_stages: dict[str, np.ndarray]) -> pd.DataFrame:
    """Return one row a finding and stage: brier, ece, slope, intercept, each with lower and upper bounds."""
    targets = np.asarray(manifest.targets, np.float64)
    rows = []
    for stage, p in of_stages.items():
        of_bins = bootstrap(calibration_figures(targets, p), targets, p, manifest.patients, _RESAMPLES)
        lines = calibration_lines(targets, p, manifest.patients)
        for c, label in enumerate(manifest.labels):
            row: dict[str, Any] = {"finding": label, "stage": stage}
            for name, estimate in of_bins.items():
                row |= _figure(name, estimate.value[c], estimate.bounds[c])
            row |= _figure("slope", lines.slope[c], lines.slope_bounds[c])
            row |= _figure("intercept", lines.intercept[c], lines.intercept_bounds[c])
            rows.append(row | {"undefined": lines.reasons[c] or ""})
    return pd.DataFrame(rows)


def _figure(name: str, value: float, bounds: np.ndarray) -> dict[str, float]:
    return {name: float(value), f"{name}_ci_lower": float(bounds[0]), f"{name}_ci_upper": float(bounds[1])}


def reliability_frame(manifest: Manifest, of_stages: dict[str, np.ndarray]) -> pd.DataFrame:
    """Return the bins of every reliability plot: finding, stage, forecast, observed, rows."""
    parts = []
    for stage, p in of_stages.items():
        for c, label in enumerate(manifest.labels):
            bins = reliability(manifest.targets[:, c], p[:, c])
            part = {"forecast": bins.forecast, "observed": bins.observed, "rows": bins.rows.astype(int)}
            parts.append(pd.DataFrame(part).assign(finding=label, stage=stage))
    return pd.concat(parts, ignore_index=True)[["finding", "stage", "forecast", "observed", "rows"]]
