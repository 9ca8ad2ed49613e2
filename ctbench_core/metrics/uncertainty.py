"""95 % intervals for one trained model: it stays, other patients might have come.

The error of a figure is its spread over resamples of patients (`resampled`); the interval is symmetric on the logit
scale, as wide as Student's t for the patients of the scarcer class. Percentiles of the resamples, the more usual
choice, missed the truth 11 to 20 times in a hundred where positives are few (docs/metrics.md has the table).

Shapes: N rows, C labels, R resamples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, stdtrit

from ctbench_core.metrics.arrays import Floats, divide
from ctbench_core.metrics.figures import ranking_figures
from ctbench_core.metrics.resampling import RESAMPLES, Evidence, Figures, evidence, resampled

LEVEL = 0.95
# Fewer patients of either class, or more undefined resamples, and no interval is given.
MIN_PATIENTS = 10
MAX_UNDEFINED = 0.05
# A small sample has not seen its rare low-ranked positives: one more patient whose placement lies this share of the
# way to a random order is added to the error of AUROC. Its weight falls with the square of the patients.
UNSEEN = 0.1


@dataclass(frozen=True)
class Estimate:
    """A figure with its interval, for every label and their macro mean.

    Attributes:
        value: shape (C,); bounds: lower and upper, (C, 2), NaN where no interval is given.
        reasons: why a label has no interval, else None.
        macro: mean over the labels that have an interval; macro_bounds: its interval, (2,).
        macro_labels: how many labels those are.
        error: standard error over resamples, (C,); freedom: degrees of freedom of t, (C,).
    """

    value: Floats
    bounds: Floats
    reasons: list[str | None]
    macro: float
    macro_bounds: Floats
    macro_labels: int
    error: Floats
    freedom: Floats


def bootstrap(
    figures: Figures,
    targets: ArrayLike,
    scores: ArrayLike,
    patients: ArrayLike,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Return every figure with its patient-clustered 95 % interval, by name.

    targets (N, C) in {0, 1, NaN}; scores (N, C); patients (N,), one a row. Raises InputError for wrong shapes.
    """
    truth, values = np.asarray(targets, np.float64), np.asarray(scores, np.float64)
    draws = resampled(figures, truth, values, patients, resamples, seed)
    return estimates(figures(truth, values, None), draws, evidence(truth, patients))


def bootstrap_intervals(
    targets: ArrayLike, scores: ArrayLike, patients: ArrayLike, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Estimate]:
    """Return AUROC and AUPRC with their intervals, under ``auroc`` and ``auprc``; arguments as `bootstrap`."""
    return bootstrap(ranking_figures, targets, scores, patients, resamples, seed)


def estimates(values: Mapping[str, Floats], draws: Mapping[str, Floats], rests_on: Evidence) -> dict[str, Estimate]:
    """Turn values (C,) and their resamples (R, C) into estimates, by name."""
    return {name: _estimate(name, np.asarray(values[name]), draws[name], rests_on) for name in values}


def _estimate(name: str, value: Floats, draws: Floats, rests_on: Evidence) -> Estimate:
    reasons = no_interval(draws, rests_on)
    given = np.array([reason is None for reason in reasons], bool) & ~np.isnan(value)
    freedom = np.maximum(rests_on.scarcer - 1, 1).astype(np.float64)
    error = standard_error(draws)
    unseen = unseen_error(value, rests_on) if name == "auroc" else np.zeros_like(error)
    error = np.hypot(error, unseen)
    bounds = np.full((len(value), 2), np.nan)
    bounds[given] = rate_bounds(value[given], error[given], freedom[given], rests_on.scarcer[given])
    macro, macro_bounds = _macro(
        value[given], draws[:, given], error[given], freedom[given], unseen[given], rests_on.scarcer[given]
    )
    return Estimate(value, bounds, reasons, macro, macro_bounds, int(given.sum()), error, freedom)


def no_interval(draws: Floats, rests_on: Evidence) -> list[str | None]:
    """Say per label why no interval is given, from resamples (R, C) and the patients behind them."""
    undefined = np.isnan(draws).mean(axis=0) if len(draws) else np.ones(draws.shape[1])
    reasons: list[str | None] = []
    for positive, negative, share in zip(rests_on.positive, rests_on.negative, undefined):
        if min(positive, negative) < MIN_PATIENTS:
            counted = f"positive patients {positive}, negative {negative}"
            reasons.append(f"{counted}: an interval needs {MIN_PATIENTS} of each")
        else:
            reasons.append(f"undefined in {share:.0%} of the resamples" if share > MAX_UNDEFINED else None)
    return reasons


def standard_error(draws: Floats) -> Floats:
    """Return the standard deviation of resamples (R, ...) along R, over the defined ones; NaN with fewer than two."""
    defined = ~np.isnan(draws)
    count = defined.sum(axis=0)
    mean = divide(np.where(defined, draws, 0.0).sum(axis=0), count)
    squares = np.where(defined, (draws - mean) ** 2, 0.0).sum(axis=0)
    return np.sqrt(divide(squares, np.maximum(count - 1, 0)))


def unseen_error(value: Floats, rests_on: Evidence) -> Floats:
    """Return what one unseen patient of the scarcer class would add to the error of AUROC, (C,)."""
    return UNSEEN * np.abs(value - 0.5) / (rests_on.scarcer + 1)


def quantile(freedom: ArrayLike) -> Floats:
    """Return the t quantile of a two-sided interval at `LEVEL`."""
    return np.asarray(stdtrit(np.asarray(freedom, np.float64), (1 + LEVEL) / 2))


def rate_bounds(value: ArrayLike, error: ArrayLike, freedom: ArrayLike, patients: ArrayLike) -> Floats:
    """Return intervals (..., 2) of rates in [0, 1], symmetric on the logit scale: logit(v) -+ t error / (v (1 - v)).

    A rate of exactly 1 (or 0) has no logit and no spread; its bound is the exact one of a share that held in all of the
    `patients` of the scarcer class: .025^(1/patients). Source: Pepe 2003, section 5.2 (logit); Clopper and Pearson,
    Biometrika 1934.
    """
    v, e = np.asarray(value, np.float64), np.asarray(error, np.float64)
    inside = (v > 0) & (v < 1)
    safe = np.where(inside, v, 0.5)
    middle, reach = np.log(safe / (1 - safe)), quantile(freedom) * e / (safe * (1 - safe))
    bounds = expit(np.stack([middle - reach, middle + reach], axis=-1))
    exact = ((1 - LEVEL) / 2) ** (1 / np.maximum(np.asarray(patients, np.float64), 1))
    bounds = np.where((v == 1)[..., None], np.stack([exact, np.ones_like(exact)], axis=-1), bounds)
    return np.where((v == 0)[..., None], np.stack([np.zeros_like(exact), 1 - exact], axis=-1), bounds)


def satterthwaite(variances: Sequence[float] | Floats, freedoms: Sequence[float] | Floats) -> float:
    """Return the degrees of freedom of a sum of variances. Source: Satterthwaite, Biometrics Bull. 1946."""
    v, f = np.asarray(variances, np.float64), np.asarray(freedoms, np.float64)
    squared = float((v**2 / f).sum())
    return float(v.sum() ** 2 / squared) if squared > 0 else float(f.min(initial=1.0))


def _macro(
    value: Floats, draws: Floats, error: Floats, freedom: Floats, unseen: Floats, patients: np.ndarray
) -> tuple[float, Floats]:
    """Return the mean over labels (C,) and its interval."""
    if not len(value):
        return float("nan"), np.full(2, np.nan)
    mean = float(value.mean())
    defined = ~np.isnan(draws)
    means = divide(np.where(defined, draws, 0).sum(axis=1), defined.sum(axis=1))
    spread = float(np.hypot(standard_error(means), np.sqrt((unseen**2).sum()) / len(value)))
    return mean, rate_bounds(mean, spread, satterthwaite(error**2, freedom), int(patients.min()))
