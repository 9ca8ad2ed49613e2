"""95 % intervals for one trained model, over other patients.

The error of a metric is its spread over resamples of patients (`resampled`). Plain percentiles of the resamples miss
the true value up to 17 times in a hundred where positives are few. So each kind of metric has the rule that held in
simulation (docs/metrics.md has the table), which the metric's declaration names; all work on the logit scale. Errors estimated from few patients use
Student's t.

Shapes: N rows, C labels, R resamples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import expit, logit, ndtri, owens_t, stdtr, stdtrit

from ctbench_core.declared import METRICS, IntervalRule
from ctbench_core.inference.resampling import RESAMPLES, PatientCounts, count_patients, resampled
from ctbench_core.metrics import Floats, MetricFn, compared_metric_fn, divide

LEVEL = 0.95
_TAIL = (1 - LEVEL) / 2
# No interval is given with fewer patients of either class, or with a larger fraction of undefined resamples.
MIN_PATIENTS = 10
MAX_UNDEFINED = 0.05
# Patients of the scarcer class in the median label, for an interval of macro AUPRC: with fewer, its bias is too large.
MIN_MACRO_AUPRC = 25
NO_LABEL = "no finding has an interval"


def interval_rule(name: str) -> IntervalRule:
    """Return the rule of a metric's interval; ``rate`` for one that is not registered, such as a difference."""
    return (METRICS[name].interval if name in METRICS else "") or "rate"


def _unit_range(name: str) -> tuple[float, float]:
    """Return the low end and the width of a metric's range, which is mapped to [0, 1] for the logit scale."""
    metric = METRICS.get(name)
    bounded = metric is not None and np.isfinite(metric.high - metric.low)
    return (metric.low, metric.high - metric.low) if metric is not None and bounded else (0.0, 1.0)


_EDGE = 1e-12  # keeps logits finite


def t_quantile(dof: ArrayLike) -> Floats:
    """Return the quantile of t for a two-sided interval at `LEVEL`; the normal quantile for infinite `dof`."""
    f = np.asarray(dof, np.float64)
    return np.where(np.isinf(f), ndtri(1 - _TAIL), stdtrit(np.where(np.isinf(f), 1.0, f), 1 - _TAIL))


def t_test(delta: float, error: float, dof: float) -> tuple[float, float, float]:
    """Return interval and two-sided p of a difference; with zero error, p is 1 for no difference and else 0."""
    half_width = float(t_quantile(dof)) * error
    p = 2 * float(stdtr(dof, -abs(delta) / error)) if error > 0 else float(delta == 0)
    return delta - half_width, delta + half_width, p


def percentile_inflation(dof: ArrayLike, patients: ArrayLike) -> Floats:
    """Return the factor by which percentiles of resamples are too close together: sqrt(m / (m - 1)) t / z.

    Resamples of m patients divide their variance by m, not m - 1, and the spread is itself uncertain. Source:
    Hesterberg, Am. Stat. 2015 (expanded percentiles).
    """
    m = np.maximum(np.asarray(patients, np.float64), 2)
    return np.sqrt(m / (m - 1)) * t_quantile(dof) / ndtri(1 - _TAIL)


def satterthwaite(variances: Sequence[float] | Floats, dofs: Sequence[float] | Floats) -> float:
    """Return the degrees of freedom of a sum of variances. Source: Satterthwaite, Biometrics Bull. 1946."""
    v, f = np.asarray(variances, np.float64), np.asarray(dofs, np.float64)
    squared = float((v**2 / f).sum())
    return float(v.sum() ** 2 / squared) if squared > 0 else float(f.min(initial=np.inf))


def mixed_dof(variances: Sequence[float] | Floats, dofs: Sequence[float] | Floats) -> float:
    """Return the degrees of freedom of a sum of variances that may come mostly from a few seeds.

    Its t lies half-way between two rules. Satterthwaite's t is too small where seeds cause most of the error (92 %
    coverage instead of 95); the mean of the parts' t, weighted by their variances, is too large where they cause some
    (97 %). Source of the latter: Cochran and Cox, Experimental Designs, 1950.
    """
    v, f = np.asarray(variances, np.float64), np.minimum(np.asarray(dofs, np.float64), 1e9)
    v = np.where(v.sum() > 0, v, 1.0)
    total = satterthwaite(v, f)
    t = (float((v * t_quantile(f)).sum() / v.sum()) + float(t_quantile(total))) / 2
    low, high = float(f[v > 0].min()), float(max(total, f[v > 0].max()))
    # At the ends t may differ by rounding, and brentq would have no root.
    if float(t_quantile(low)) <= t or float(t_quantile(high)) >= t:
        return low if float(t_quantile(low)) <= t else high
    return float(brentq(lambda dof: float(t_quantile(dof)) - t, low, high))


@dataclass(frozen=True)
class Estimate:
    """A metric with its interval, for every label and their macro mean.

    Attributes:
        value: shape (C,); bounds: lower and upper, (C, 2), NaN where no interval is given.
        reasons: why a label has no interval, else None.
        macro: mean over the labels that have an interval; macro_bounds: its interval, (2,).
        macro_labels: the number of these labels; macro_reason: why the mean has no interval, else None.
        error: standard error, (C,).
    """

    value: Floats
    bounds: Floats
    reasons: list[str | None]
    macro: float
    macro_bounds: Floats
    macro_labels: int
    error: Floats
    macro_reason: str | None


def bootstrap(
    metric_fn: MetricFn,
    targets: ArrayLike,
    scores: ArrayLike,
    patients: ArrayLike,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Return every metric with its patient-clustered 95 % interval, by name.

    targets (N, C) in {0, 1, NaN}; scores (N, C); patients (N,), one a row. Raises InputError for wrong shapes.
    """
    truth, values = np.asarray(targets, np.float64), np.asarray(scores, np.float64)
    draws = resampled(metric_fn, truth, values, patients, resamples, seed)
    return estimates(metric_fn(truth, values, None), draws, count_patients(truth, patients))


def bootstrap_intervals(
    targets: ArrayLike, scores: ArrayLike, patients: ArrayLike, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Estimate]:
    """Return the compared metrics, such as AUROC and AUPRC, with their intervals, by name; arguments as `bootstrap`."""
    return bootstrap(compared_metric_fn, targets, scores, patients, resamples, seed)


def estimates(
    values: Mapping[str, Floats], draws: Mapping[str, Floats], n_patients: PatientCounts
) -> dict[str, Estimate]:
    """Return estimates, by name, from values (C,) and their resamples (R, C)."""
    return {name: _estimate(name, np.asarray(values[name]), draws[name], n_patients) for name in values}


def _estimate(name: str, value: Floats, draws: Floats, n_patients: PatientCounts) -> Estimate:
    reasons = missing_interval_reasons(draws, n_patients)
    usable = np.array([reason is None for reason in reasons], bool) & ~np.isnan(value)
    spread, patients = standard_error(draws), n_patients.scarcer
    error = moderated_error(value, spread, n_patients) if interval_rule(name) == "moderated" else spread
    dof = metric_dof(name, n_patients)
    bounds = np.full((len(value), 2), np.nan)
    if not usable.any():
        return Estimate(value, bounds, reasons, np.nan, np.full(2, np.nan), 0, error, NO_LABEL)
    bounds[usable] = rate_interval(name, value[usable], draws[:, usable], error[usable], dof[usable], patients[usable])
    macro, macros = float(value[usable].mean()), macro_means(draws[:, usable])[:, 0]
    total_error = macro_error(macros, error[usable], spread[usable])
    total_dof = macro_dof(name, error[usable], dof[usable])
    macro_bounds = macro_interval(name, macro, macros, total_error, total_dof, patients[usable])
    reason = missing_macro_reason(name, patients[usable])
    return Estimate(value, bounds, reasons, macro, macro_bounds, int(usable.sum()), error, reason)


def rate_interval(
    name: str, value: Floats, draws: Floats, error: Floats, dof: Floats, patients: ArrayLike, inflation: ArrayLike = 1.0
) -> Floats:
    """Return intervals (C, 2) of metrics (C,) from resamples (R, C) and errors; AUPRC also uses percentiles.

    ``inflation`` is the ratio of the error to the resamples' spread; percentiles are widened by it.
    """
    low, width = _unit_range(name)
    rate = (value - low) / width
    symmetric = rate_bounds(rate, error / width, dof, patients)
    if interval_rule(name) != "percentile":
        return low + width * symmetric
    # Percentiles alone miss where AUPRC is high, symmetric intervals where it is low.
    inflation = percentile_inflation(dof, patients) * np.asarray(inflation)
    return low + width * midway(symmetric, expanded_percentiles(rate, (draws - low) / width, inflation, patients))


def macro_interval(
    name: str, macro: float, draws: Floats, error: float, dof: float, patients: NDArray[np.intp]
) -> Floats:
    """Return the interval (2,) of a macro mean from its resamples (R,); patients (C,) are those of its labels.

    AUPRC of few positives is too high, and a mean over labels keeps that bias. Resamples repeat the bias, so it is
    subtracted. The spread in logits is then too small and is multiplied by (m / (m - 1))^1.5, with m of the median
    label. NaN where the bias is too large for that.
    """
    if interval_rule(name) != "percentile" or not 0 < macro < 1:
        low, width = _unit_range(name)
        return low + width * rate_bounds([(macro - low) / width], [error / width], [dof], patients.min())[0]
    if missing_macro_reason(name, patients):
        return np.full(2, np.nan)
    m = float(np.median(patients))
    spread, logit_spread = standard_error(draws), standard_error(logit(np.clip(draws, _EDGE, 1 - _EDGE)))
    inflation = divide(error, spread) * (m / (m - 1)) ** 1.5
    middle = logit(np.clip(2 * macro - np.nanmean(draws), _EDGE, 1 - _EDGE))
    return np.asarray(expit(middle + np.array([-1, 1]) * t_quantile(dof) * logit_spread * inflation))


def missing_macro_reason(name: str, patients: NDArray[np.intp]) -> str | None:
    """Return why a macro mean has no interval, else None; patients of the scarcer class of its labels, (C,)."""
    if not len(patients):
        return NO_LABEL
    m = float(np.median(patients))
    if interval_rule(name) != "percentile" or m >= MIN_MACRO_AUPRC:
        return None
    return f"patients of the scarcer class in the median finding: {m:g}; macro AUPRC needs {MIN_MACRO_AUPRC}"


def metric_dof(name: str, n_patients: PatientCounts) -> Floats:
    """Return the degrees of freedom of t for a metric, (C,); infinite means the normal distribution.

    Ratios of counts, such as F1, need no t: on the logit scale their normal interval is already wide enough.
    """
    m = n_patients.scarcer.astype(np.float64)
    rule = interval_rule(name)
    if rule == "moderated":
        return np.maximum(m + 2 * np.sqrt(m) - 1, 1)
    return np.maximum(m - 1, 1) if rule == "percentile" else np.full(len(m), np.inf)


def macro_dof(name: str, error: Floats, dof: Floats) -> float:
    """Return the degrees of freedom of t for a macro mean, from those of its labels and their errors, (C,) each.

    AUPRC takes the median label's: its spread grows with its value, and Satterthwaite's formula does not hold.
    """
    return float(np.median(dof)) if interval_rule(name) == "percentile" else satterthwaite(error**2, dof)


def moderated_error(value: Floats, spread: Floats, n_patients: PatientCounts) -> Floats:
    """Return the error of AUROC, (C,): its spread over resamples, moderated by that of two normal score distributions.

    With few positive patients often none ranks low, and AUROC then looks both high and certain. The variance is the
    weighted mean of the resampled one (weight m, the patients of the scarcer class) and of the model's (weight
    2 sqrt(m)). The model's variance is (Phi2(z, z; 1/2) - A^2) (1/m+ + 1/m-), z = Phi^-1(A), with Phi2 by Owen's T.
    Source: moderation as in Smyth, Stat. Appl. Genet. Mol. Biol. 2004; the model's moments as in Hanley and McNeil,
    Radiology 1982.
    """
    area = np.clip(value, 1e-12, 1 - 1e-12)
    both_above = area - 2 * owens_t(ndtri(area), 1 / np.sqrt(3))
    inverse_counts = divide(1, n_patients.positive) + divide(1, n_patients.negative)
    model = np.maximum(both_above - area**2, 0.0) * inverse_counts
    m = n_patients.scarcer
    k = 2 * np.sqrt(m)
    return np.sqrt(divide(m * spread**2 + k * model, m + k))


def moderation_factor(value: Floats, draws: Floats, n_patients: PatientCounts) -> Floats:
    """Return the ratio of moderated errors of AUROC to their spreads over M models (M, C), per label (C,)."""
    spreads = standard_error(draws)
    moderated = np.stack([moderated_error(one, spread, n_patients) for one, spread in zip(value, spreads)])
    ratio = divide((moderated**2).sum(axis=0), (spreads**2).sum(axis=0))
    return np.sqrt(np.where(np.isnan(ratio), 1.0, ratio))


def missing_interval_reasons(draws: Floats, n_patients: PatientCounts) -> list[str | None]:
    """Return per label why it has no interval, else None, from resamples (R, C) and counts of patients."""
    undefined = np.isnan(draws).mean(axis=0) if len(draws) else np.ones(draws.shape[1])
    reasons: list[str | None] = []
    for positive, negative, fraction in zip(n_patients.positive, n_patients.negative, undefined):
        if min(positive, negative) < MIN_PATIENTS:
            counts = f"positive patients {positive}, negative {negative}"
            reasons.append(f"{counts}: an interval needs {MIN_PATIENTS} of each")
        else:
            reasons.append(f"undefined in {fraction:.0%} of the resamples" if fraction > MAX_UNDEFINED else None)
    return reasons


def standard_error(draws: Floats) -> Floats:
    """Return the standard deviation of resamples (R, ...) along R; undefined ones are left out, NaN with fewer than two."""
    defined = ~np.isnan(draws)
    count = defined.sum(axis=0)
    mean = divide(np.where(defined, draws, 0.0).sum(axis=0), count)
    squares = np.where(defined, (draws - mean) ** 2, 0.0).sum(axis=0)
    return np.sqrt(divide(squares, np.maximum(count - 1, 0)))


def macro_means(draws: Floats) -> Floats:
    """Return the mean of every resample over its defined labels: (..., C) to (..., 1)."""
    defined = ~np.isnan(draws)
    return divide(np.where(defined, draws, 0.0).sum(axis=-1), defined.sum(axis=-1))[..., None]


def error_inflation(error: Floats, spread: Floats) -> float:
    """Return the ratio of the errors of labels (C,) to their spreads, as one factor for their macro mean."""
    total = float((spread**2).sum())
    return float(np.sqrt((error**2).sum() / total)) if total > 0 else 1.0


def macro_error(macros: Floats, error: Floats, spread: Floats) -> float:
    """Return the error of a macro mean from its resamples (R,), and errors and spreads of its labels (C,)."""
    return float(standard_error(macros)) * error_inflation(error, spread)


def rate_bounds(value: ArrayLike, error: ArrayLike, dof: ArrayLike, patients: ArrayLike) -> Floats:
    """Return intervals (C, 2) of rates in [0, 1], symmetric on the logit scale: logit(v) -+ t error / (v (1 - v)).

    A rate of exactly 1 or 0 has no logit and no spread: see `_exact_at_0_and_1`. Source: Pepe 2003, section 5.2.
    """
    v, e = np.asarray(value, np.float64), np.asarray(error, np.float64)
    safe = np.where((v > 0) & (v < 1), v, 0.5)
    half_width = t_quantile(dof) * e / (safe * (1 - safe))
    bounds = expit(np.stack([logit(safe) - half_width, logit(safe) + half_width], axis=-1))
    return _exact_at_0_and_1(v, bounds, patients)


def expanded_percentiles(value: Floats, draws: Floats, inflation: ArrayLike, patients: ArrayLike) -> Floats:
    """Return percentile intervals (C, 2) of resamples (R, C), their distances from the value in logits x `inflation`."""
    safe = np.where((value > 0) & (value < 1), value, 0.5)
    middle, ends = logit(safe), logit(np.clip(percentiles(draws), _EDGE, 1 - _EDGE))
    return _exact_at_0_and_1(value, expit(middle + (ends - middle) * np.asarray(inflation)).T, patients)


def percentiles(draws: Floats) -> Floats:
    """Return the 2.5 and 97.5 percentiles of resamples (R, ...), as (2, ...)."""
    return np.asarray(np.nanquantile(draws, [_TAIL, 1 - _TAIL], axis=0))


def midway(first: Floats, second: Floats) -> Floats:
    """Return the bounds half-way between two intervals (C, 2) on the logit scale."""
    logits = [logit(np.clip(bounds, _EDGE, 1 - _EDGE)) for bounds in (first, second)]
    return np.where(first == second, first, expit((logits[0] + logits[1]) / 2))


def _exact_at_0_and_1(value: Floats, bounds: Floats, patients: ArrayLike) -> Floats:
    """Replace the bounds of rates of exactly 1 or 0 by the exact bound of a proportion: .025^(1/patients).

    Patients are those of the scarcer class. Source: Clopper and Pearson, Biometrika 1934.
    """
    exact = _TAIL ** (1 / np.maximum(np.asarray(patients, np.float64), 1)) + np.zeros_like(value)
    bounds = np.where((value == 1)[..., None], np.stack([exact, np.ones_like(exact)], axis=-1), bounds)
    return np.where((value == 0)[..., None], np.stack([np.zeros_like(exact), 1 - exact], axis=-1), bounds)
