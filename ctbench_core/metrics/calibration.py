"""Calibration: how far probabilities can be taken at their word, and maps that mend them, fitted on validation.

Training with pos_weight shifts the intercept of the logits, which a temperature cannot undo: Platt's map (slope and
intercept, one pair a label) is the default.

Shapes: N rows, C labels, R resamples, K bins.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit

from ctbench_core.errors import unknown_name
from ctbench_core.metrics.arrays import Floats, as_scores, as_targets, divide

BINS = 15
_STEPS, _SETTLED = 100, 1e-10


@dataclass(frozen=True)
class CalibrationMap:
    """A map of logits to probabilities, sigmoid(slope * logit + intercept), one pair a label.

    Attributes:
        slope, intercept: shape (C,); 1 and 0, which change nothing, where a reason says why none was fitted.
        reasons: per label, None where a map was fitted.
    """

    method: str
    slope: Floats
    intercept: Floats
    reasons: list[str | None]

    def apply(self, logits: ArrayLike) -> Floats:
        """Return the calibrated probabilities of logits (..., C)."""
        return np.asarray(expit(self.slope * np.asarray(logits, np.float64) + self.intercept))


def fit_calibration(targets: ArrayLike, logits: ArrayLike, method: str = "platt") -> CalibrationMap:
    """Fit a calibration map by maximum likelihood.

    targets (N, C) in {0, 1, NaN = left out}; logits (N, C). platt: slope and intercept, against Platt's smoothed
    targets (n1 + 1) / (n1 + 2) and 1 / (n0 + 2), which keep separable labels finite; temperature: the slope alone,
    against the targets smoothed in the same way. Source: Platt 1999 with Lin, Lin and Weng, Mach. Learn. 2007; Guo et
    al., ICML 2017. A label with one class keeps its probabilities, with a reason. Raises ConfigError for another method.
    """
    if method not in METHODS:
        raise unknown_name("calibration method", method, METHODS)
    truth = as_targets(targets, axes=2)
    values = as_scores(logits, truth)
    slope, intercept = np.ones(truth.shape[1]), np.zeros(truth.shape[1])
    reasons: list[str | None] = [None] * truth.shape[1]
    for c, (column, z) in enumerate(zip(truth.T, values.T)):
        known = np.isfinite(column) & np.isfinite(z)
        y, x = column[known], z[known]
        n1, n0 = int((y == 1).sum()), int((y == 0).sum())
        if not (n1 and n0):
            reasons[c] = "validation holds one class only"
            continue
        smoothed = np.where(y == 1, (n1 + 1) / (n1 + 2), 1 / (n0 + 2))
        slope[c], intercept[c] = METHODS[method](x, smoothed)
    return CalibrationMap(method, slope, intercept, reasons)


def _platt(x: Floats, y: Floats) -> tuple[float, float]:
    intercept, slope = logistic_fit(np.column_stack([np.ones(len(x)), x]), y)
    return float(slope), float(intercept)


def _temperature(x: Floats, y: Floats) -> tuple[float, float]:
    return float(logistic_fit(x[:, None], y)[0]), 0.0


METHODS: dict[str, Callable[[Floats, Floats], tuple[float, float]]] = {"platt": _platt, "temperature": _temperature}


def logistic_fit(design: Floats, y: Floats, offset: Floats | float = 0.0) -> Floats:
    """Maximise the logistic likelihood of y (N,) in [0, 1] given a design (N, k), by Newton steps that never lose ground.

    Columns are scaled inside, so units do not matter. Separable targets end at the last of a hundred steps.
    """
    scale = np.maximum(np.abs(design).max(axis=0, initial=0.0), np.finfo(np.float64).tiny)
    x = design / scale
    beta = np.zeros(x.shape[1])
    loss = _log_loss(x @ beta + offset, y)
    for _ in range(_STEPS):
        p = expit(x @ beta + offset)
        hessian = (x * (p * (1 - p))[:, None]).T @ x
        step = np.linalg.lstsq(hessian, x.T @ (y - p), rcond=None)[0]
        share = 1.0
        while (moved := _log_loss(x @ (beta + share * step) + offset, y)) > loss and share > _SETTLED:
            share /= 2
        if loss - moved <= _SETTLED * (1 + abs(loss)) * 1e-4:
            return np.asarray((beta + share * step if moved <= loss else beta) / scale)
        beta, loss = beta + share * step, moved
    return np.asarray(beta / scale)


def _log_loss(z: Floats, y: Floats) -> float:
    return float((np.logaddexp(0.0, z) - y * z).sum())


@dataclass(frozen=True)
class Reliability:
    """K bins of one label for a reliability plot, by rising probability: mean forecast, observed share, rows."""

    forecast: Floats
    observed: Floats
    rows: Floats


def equal_mass_bins(probabilities: ArrayLike, bins: int = BINS) -> np.ndarray:
    """Assign each of n probabilities to one of so many bins of nearly equal size; equal values share a bin."""
    values = np.asarray(probabilities, np.float64)
    if not len(values):
        return np.empty(0, np.intp)
    edges = np.quantile(values, np.arange(1, bins) / bins, method="inverted_cdf")
    used = np.searchsorted(np.unique(edges), values, side="left")
    return np.unique(used, return_inverse=True)[1]


def reliability(targets: ArrayLike, probabilities: ArrayLike, bins: int = BINS) -> Reliability:
    """Return the bins of a reliability plot of one label: arrays (N,), rows of unknown target left out."""
    truth = as_targets(targets, axes=1)
    known = ~np.isnan(truth)
    y, p = truth[known], as_scores(probabilities, truth)[known]
    at = equal_mass_bins(p, bins)
    rows = np.bincount(at).astype(np.float64)
    return Reliability(divide(np.bincount(at, weights=p), rows), divide(np.bincount(at, weights=y), rows), rows)


def ece(targets: ArrayLike, probabilities: ArrayLike, bins: int = BINS) -> float:
    """Compute the expected calibration error of one label: the mean gap of forecast and observed share over bins.

    Bins of equal mass; arrays (N,); NaN without known rows. Source: Naeini et al., AAAI 2015; equal mass as Nixon et
    al. 2019. It is biased upwards: perfect forecasts have a positive one in any sample.

    >>> ece([0, 1, 0, 1], [0.5, 0.5, 0.5, 0.5])
    0.0
    """
    found = reliability(targets, probabilities, bins)
    if not len(found.rows):
        return float("nan")
    return float((found.rows * np.abs(found.forecast - found.observed)).sum() / found.rows.sum())
