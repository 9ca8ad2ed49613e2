"""Calibration of a test set before and after the maps that validation fitted, as tables."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ctbench_core.evaluate.tuning import calibration_map
from ctbench_core.manifest import Manifest
from ctbench_core.metrics import bootstrap, calibration_figures, calibration_lines, reliability
from ctbench_core.metrics.calibration import METHODS

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
