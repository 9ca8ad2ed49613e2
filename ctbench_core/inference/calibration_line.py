"""Estimate calibration slope and intercept of every label, with patient-clustered intervals.

Shapes: n known rows of one label, k columns of a design.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, logit

from ctbench_core.inference.patients import evidence, fewest, patient_codes
from ctbench_core.inference.rules import MIN_PATIENTS, t_quantile, variance_dof
from ctbench_core.metrics import Floats, as_scores, as_targets, logistic_fit

# Probabilities this close to 0 or 1 have no usable logit.
_EDGE = 1e-12


@dataclass(frozen=True)
class CalibrationLines:
    """Slope and intercept per label (C,), with bounds (C, 2); NaN where `reasons` says why."""

    slope: Floats
    slope_bounds: Floats
    intercept: Floats
    intercept_bounds: Floats
    reasons: list[str | None]


def calibration_lines(targets: ArrayLike, probabilities: ArrayLike, patients: ArrayLike) -> CalibrationLines:
    """Estimate calibration slope and intercept with 95 % intervals.

    targets (N, C) in {0, 1, NaN = left out}; probabilities (N, C) in [0, 1]; patients (N,). The slope b is that of
    logit P(y) = a + b logit(p): below 1, forecasts are too extreme. The intercept is a of logit P(y) = a + logit(p),
    calibration in the large: above 0, forecasts are too low on average. Errors are the sandwich estimate with scores
    summed by patient, times t with the degrees of freedom of `variance_dof`, at most the effective patients of the scarcer
    class less 1. Both are NaN with fewer than 10 patients of a class, with constant or separating forecasts, and where a
    certain forecast was wrong.
    Source: Van Calster et al., J. Clin. Epidemiol. 2016; Liang and Zeger, Biometrika 1986.
    """
    truth = as_targets(targets, axes=2)
    values = as_scores(probabilities, truth)
    codes = patient_codes(patients)
    scarcer = [fewest(evidence(codes, column == value) for value in (0, 1)) for column in truth.T]
    lines = np.full((truth.shape[1], 6), np.nan)
    reasons: list[str | None] = []
    for c, (column, p) in enumerate(zip(truth.T, values.T)):
        known = ~np.isnan(column) & ~np.isnan(p)
        few = scarcer[c].patients < MIN_PATIENTS
        reason = f"{scarcer[c].patients} patients in the scarcer class: {MIN_PATIENTS} are needed" if few else None
        reason = reason or _not_identifiable(column[known], p[known])
        reasons.append(reason)
        if reason is None:
            z = logit(np.clip(p[known], _EDGE, 1 - _EDGE))
            lines[c] = _line(column[known], z, codes[known], max(scarcer[c].effective - 1, 1))
    return CalibrationLines(lines[:, 0], lines[:, 1:3], lines[:, 3], lines[:, 4:6], reasons)


def _not_identifiable(y: Floats, p: Floats) -> str | None:
    """Return why no finite slope and intercept fit targets y and forecasts p, both of known rows; else None."""
    if ((p == 0) & (y == 1)).any() or ((p == 1) & (y == 0)).any():
        return "a forecast of exactly 0 or 1 was wrong: no finite line fits"
    if p.min() == p.max():
        return "all forecasts are equal: the slope is not identifiable"
    positive, negative = p[y == 1], p[y == 0]
    if positive.min() >= negative.max() or positive.max() <= negative.min():
        return "forecasts separate the classes: the slope is not finite"
    return None


def _line(y: Floats, z: Floats, codes: np.ndarray, most: float) -> tuple[float, ...]:
    """Return slope, its bounds, intercept, its bounds, of targets y and logits z of the known rows.

    Degrees of freedom: those of the variance estimate, at most ``most``.
    """
    ones = np.ones((len(z), 1))
    design = np.column_stack([ones, z])
    fit, shift = logistic_fit(design, y), logistic_fit(ones, y, offset=z)
    line: list[float] = []
    for value, deviations in (
        (float(fit[1]), _deviations(design, y, expit(design @ fit), codes)[:, 1]),
        (float(shift[0]), _deviations(ones, y, expit(z + shift[0]), codes)[:, 0]),
    ):
        dof = np.clip(variance_dof(deviations[:, None])[0], 1, most)
        half_width = float(t_quantile(dof) * np.sqrt((deviations**2).sum()))
        line += [value, value - half_width, value + half_width]
    return tuple(line)


def _deviations(design: Floats, y: Floats, p: Floats, codes: np.ndarray) -> Floats:
    """Return what each patient adds to the errors of a logistic fit, (P, k), with design (n, k) and forecasts p (n,)."""
    bread = np.linalg.pinv((design * (p * (1 - p))[:, None]).T @ design)
    groups = np.unique(codes, return_inverse=True)[1]
    count = int(groups.max()) + 1
    scores = np.stack([np.bincount(groups, weights=column * (y - p), minlength=count) for column in design.T])
    return np.asarray(scores.T @ bread * np.sqrt(count / max(count - 1, 1)))
