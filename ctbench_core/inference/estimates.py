"""Estimate a metric with its 95 % interval: of one trained model over patients, of a recipe over seeds and patients.

Shapes: L layers, S seeds, K columns (findings and macro means).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ctbench_core.declared import METRICS
from ctbench_core.inference.figures import Figures, macro_start, place_of, wide_near_end
from ctbench_core.inference.rules import (
    logit_bounds,
    mark_near_end,
    near_end_bounds,
    satterthwaite,
    seed_factor,
    t_quantile,
    unit_range,
)
from ctbench_core.metrics import Floats

TWO_SEEDS = "two seeds: the range over seeds is shown"  # a reason of no interval


@dataclass(frozen=True)
class Estimate:
    """A metric with its 95 % interval, by column.

    Attributes:
        value: (K,), of a recipe the mean over its seeds. bounds: (K, 2), NaN where `reasons` says why.
        error: (K,) standard error; patient_error, seed_error: its parts, the latter NaN for one model.
        sd, spread: (K,) and (K, 2), standard deviation and range over the seeds; NaN for one model.
        marks: what to know of each interval, or empty. findings: (K,), how many a column averages.
    """

    metric: str
    columns: list[str]
    value: Floats
    bounds: Floats
    error: Floats
    patient_error: Floats
    seed_error: Floats
    sd: Floats
    spread: Floats
    seeds: int
    reasons: list[str | None]
    marks: list[str]
    findings: np.ndarray

    def at(self, column: str) -> int | None:
        """Return the place of a column, of a macro mean or a finding; None if there is none."""
        return place_of(self.columns, column)


def estimate(figures: Figures, layers: Sequence[int] | None = None, overlap: float = 0.0) -> Estimate:
    """Estimate the metric of one layer, a trained model; or of several layers, a recipe by its seeds.

    The variance of a recipe's mean is the covariance of two seeds' errors over patients (what seeds share), plus
    s^2 (1/S + o/(1 - o)) from seeds (`seed_factor`): the parts of Obuchowski and Rockette's analysis of several readers,
    with seeds as readers. Degrees of freedom: `Figures.dof` for patients, S - 1 for seeds, and Satterthwaite's for their sum.
    Sources: Obuchowski and Rockette, Commun. Stat. Simul. 1995; Hillis, Statist. Med. 2007.

    Args:
        overlap: the mean share of training patients that two seeds have in common.
    """
    chosen = np.arange(len(figures)) if layers is None else np.asarray(layers)
    values, (wide, is_near) = figures.value[chosen], wide_near_end(figures)
    # A finding's interval near 1 is wider by another rule (`_bounds`).
    errors = np.where(_is_macro(figures)[:, None, None], wide, figures.covariance)[:, chosen][:, :, chosen]
    near: np.ndarray = np.asarray(is_near[chosen].any(axis=0))
    seeds, value = len(chosen), values.mean(axis=0)
    weights = np.bincount(chosen, minlength=len(figures)) / seeds
    nothing = np.full(len(value), np.nan)
    if seeds == 1:
        patient, seed, sd = errors[:, 0, 0], np.zeros(len(value)), nothing
        dof = figures.dof(weights, near)
        spread, reasons = np.full((len(value), 2), np.nan), list(figures.reasons)
    else:
        patient, sd = shared_variance(errors), values.std(axis=0, ddof=1)
        seed = sd**2 * seed_factor(seeds, overlap)[0]
        dof = np.array(
            [satterthwaite(v, [f, seeds - 1]) for v, f in zip(np.c_[patient, seed], figures.dof(weights, near))]
        )
        spread = np.stack([values.min(axis=0), values.max(axis=0)], axis=-1)
        reasons = [reason or (TWO_SEEDS if seeds == 2 else None) for reason in figures.reasons]
    bounds = _bounds(figures, chosen, value, patient, seed, t_quantile(dof), near)
    has_interval = np.array([reason is None for reason in reasons], bool)
    return Estimate(
        metric=figures.metric,
        columns=figures.columns,
        value=value,
        bounds=np.where(has_interval[:, None], bounds, np.nan),
        error=np.sqrt(patient + seed),
        patient_error=np.sqrt(patient),
        seed_error=nothing if seeds == 1 else np.sqrt(seed),
        sd=sd,
        spread=spread,
        seeds=seeds,
        reasons=reasons,
        marks=[mark_near_end(figures.mark, one) if has else "" for one, has in zip(near, has_interval)],
        findings=figures.findings,
    )


def shared_variance(errors: Floats) -> Floats:
    """Return the mean covariance of two different seeds, (K,), from (K, S, S): the variance that all seeds share; at least 0."""
    seeds = errors.shape[1]
    pairs = errors.sum(axis=(1, 2)) - np.einsum("kll->k", errors)
    return np.asarray(np.maximum(pairs / (seeds * (seeds - 1)), 0.0))


def _bounds(
    figures: Figures,
    layers: np.ndarray,
    value: Floats,
    patient: Floats,
    seed: Floats,
    t: Floats,
    is_near: np.ndarray,
) -> Floats:
    """Return intervals (K, 2) from the variances of patients and of seeds (K,), and which columns are near 1 or 0 (K,)."""
    low, width = unit_range(figures.metric)
    rate, error = (value - low) / width, np.sqrt(patient + seed) / width
    declared = METRICS.get(figures.metric)
    centre = rate
    if declared is not None and declared.biased:
        centre = np.where(_is_macro(figures), _unbiased(rate, figures.bias[layers].mean(axis=0) / width), rate)
    bounds = logit_bounds(centre, error, t, figures.effective)
    # A corrected centre must not leave the printed mean outside.
    bounds = np.stack([np.fmin(bounds[:, 0], rate), np.fmax(bounds[:, 1], rate)], axis=-1)
    near = is_near & ~_is_macro(figures)
    if near.any():
        positive, negative = figures.classes[near].T
        wider = near_end_bounds(rate[near], patient[near], seed[near], t[near], positive, negative)
        inner = np.where((rate[near] % 1 == 0)[:, None], wider, bounds[near])
        bounds[near] = np.stack([np.fmin(wider[:, 0], inner[:, 0]), np.fmax(wider[:, 1], inner[:, 1])], axis=-1)
    return np.asarray(low + width * np.where(np.isnan(value)[:, None], np.nan, bounds))


def _is_macro(figures: Figures) -> np.ndarray:
    return np.arange(len(figures.columns)) >= macro_start(figures.columns)


def _unbiased(rate: Floats, bias: Floats) -> Floats:
    """Return rates less their bias (K,), where that stays inside (0, 1)."""
    corrected = rate - bias
    inside = (corrected > 0) & (corrected < 1) & (rate > 0) & (rate < 1)
    return np.where(inside, corrected, rate)
