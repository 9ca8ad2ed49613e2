"""Student's t for errors that are themselves uncertain: its quantile, and the degrees of freedom of sums of variances."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.special import ndtri, stdtrit

from ctbench_core.metrics.arrays import Floats

LEVEL = 0.95
_TAIL = (1 - LEVEL) / 2


def quantile(freedom: ArrayLike) -> Floats:
    """Return the t quantile of a two-sided interval at `LEVEL`; the normal one for infinite freedom."""
    f = np.asarray(freedom, np.float64)
    return np.where(np.isinf(f), ndtri(1 - _TAIL), stdtrit(np.where(np.isinf(f), 1.0, f), 1 - _TAIL))


def stretch(freedom: ArrayLike, patients: ArrayLike) -> Floats:
    """Return by how much percentiles of resamples lie too near: sqrt(m / (m - 1)) t / z.

    The spread of resamples of m patients is that of a variance divided by m, and it is itself uncertain. Source:
    Hesterberg, Am. Stat. 2015 (expanded percentiles).
    """
    m = np.maximum(np.asarray(patients, np.float64), 2)
    return np.sqrt(m / (m - 1)) * quantile(freedom) / ndtri(1 - _TAIL)


def satterthwaite(variances: Sequence[float] | Floats, freedoms: Sequence[float] | Floats) -> float:
    """Return the degrees of freedom of a sum of variances. Source: Satterthwaite, Biometrics Bull. 1946."""
    v, f = np.asarray(variances, np.float64), np.asarray(freedoms, np.float64)
    squared = float((v**2 / f).sum())
    return float(v.sum() ** 2 / squared) if squared > 0 else float(f.min(initial=np.inf))


def mixed_freedom(variances: Sequence[float] | Floats, freedoms: Sequence[float] | Floats) -> float:
    """Return the degrees of freedom of an error of which a few seeds may carry most.

    Its t lies half-way between Satterthwaite's, too small where seeds carry most of the error (92 % instead of 95), and
    the mean of the parts' t weighted by their variances, too large where they carry some (97 %). Source of the latter:
    Cochran and Cox, Experimental Designs, 1950.
    """
    v, f = np.asarray(variances, np.float64), np.minimum(np.asarray(freedoms, np.float64), 1e9)
    v = np.where(v.sum() > 0, v, 1.0)
    between = satterthwaite(v, f)
    t = (float((v * quantile(f)).sum() / v.sum()) + float(quantile(between))) / 2
    low, high = float(f[v > 0].min()), float(max(between, f[v > 0].max()))
    # At the ends the t of parts and whole may differ by rounding, and nothing is left to be found.
    if float(quantile(low)) <= t or float(quantile(high)) >= t:
        return low if float(quantile(low)) <= t else high
    return float(brentq(lambda one: float(quantile(one)) - t, low, high))
