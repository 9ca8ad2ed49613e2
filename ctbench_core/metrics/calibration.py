"""Errors of probabilities (Brier score, ECE, reliability bins) and calibration maps, which are fitted on validation.

Training with pos_weight shifts the intercept of the logits, which a temperature cannot undo. So Platt's map (slope and
intercept, one pair a label) is the default.

Shapes: N rows, C labels, R resamples, K bins.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, logit, ndtr

from ctbench_core.errors import InputError, unknown_name
from ctbench_core.metrics.arrays import (
    Floats,
    any_head,
    as_arrays,
    as_scores,
    as_targets,
    divide,
    has_resamples,
    nan_scores,
)

BINS = 15
_STEPS, _TOLERANCE = 100, 1e-10


@dataclass(frozen=True)
class BrierScore:
    """Brier score and its skill per label, NaN where undefined; the reasons are of the score itself."""

    brier: Floats
    skill: Floats
    reasons: list[str | None]


def brier_score(targets: ArrayLike, probabilities: ArrayLike, weights: ArrayLike | None = None) -> BrierScore:
    """Compute the mean squared error of probabilities per label, and its skill 1 - brier / (p (1 - p)).

    targets (N, C) in {0, 1, NaN = unknown, left out}; probabilities (..., N, C) in [0, 1]; weights None, (N,) or
    (R, N). Shapes (..., C), with a leading R axis for weights (R, N). p is the prevalence, whose constant forecast
    scores p (1 - p); skill is NaN with one class. Source: Brier, Monthly Weather Review 1950; scikit-learn
    `brier_score_loss`. Raises InputError for wrong shapes and for a probability outside [0, 1].

    >>> brier_score([[0], [1]], [[0.5], [1.0]]).brier
    array([0.125])
    """
    truth, values, draws = as_arrays(targets, probabilities, weights)
    known = ~np.isnan(truth)
    if ((values < 0) | (values > 1)).any():
        raise InputError("Probabilities must lie in [0, 1]: pass the sigmoid of logits.")
    error = np.where(known, (values - truth) ** 2, 0.0)
    total, count = draws @ error, draws @ known
    prevalence = divide(draws @ (truth == 1), count)
    brier = np.moveaxis(divide(total, count), -2, 0)
    chance = np.expand_dims(prevalence * (1 - prevalence), tuple(range(1, brier.ndim - 1)))
    skill = 1 - divide(brier, chance)
    reasons = [
        ("scores are NaN" if is_nan else None) if is_known else "no known rows"
        for is_known, is_nan in zip(any_head(known), any_head(nan_scores(truth, values)))
    ]
    return BrierScore(brier, skill, reasons) if has_resamples(weights) else BrierScore(brier[0], skill[0], reasons)


@dataclass(frozen=True)
class CalibrationMap:
    """A map from logits to probabilities, sigmoid(slope * logit + intercept), one pair a label.

    Attributes:
        slope, intercept: shape (C,); 1 and 0 (no change) where none could be fitted.
        reasons: per label, why no map was fitted, else None.
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
    against the same targets. Source: Platt 1999 with Lin, Lin and Weng, Mach. Learn. 2007; Guo et
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


def shift_prevalence(probabilities: ArrayLike, source: ArrayLike, target: ArrayLike) -> Floats:
    """Return probabilities (..., C), calibrated at the prevalences ``source`` (C,), for the prevalences ``target`` (C,).

    The intercept of the logit moves by the shift of the log odds, logit(target) - logit(source); order and slope stay. This
    is right where only the prevalence differs, not how a finding looks. A label keeps its probabilities where a
    prevalence is unknown, 0 or 1. Source: Saerens, Latinne and Decaestecker, Neural Computation 2002, eq. 2.4.

    >>> shift_prevalence([[0.5]], [0.5], [0.2]).round(3)
    array([[0.2]])
    """
    before, after = np.asarray(source, np.float64), np.asarray(target, np.float64)
    usable = (before > 0) & (before < 1) & (after > 0) & (after < 1)
    shift = logit(np.where(usable, after, 0.5)) - logit(np.where(usable, before, 0.5))
    return np.asarray(expit(logit(np.asarray(probabilities, np.float64)) + shift))


def _platt(x: Floats, y: Floats) -> tuple[float, float]:
    intercept, slope = logistic_fit(np.column_stack([np.ones(len(x)), x]), y)
    return float(slope), float(intercept)


def _temperature(x: Floats, y: Floats) -> tuple[float, float]:
    return float(logistic_fit(x[:, None], y)[0]), 0.0


METHODS: dict[str, Callable[[Floats, Floats], tuple[float, float]]] = {"platt": _platt, "temperature": _temperature}


def logistic_fit(design: Floats, y: Floats, offset: Floats | float = 0.0) -> Floats:
    """Maximise the logistic likelihood of y (N,) in [0, 1] given a design (N, k), by damped Newton steps.

    A step is halved while the loss grows. Columns are scaled inside, so units do not matter. Separable targets stop
    after a hundred steps.
    """
    scale = np.maximum(np.abs(design).max(axis=0, initial=0.0), np.finfo(np.float64).tiny)
    x = design / scale
    beta = np.zeros(x.shape[1])
    loss = _log_loss(x @ beta + offset, y)
    for _ in range(_STEPS):
        p = expit(x @ beta + offset)
        hessian = (x * (p * (1 - p))[:, None]).T @ x
        step = np.linalg.lstsq(hessian, x.T @ (y - p), rcond=None)[0]
        damping = 1.0
        while (new_loss := _log_loss(x @ (beta + damping * step) + offset, y)) > loss and damping > _TOLERANCE:
            damping /= 2
        if loss - new_loss <= _TOLERANCE * (1 + abs(loss)) * 1e-4:
            return np.asarray((beta + damping * step if new_loss <= loss else beta) / scale)
        beta, loss = beta + damping * step, new_loss
    return np.asarray(beta / scale)


def _log_loss(z: Floats, y: Floats) -> float:
    return float((np.logaddexp(0.0, z) - y * z).sum())


@dataclass(frozen=True)
class Reliability:
    """K bins of one label for a reliability plot, by rising probability: mean forecast, observed rate, rows."""

    forecast: Floats
    observed: Floats
    rows: Floats


def equal_mass_bins(probabilities: ArrayLike, bins: int = BINS) -> np.ndarray:
    """Return the bin of each of n probabilities; bins have nearly equal size, and equal values share a bin."""
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
    bin_of = equal_mass_bins(p, bins)
    rows = np.bincount(bin_of).astype(np.float64)
    forecast, observed = (divide(np.bincount(bin_of, weights=values), rows) for values in (p, y))
    return Reliability(forecast, observed, rows)


def ece(targets: ArrayLike, probabilities: ArrayLike, patients: ArrayLike | None = None, bins: int = BINS) -> float:
    """Estimate the expected calibration error of one label, without the bias of the mean gap of its bins.

    Bins of equal mass; arrays (N,); NaN without known rows. In any sample even perfect forecasts have gaps, because the
    observed rate of a bin varies. With d the gap of a bin and s its standard error (clustered by patient; None: rows
    are patients), the gaps of such samples have the size E|d + s Z|, the mean of a folded normal. The result is twice
    the plain mean gap less the mean of these, at least 0. Source: Naeini et al., AAAI 2015; equal mass as Nixon et al.
    2019; debiased as Kumar, Liang and Ma, NeurIPS 2019 (their resampling, in closed form).

    >>> ece([0, 1, 0, 1], [0.5, 0.5, 0.5, 0.5])
    0.0
    """
    truth = as_targets(targets, axes=1)
    known = ~np.isnan(truth)
    y, p = truth[known], as_scores(probabilities, truth)[known]
    if not len(y):
        return float("nan")
    groups = np.arange(len(y)) if patients is None else np.unique(np.asarray(patients)[known], return_inverse=True)[1]
    bin_of = equal_mass_bins(p, bins)
    plain = folded = 0.0
    for number in range(int(bin_of.max()) + 1):
        inside = bin_of == number
        gap, residual = float((p - y)[inside].mean()), y[inside] - y[inside].mean()
        sums = np.bincount(groups[inside], residual)
        count = len(np.unique(groups[inside]))
        error = float(np.sqrt((sums**2).sum() * count / max(count - 1, 1))) / inside.sum()
        plain += inside.mean() * abs(gap)
        folded += inside.mean() * _folded_mean(gap, error)
    return max(float(2 * plain - folded), 0.0)


def _folded_mean(mean: float, error: float) -> float:
    """Return E|X| of a normal X. Source: Leone, Nelson and Nottingham, Technometrics 1961."""
    if error == 0:
        return abs(mean)
    ratio = mean / error
    return float(error * np.sqrt(2 / np.pi) * np.exp(-(ratio**2) / 2) + mean * (1 - 2 * ndtr(-ratio)))
