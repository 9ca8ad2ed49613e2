"""95 % intervals of means and medians over retrieval queries, by patients.

Shapes: Q queries, m patients with a scored query.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ctbench_core.errors import InputError
from ctbench_core.inference.jackknife import jackknife
from ctbench_core.inference.patients import Evidence, evidence, patient_codes
from ctbench_core.inference.rules import MIN_PATIENTS, logit_bounds, t_quantile
from ctbench_core.metrics import Floats, divide

# Means agree to 1e-6 whatever their precision: closer to an end of the range is at it. Errors below 1e-9 are rounding.
_ROUNDING, _NO_ERROR = 1e-6, 1e-9
CONSTANT = "does not vary between patients"
UNBOUNDED = "few patients hold most queries: the upper limit is not known"


@dataclass(frozen=True)
class MeanInterval:
    """A mean or median over queries with its 95 % interval.

    Attributes:
        lo, hi: NaN where ``reason`` says why. reason: None with an interval.
        patients: those with a scored query. mark: of an interval that a few patients dominate, else empty.
    """

    value: float
    lo: float
    hi: float
    reason: str | None
    patients: int = 0
    mark: str = ""


def mean_intervals(
    values: Mapping[str, ArrayLike],
    patients: ArrayLike,
    ranges: Mapping[str, tuple[float, float]] | None = None,
) -> dict[str, MeanInterval]:
    """Return the interval of each mean over other query patients, by name.

    Logit scale, standard error of the jackknife that leaves out one patient at a time, t with m - 1 degrees of freedom, m
    the effective patients with a scored query; at least 10 patients have one. A mean at an end of its range gets the exact
    bound of a proportion in effective patients: P(all values at the end) is at most that of a proportion with the same
    mean. Sources: Pepe 2003, section 5.2; Rao and Wu, JASA 1985 (jackknife of clusters); Clopper and Pearson,
    Biometrika 1934.

    Args:
        values: (Q,) by name, NaN where a query is not scored. patients: (Q,).
        ranges: low and high end of a metric; by default 0 and 1.

    Raises:
        InputError: wrong shapes, or values outside their range.
    """
    rates = {
        name: _rate(name, column, patients, (ranges or {}).get(name, (0.0, 1.0))) for name, column in values.items()
    }
    if not rates:
        return {}
    codes = patient_codes(patients)
    intervals = {}
    for name, rate in rates.items():
        known = ~np.isnan(rate)
        behind, own = evidence(codes, known), _deviations(rate, codes)
        error = float(np.sqrt((own**2).sum()))
        low, high = (ranges or {}).get(name, (0.0, 1.0))
        value = float(rate[known].mean()) if known.any() else np.nan
        inside = _ROUNDING < value < 1 - _ROUNDING
        bounds = logit_bounds(
            value if inside else np.round(value), error, t_quantile(max(behind.effective - 1, 1)), behind.effective
        )
        reason = _few_patients(behind) or (CONSTANT if inside and error < _NO_ERROR else None)
        intervals[name] = _interval(low + (high - low) * value, low + (high - low) * bounds, reason, behind)
    return intervals


def mean_difference(first: ArrayLike, second: ArrayLike, patients: ArrayLike) -> MeanInterval:
    """Return the difference first - second of two means over the same queries, with its interval.

    Difference -+ t times the standard error of the jackknife that leaves out one patient at a time, m - 1 degrees of
    freedom, m the effective patients: the error of a mean of paired differences, so what makes a query hard for both
    cancels out. Source: Rao and Wu, JASA 1985.

    Args:
        first, second: (Q,), NaN where a query is not scored; it then counts in neither. patients: (Q,).

    Raises:
        InputError: wrong shapes.
    """
    pairs = np.asarray(first, np.float64) - np.asarray(second, np.float64)
    if pairs.shape != np.shape(patients) or pairs.ndim != 1:
        raise InputError(f"Expected one pair of values for each of {np.shape(patients)} patients, got {pairs.shape}.")
    codes, known = patient_codes(patients), ~np.isnan(pairs)
    behind = evidence(codes, known)
    error = float(np.sqrt((_deviations(pairs, codes) ** 2).sum())) if known.any() else np.nan
    delta = float(pairs[known].mean()) if known.any() else np.nan
    half_width = float(t_quantile(max(behind.effective - 1, 1))) * error
    reason = _few_patients(behind) or (CONSTANT if error < _NO_ERROR else None)
    return _interval(delta, np.array([delta - half_width, delta + half_width]), reason, behind)


def median_intervals(values: Mapping[str, ArrayLike], patients: ArrayLike) -> dict[str, MeanInterval]:
    """Return the interval of each median over other query patients, by name, such as of the rank of the first hit.

    A rank q is in the interval unless the 95 % interval of the fraction of queries at or below q excludes one half on
    the side that rules q out. That interval is as those of `mean_intervals`, but with m - 1 degrees of freedom, m the
    patients: with fewer it holds in 98 % of simulated sets, and is not bounded in a quarter. Sources: Woodruff, JASA 1952; Francisco and Fuller, Ann. Statist. 1991; Efron and Tibshirani 1993, chapter 11.

    Args:
        values: (Q,) by name, NaN where a query is not scored. patients: (Q,).
    """
    codes = patient_codes(patients)
    intervals = {}
    for name, column in values.items():
        known = ~np.isnan(np.asarray(column, np.float64))
        ranks, behind = np.asarray(column, np.float64)[known], evidence(codes, known)
        median = float(np.median(ranks)) if len(ranks) else np.nan
        reason = _few_patients(behind)
        bounds = np.full(2, np.nan)
        if reason is None:
            bounds, reason = _median_bounds(ranks, np.unique(codes[known], return_inverse=True)[1], behind)
        intervals[name] = _interval(median, bounds, reason, behind)
    return intervals


def _interval(value: float, bounds: Floats, reason: str | None, behind: Evidence) -> MeanInterval:
    lo, hi = (float(bound) if reason is None else np.nan for bound in bounds)
    return MeanInterval(float(value), lo, hi, reason, behind.patients, behind.mark if reason is None else "")


def _few_patients(behind: Evidence) -> str | None:
    if behind.patients >= MIN_PATIENTS:
        return None
    return f"patients with a scored query {behind.patients}: an interval needs {MIN_PATIENTS}"


def _rate(name: str, column: ArrayLike, patients: ArrayLike, ends: tuple[float, float]) -> Floats:
    """Return values (Q,) mapped from their range to [0, 1]."""
    values = np.asarray(column, np.float64)
    if values.shape != np.shape(patients) or values.ndim != 1:
        raise InputError(f"{name}: expected one value for each of {np.shape(patients)} patients, got {values.shape}.")
    rate = (values - ends[0]) / (ends[1] - ends[0])
    outside = (rate < -_ROUNDING) | (rate > 1 + _ROUNDING)
    if outside.any():
        raise InputError(f"{name} has values outside {ends[0]:g} to {ends[1]:g}, such as {values[outside][0]:g}.")
    return np.clip(rate, 0.0, 1.0)


def _deviations(rate: Floats, codes: NDArray[np.intp]) -> Floats:
    """Return what each patient with a scored query adds to the error of the mean of rates (Q,), (m,)."""
    known = ~np.isnan(rate)
    groups = np.unique(codes[known], return_inverse=True)[1]
    size, sums = np.bincount(groups), np.bincount(groups, rate[known])
    return jackknife(divide(sums.sum() - sums, size.sum() - size), size > 0)[0]


def _median_bounds(ranks: Floats, codes: NDArray[np.intp], behind: Evidence) -> tuple[Floats, str | None]:
    """Return the bounds (2,) of a median from ranks and patients (Q,), or why there are none."""
    points, t = np.unique(ranks), t_quantile(behind.patients - 1)

    def share(place: int) -> tuple[float, Floats]:
        """Return the fraction of queries at or below a point, and what each patient adds to its error."""
        below = (ranks <= points[place]).astype(np.float64)
        return float(below.mean()), _deviations(below, codes)

    def limits(place: int) -> Floats:
        fraction, own = share(place)
        return logit_bounds(fraction, np.sqrt((own**2).sum()), t, behind.effective)

    fraction, own = share(int(np.searchsorted(points, np.median(ranks), side="right")) - 1)
    if np.sqrt((own**2).sum()) < _NO_ERROR and fraction < 1:
        return np.full(2, np.nan), CONSTANT
    everywhere = range(len(points))
    low = bisect_left(everywhere, True, key=lambda place: bool(limits(place)[1] >= 0.5))
    high = bisect_left(everywhere, True, key=lambda place: bool(limits(place)[0] >= 0.5))
    if high == len(points):
        return np.full(2, np.nan), UNBOUNDED
    return points[[low, high]], None
