"""95 % intervals for one trained model: it stays, other patients might have come.

The error of a figure is its spread over resamples of patients (`resampled`). Plain percentiles of the resamples, the
usual next step, miss the truth up to 17 times in a hundred where positives are few, so each kind of figure has the rule
that held in simulation (docs/metrics.md has the table): all work on the logit scale.

Shapes: N rows, C labels, R resamples.

MERGED: Student's t for errors that are themselves uncertain: its quantile, and the degrees of freedom of sums of variances.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import expit, logit, ndtri, owens_t, stdtrit

from ctbench_core.inference.resampling import RESAMPLES, Evidence, evidence, resampled
from ctbench_core.metrics import Floats, MetricFn, divide, ranking_figures

LEVEL = 0.95
_TAIL = (1 - LEVEL) / 2


def quantile(dof: ArrayLike) -> Floats:
    """Return the t quantile of a two-sided interval at `LEVEL`; the normal one for infinite freedom."""
    f = np.asarray(dof, np.float64)
    return np.where(np.isinf(f), ndtri(1 - _TAIL), stdtrit(np.where(np.isinf(f), 1.0, f), 1 - _TAIL))


def stretch(dof: ArrayLike, patients: ArrayLike) -> Floats:
    """Return by how much percentiles of resamples lie too near: sqrt(m / (m - 1)) t / z.

    The spread of resamples of m patients is that of a variance divided by m, and it is itself uncertain. Source:
    Hesterberg, Am. Stat. 2015 (expanded percentiles).
    """
    m = np.maximum(np.asarray(patients, np.float64), 2)
    return np.sqrt(m / (m - 1)) * quantile(dof) / ndtri(1 - _TAIL)


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


# Fewer patients of either class, or more undefined resamples, and no interval is given.
MIN_PATIENTS = 10
MAX_UNDEFINED = 0.05
# Patients of the scarcer class, in the median label, for an interval of macro AUPRC: with fewer its bias is in the way.
MIN_MACRO_AUPRC = 25
NO_LABEL = "no finding has an interval"
_EDGE = 1e-12  # keeps logits finite


@dataclass(frozen=True)
class Estimate:
    """A figure with its interval, for every label and their macro mean.

    Attributes:
        value: shape (C,); bounds: lower and upper, (C, 2), NaN where no interval is given.
        reasons: why a label has no interval, else None.
        macro: mean over the labels that have an interval; macro_bounds: its interval, (2,).
        macro_labels: how many labels those are; macro_reason: why the mean has no interval, else None.
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
    figures: MetricFn,
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
    spread, patients = standard_error(draws), rests_on.scarcer
    error = moderated_error(value, spread, rests_on) if name == "auroc" else spread
    dof = dof_of(name, rests_on)
    bounds = np.full((len(value), 2), np.nan)
    if not given.any():
        return Estimate(value, bounds, reasons, np.nan, np.full(2, np.nan), 0, error, NO_LABEL)
    bounds[given] = rate_interval(name, value[given], draws[:, given], error[given], dof[given], patients[given])
    macro, tries = float(value[given].mean()), macro_draws(draws[:, given])[:, 0]
    total = float(standard_error(tries)) * inflation(error[given], spread[given])
    of_t = macro_freedom(name, error[given], dof[given])
    macro_bounds = macro_interval(name, macro, tries, total, of_t, patients[given])
    reason = no_macro_interval(name, patients[given])
    return Estimate(value, bounds, reasons, macro, macro_bounds, int(given.sum()), error, reason)


def rate_interval(
    name: str, value: Floats, draws: Floats, error: Floats, dof: Floats, patients: ArrayLike, wider: ArrayLike = 1.0
) -> Floats:
    """Return intervals (C, 2) of figures (C,), from resamples (R, C) and errors; AUPRC takes half of its percentiles.

    ``wider`` is by how much the error exceeds the resamples' spread, for percentiles to be as much wider.
    """
    symmetric = rate_bounds(value, error, dof, patients)
    if name != "auprc":
        return symmetric
    # Percentiles alone miss where AUPRC is high, symmetric intervals where it is low.
    return midway(symmetric, expanded_percentiles(value, draws, stretch(dof, patients) * np.asarray(wider), patients))


def macro_interval(
    name: str, macro: float, draws: Floats, error: float, dof: float, patients: NDArray[np.intp]
) -> Floats:
    """Return the interval (2,) of a macro mean, from its resamples (R,); patients (C,) are those of its labels.

    AUPRC of few positives is too high, which a mean over labels does not average out: resamples repeat the bias, so it
    is taken off, and the spread in logits, which then is too small, made (m / (m - 1))^1.5 times as large, m those of the
    median label. NaN where the bias is too large for that.
    """
    if name != "auprc" or not 0 < macro < 1:
        return rate_bounds([macro], [error], [dof], patients.min())[0]
    if no_macro_interval(name, patients):
        return np.full(2, np.nan)
    m = float(np.median(patients))
    spread, in_logits = standard_error(draws), standard_error(logit(np.clip(draws, _EDGE, 1 - _EDGE)))
    wider = divide(error, spread) * (m / (m - 1)) ** 1.5
    middle = logit(np.clip(2 * macro - np.nanmean(draws), _EDGE, 1 - _EDGE))
    return np.asarray(expit(middle + np.array([-1, 1]) * quantile(dof) * in_logits * wider))


def no_macro_interval(name: str, patients: NDArray[np.intp]) -> str | None:
    """Say why a macro mean over labels with so many patients of the scarcer class, (C,), has no interval."""
    if not len(patients):
        return NO_LABEL
    m = float(np.median(patients))
    if name != "auprc" or m >= MIN_MACRO_AUPRC:
        return None
    return f"patients of the scarcer class in the median finding {m:g}: macro AUPRC needs {MIN_MACRO_AUPRC}"


def dof_of(name: str, rests_on: Evidence) -> Floats:
    """Return the degrees of freedom of t for a figure, (C,); infinite stands for the normal distribution.

    A share of counts needs no t: on the logit scale its normal interval is already wide enough.
    """
    m = rests_on.scarcer.astype(np.float64)
    if name == "auroc":
        return np.maximum(m + model_patients(m) - 1, 1)
    return np.maximum(m - 1, 1) if name == "auprc" else np.full(len(m), np.inf)


def macro_freedom(name: str, error: Floats, dof: Floats) -> float:
    """Return the degrees of freedom of t for a macro mean of labels of these errors and freedoms, (C,) each.

    Satterthwaite's would hold for AUPRC too if the spread of an AUPRC did not grow with its value: there it is the
    median label's.
    """
    return float(np.median(dof)) if name == "auprc" else satterthwaite(error**2, dof)


def model_patients(scarcer: ArrayLike) -> Floats:
    """Return how many patients the binormal model counts for beside those of the scarcer class: 2 sqrt(m)."""
    return np.asarray(2 * np.sqrt(np.asarray(scarcer, np.float64)))


def moderated_error(value: Floats, spread: Floats, rests_on: Evidence) -> Floats:
    """Return the error of AUROC, (C,): its spread over resamples, drawn towards that of two normal score distributions.

    Few positive patients often hold none that ranks low; AUROC then looks high and sure at once. The variance is the
    mean of the resampled one, which counts for the m patients of the scarcer class, and of the model's, which counts
    for 2 sqrt(m). The model's variance is (Phi2(z, z; 1/2) - A^2) (1/m+ + 1/m-), z = Phi^-1(A), with Phi2 by Owen's T.
    Source: moderation as in Smyth, Stat. Appl. Genet. Mol. Biol. 2004; the model's moments as in Hanley and McNeil,
    Radiology 1982.
    """
    area = np.clip(value, 1e-12, 1 - 1e-12)
    both = area - 2 * owens_t(ndtri(area), 1 / np.sqrt(3))
    sides = divide(1, rests_on.positive) + divide(1, rests_on.negative)
    model = np.maximum(both - area**2, 0.0) * sides
    m, more = rests_on.scarcer, model_patients(rests_on.scarcer)
    return np.sqrt(divide(m * spread**2 + more * model, m + more))


def moderation(value: Floats, draws: Floats, rests_on: Evidence) -> Floats:
    """Return by how much the moderated errors of AUROC of M models (M, C) exceed their spreads, per label (C,)."""
    spreads = standard_error(draws)
    moderated = np.stack([moderated_error(one, spread, rests_on) for one, spread in zip(value, spreads)])
    ratio = divide((moderated**2).sum(axis=0), (spreads**2).sum(axis=0))
    return np.sqrt(np.where(np.isnan(ratio), 1.0, ratio))


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


def macro_draws(draws: Floats) -> Floats:
    """Return the mean over labels of every resample: (..., C) to (..., 1), over the labels defined in it."""
    defined = ~np.isnan(draws)
    return divide(np.where(defined, draws, 0.0).sum(axis=-1), defined.sum(axis=-1))[..., None]


def inflation(error: Floats, spread: Floats) -> float:
    """Return by how much the errors of labels (C,) exceed their spreads, as one factor for their mean."""
    total = float((spread**2).sum())
    return float(np.sqrt((error**2).sum() / total)) if total > 0 else 1.0


def rate_bounds(value: ArrayLike, error: ArrayLike, dof: ArrayLike, patients: ArrayLike) -> Floats:
    """Return intervals (C, 2) of rates in [0, 1], symmetric on the logit scale: logit(v) -+ t error / (v (1 - v)).

    A rate of exactly 1 (or 0) has no logit and no spread: see `_exact_at_the_ends`. Source: Pepe 2003, section 5.2.
    """
    v, e = np.asarray(value, np.float64), np.asarray(error, np.float64)
    safe = np.where((v > 0) & (v < 1), v, 0.5)
    reach = quantile(dof) * e / (safe * (1 - safe))
    return _exact_at_the_ends(v, expit(np.stack([logit(safe) - reach, logit(safe) + reach], axis=-1)), patients)


def expanded_percentiles(value: Floats, draws: Floats, wider: ArrayLike, patients: ArrayLike) -> Floats:
    """Return intervals (C, 2) by percentiles of resamples (R, C), so many times as far from the value in logits."""
    safe = np.where((value > 0) & (value < 1), value, 0.5)
    middle, ends = logit(safe), logit(np.clip(percentiles(draws), _EDGE, 1 - _EDGE))
    return _exact_at_the_ends(value, expit(middle + (ends - middle) * np.asarray(wider)).T, patients)


def percentiles(draws: Floats) -> Floats:
    """Return the percentiles of resamples (R, ...) between which `LEVEL` of them lie, (2, ...)."""
    return np.asarray(np.nanquantile(draws, [_TAIL, 1 - _TAIL], axis=0))


def midway(first: Floats, second: Floats) -> Floats:
    """Return the bounds half-way between two intervals (C, 2) on the logit scale."""
    one, other = (logit(np.clip(bounds, _EDGE, 1 - _EDGE)) for bounds in (first, second))
    return np.where(first == second, first, expit((one + other) / 2))


def _exact_at_the_ends(value: Floats, bounds: Floats, patients: ArrayLike) -> Floats:
    """Give rates of exactly 1 or 0 the exact bound of a share that held in all patients of the scarcer class.

    .025^(1/patients). Source: Clopper and Pearson, Biometrika 1934.
    """
    exact = _TAIL ** (1 / np.maximum(np.asarray(patients, np.float64), 1)) + np.zeros_like(value)
    bounds = np.where((value == 1)[..., None], np.stack([exact, np.ones_like(exact)], axis=-1), bounds)
    return np.where((value == 0)[..., None], np.stack([np.zeros_like(exact), 1 - exact], axis=-1), bounds)
