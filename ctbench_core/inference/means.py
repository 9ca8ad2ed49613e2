"""95 % intervals of means and medians over retrieval queries, by patients.

Shapes: Q queries, M metrics, P patients, R resamples.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ctbench_core.errors import InputError
from ctbench_core.inference.patients import RESAMPLES, Evidence, draw_counts, evidence, patient_codes
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
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, MeanInterval]:
    """Return the interval of each mean over other query patients, by name.

    Logit scale, standard error of the patient-clustered bootstrap, t with m - 1 degrees of freedom, m the patients with
    a scored query, at least 10. A mean at an end of its range gets the exact bound of a proportion in Kish's effective
    patients: P(all values at the end) is at most that of a proportion with the same mean. Sources: Pepe 2003, section
    5.2; Field and Welsh, JRSS B 2007 (cluster bootstrap); Clopper and Pearson, Biometrika 1934.

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
    errors = _bootstrap_errors(list(rates.values()), codes, resamples, seed)
    intervals = {}
    for (name, rate), error in zip(rates.items(), errors):
        known = ~np.isnan(rate)
        behind = evidence(codes, known)
        low, high = (ranges or {}).get(name, (0.0, 1.0))
        value = float(rate[known].mean()) if known.any() else np.nan
        inside = _ROUNDING < value < 1 - _ROUNDING
        bounds = logit_bounds(
            value if inside else np.round(value), error, t_quantile(max(behind.patients - 1, 1)), behind.effective
        )
        reason = _few_patients(behind) or (CONSTANT if inside and error < _NO_ERROR else None)
        intervals[name] = _interval(low + (high - low) * value, low + (high - low) * bounds, reason, behind)
    return intervals


def median_intervals(values: Mapping[str, ArrayLike], patients: ArrayLike) -> dict[str, MeanInterval]:
    """Return the interval of each median over other query patients, by name, such as of the rank of the first hit.

    A rank q is in the interval unless the 95 % interval of the fraction of queries at or below q excludes one half on
    the side that rules q out. That interval is on the logit scale, with t and m - 1, and the standard error of the
    jackknife that leaves out one patient at a time: the linearised one holds 89 to 92 % where a few patients have most
    queries. Sources: Woodruff, JASA 1952; Francisco and Fuller, Ann. Statist. 1991; Efron and Tibshirani 1993, chapter 11.

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


def _bootstrap_errors(rates: list[Floats], codes: NDArray[np.intp], resamples: int, seed: int) -> Floats:
    """Return standard errors (M,) of means of rates (Q,) over resamples of all patients."""
    count = int(codes.max(initial=-1)) + 1
    # Metrics of one set of scored queries share their denominator.
    places: dict[bytes, int] = {}
    denominators: list[Floats] = []
    group: list[int] = []
    for rate in rates:
        known = ~np.isnan(rate)
        place = places.setdefault(np.packbits(known).tobytes(), len(places))
        if place == len(denominators):
            denominators.append(np.asarray(np.bincount(codes, known, count), np.float64))
        group.append(place)
    sums = np.stack([np.bincount(codes, np.nan_to_num(rate), count) for rate in rates], axis=1)
    totals = np.concatenate([sums, np.stack(denominators, axis=1)], axis=1)
    drawn = np.concatenate([times.astype(np.float64) @ totals for times in draw_counts(count, resamples, seed)])
    means = divide(drawn[:, : len(rates)], drawn[:, len(rates) :][:, group])
    defined = ~np.isnan(means)
    n = defined.sum(axis=0)
    centred = np.where(defined, means - divide(np.where(defined, means, 0.0).sum(axis=0), n), 0.0)
    return np.sqrt(divide((centred**2).sum(axis=0), np.maximum(n - 1, 0)))


def _median_bounds(ranks: Floats, codes: NDArray[np.intp], behind: Evidence) -> tuple[Floats, str | None]:
    """Return the bounds (2,) of a median from ranks and patients (Q,), or why there are none."""
    points = np.unique(ranks)
    size, m = np.bincount(codes), behind.patients
    t = t_quantile(m - 1)

    def share(place: int) -> tuple[float, float]:
        """Return the fraction of queries at or below a point, and its standard error."""
        below = ranks <= points[place]
        fraction = float(below.mean())
        without_one = (np.bincount(codes, below) - fraction * size) / (size.sum() - size)
        return fraction, float(np.sqrt((m - 1) / m * (without_one**2).sum()))

    def limits(place: int) -> Floats:
        return logit_bounds(*share(place), t, behind.effective)

    fraction, error = share(int(np.searchsorted(points, np.median(ranks), side="right")) - 1)
    if error < _NO_ERROR and fraction < 1:
        return np.full(2, np.nan), CONSTANT
    everywhere = range(len(points))
    low = bisect_left(everywhere, True, key=lambda place: bool(limits(place)[1] >= 0.5))
    high = bisect_left(everywhere, True, key=lambda place: bool(limits(place)[0] >= 0.5))
    if high == len(points):
        return np.full(2, np.nan), UNBOUNDED
    return points[[low, high]], None
