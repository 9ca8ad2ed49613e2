"""The rules of all intervals and tests: t, degrees of freedom, the logit scale, and what holds at the ends of a range.

docs/metrics.md lists each rule with its source. Shapes: K columns (findings and macro means).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, logit, ndtri, stdtr, stdtrit

from ctbench_core.declared import METRICS
from ctbench_core.metrics import Floats, divide

LEVEL = 0.95
POWER = 0.8
_TAIL = (1 - LEVEL) / 2
# No interval is given with fewer patients of either class, or with a larger fraction of undefined resamples.
MIN_PATIENTS = 10
MAX_UNDEFINED = 0.05
# An AUROC is near 1 (or 0) where fewer patients of the scarcer class than this are expected on the wrong side.
NEAR_END = 3
MARK_NEAR_END = "near 1: at least 93 %"
_BISECTIONS = 60
NO_ERROR = 1e-12  # rounding


def t_quantile(dof: ArrayLike, level: float = LEVEL) -> Floats:
    """Return the quantile of t for a two-sided interval; the normal quantile for infinite `dof`."""
    f = np.asarray(dof, np.float64)
    upper = (1 + level) / 2
    return np.where(np.isinf(f), ndtri(upper), stdtrit(np.where(np.isinf(f), 1.0, f), upper))


def t_p_value(statistic: ArrayLike, dof: ArrayLike) -> Floats:
    """Return the two-sided p of t statistics; NaN stays NaN."""
    return np.asarray(2 * stdtr(dof, -np.abs(np.asarray(statistic, np.float64))))


def t_test(delta: Floats, error: Floats, dof: Floats, has_interval: np.ndarray) -> tuple[Floats, Floats]:
    """Return 95 % intervals (K, 2) and two-sided p (K,) of one t, NaN where there is none.

    Models that rank alike differ by rounding only: then p is 1 for equal values and else 0.
    """
    exact = error < NO_ERROR
    half_width = t_quantile(dof) * np.where(exact, 0.0, error)
    p = np.where(exact, (np.abs(delta) < NO_ERROR).astype(float), t_p_value(divide(delta, error), dof))
    bounds = np.stack([delta - half_width, delta + half_width], axis=-1)
    return np.where(has_interval[:, None], bounds, np.nan), np.where(has_interval, p, np.nan)


def variance_dof(deviations: Floats) -> Floats:
    """Return the degrees of freedom (K,) of a variance that is the sum of squared deviations of patients (D, K).

    2 V^2 / Var(V), with the variance of the squares times their number for Var(V): few patients with large deviations leave few. For
    normal deviations it is about that number; who deviates by 0, such as without rows, is not counted. Infinite without a variance. Source: Hinkley, Biometrika 1977;64:21.
    """
    squares = deviations**2
    total = squares.sum(axis=0)
    spread = (squares**2).sum(axis=0) - total**2 / np.maximum((squares > 0).sum(axis=0), 1)
    return np.where(spread > 0, divide(2 * total**2, spread), np.inf)


def satterthwaite(variances: Sequence[float] | Floats, dofs: Sequence[float] | Floats) -> float:
    """Return the degrees of freedom of a sum of variances. Source: Satterthwaite, Biometrics Bull. 1946."""
    v, f = np.asarray(variances, np.float64), np.asarray(dofs, np.float64)
    squared = float((v**2 / f).sum())
    return float(v.sum() ** 2 / squared) if squared > 0 else float(f.min(initial=np.inf))


def midway_dof(variances: Sequence[float] | Floats, dofs: Sequence[float] | Floats) -> float:
    """Return the degrees of freedom whose t lies half-way between two rules, for variances of which one has few.

    The rules are Satterthwaite's, and the mean of the parts' t weighted by their variances. Source of the latter:
    Cochran and Cox, Experimental Designs, 1950.
    """
    from scipy.optimize import brentq  # a tenth of a second to import

    v, f = np.asarray(variances, np.float64), np.minimum(np.asarray(dofs, np.float64), 1e9)
    v = np.where(v.sum() > 0, v, 1.0)
    total = satterthwaite(v, f)
    t = (float((v * t_quantile(f)).sum() / v.sum()) + float(t_quantile(total))) / 2
    low, high = float(f[v > 0].min()), float(max(total, f[v > 0].max()))
    # At the ends t may differ by rounding, and brentq would have no root.
    if float(t_quantile(low)) <= t or float(t_quantile(high)) >= t:
        return low if float(t_quantile(low)) <= t else high
    return float(brentq(lambda dof: float(t_quantile(dof)) - t, low, high))


def seed_factor(seeds: int, overlap: float) -> tuple[float, bool]:
    """Return the factor of the variance between seeds in that of their mean, and whether it covers other patients.

    ``overlap`` is the mean share of training patients that two seeds have in common. Seeds that share patients are
    closer to each other than draws of new patients would be: 1 / S + o / (1 - o), an assumption after Nadeau and Bengio,
    Mach. Learn. 2003, who use another ratio. From o = .5 on the answer is for these training patients, and the factor 1 / S.
    """
    is_new = overlap < 0.5
    return 1 / seeds + (overlap / (1 - overlap) if is_new else 0.0), is_new


def unit_range(metric: str) -> tuple[float, float]:
    """Return the low end and the width of a metric's range, which is mapped to [0, 1] for the logit scale."""
    one = METRICS.get(metric)
    bounded = one is not None and np.isfinite(one.high - one.low)
    return (one.low, one.high - one.low) if one is not None and bounded else (0.0, 1.0)


def logit_bounds(value: ArrayLike, error: ArrayLike, t: ArrayLike, effective: ArrayLike) -> Floats:
    """Return intervals (K, 2) of rates (K,) in [0, 1], symmetric on the logit scale: logit(v) -+ t error / (v (1 - v)).

    A rate of exactly 0 or 1 has no logit and no spread. It gets the exact bound of a proportion that is 0 or 1 in all
    ``effective`` patients (K,): .025^(1 / patients). Sources: Pepe 2003, section 5.2; Clopper and Pearson, Biometrika
    1934; Kish, Survey Sampling, 1965 (effective number).
    """
    v, e = np.asarray(value, np.float64), np.asarray(error, np.float64)
    inside = (v > 0) & (v < 1)
    safe = np.where(inside, v, 0.5)
    half_width = np.asarray(t) * e / (safe * (1 - safe))
    bounds = expit(np.stack([logit(safe) - half_width, logit(safe) + half_width], axis=-1))
    exact = _TAIL ** (1 / np.maximum(np.asarray(effective, np.float64), 1)) + np.zeros_like(v)
    bounds = np.where((v == 1)[..., None], np.stack([exact, np.ones_like(exact)], axis=-1), bounds)
    bounds = np.where((v == 0)[..., None], np.stack([np.zeros_like(exact), 1 - exact], axis=-1), bounds)
    return np.where(np.isnan(v)[..., None], np.nan, bounds)


def newcombe_variance(area: Floats, positive: Floats, negative: Floats) -> Floats:
    """Return the variance of an AUROC at the value `area`, from numbers of patients of each class.

    Source: Newcombe, Statist. Med. 2006, part 2, method 5.
    """
    psi = (positive + negative) / 2 - 1
    spread = 1 + psi * (1 - area) / (2 - area) + psi * area / (1 + area)
    return np.asarray(divide(area * (1 - area) * spread, positive * negative))


def is_near_end(area: Floats, patients: ArrayLike) -> np.ndarray:
    """Mark AUROCs or rates (K,) near 1 or 0: fewer than `NEAR_END` of ``patients`` (K,) are expected on the wrong side."""
    return np.asarray(np.asarray(patients) * np.minimum(area, 1 - area) < NEAR_END)


def mark_near_end(mark: str, is_near: bool) -> str:
    """Return the mark of an interval, with that of an AUROC near 1 or 0."""
    return "; ".join(filter(None, [mark, MARK_NEAR_END if is_near else ""]))


def near_end_bounds(
    area: Floats, variance: Floats, added: Floats, t: Floats, positive: Floats, negative: Floats
) -> Floats:
    """Return {theta: |A - theta| <= t sqrt(max(variance, Newcombe's at theta) + added)} as intervals (K, 2).

    ``variance`` (K,) is the estimate from the data, which is too small where few patients are on the wrong side;
    ``added`` (K,) comes from seeds; positive and negative are effective patients (K,).
    """

    def is_outside(theta: Floats) -> np.ndarray:
        error = np.sqrt(np.maximum(variance, newcombe_variance(theta, positive, negative)) + added)
        return np.asarray(np.abs(area - theta) > t * error)

    ends = []
    for limit in (0.0, 1.0):
        inner, outer = area.copy(), np.full(area.shape, limit)
        keeps = ~is_outside(outer)
        for _ in range(_BISECTIONS):
            middle = (inner + outer) / 2
            outside = is_outside(middle)
            inner, outer = np.where(outside, inner, middle), np.where(outside, middle, outer)
        ends.append(np.where(keeps, limit, inner))
    return np.stack(ends, axis=-1)
