"""Intervals of a recipe: the same training with other seeds, judged on other patients.

Shapes: S seeds, N rows, C labels, R resamples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ctbench_core.errors import InputError
from ctbench_core.metrics.arrays import Floats
from ctbench_core.metrics.figures import ranking_figures
from ctbench_core.metrics.resampling import RESAMPLES, Evidence, Figures, evidence, resampled
from ctbench_core.metrics.uncertainty import (
    freedom_of,
    inflation,
    macro_draws,
    moderation,
    no_interval,
    rate_bounds,
    satterthwaite,
    standard_error,
)


@dataclass(frozen=True)
class RecipeEstimate:
    """Mean figure of a recipe over seeds, with its interval over seeds and patients.

    Attributes:
        mean, sd: over the seeds, each (C,); sd with S - 1 degrees of freedom, NaN for one seed.
        bounds: (C, 2), NaN where no interval is given; reasons: why, else None.
        patient_error, seed_error: the two parts of the standard error of the mean, each (C,).
        seeds: S.
        macro, macro_sd, macro_bounds, macro_patient_error, macro_seed_error: the same for the mean over the labels
            that have an interval.
    """

    mean: Floats
    sd: Floats
    bounds: Floats
    reasons: list[str | None]
    patient_error: Floats
    seed_error: Floats
    seeds: int
    macro: float
    macro_sd: float
    macro_bounds: Floats
    macro_patient_error: float
    macro_seed_error: float


def recipe_intervals(
    targets: ArrayLike,
    scores: ArrayLike,
    patients: ArrayLike,
    figures: Figures = ranking_figures,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, RecipeEstimate]:
    """Estimate every figure of a recipe from the scores of its S seeds on the same rows, by name.

    targets (N, C) in {0, 1, NaN}; scores (S, N, C); patients (N,). Patients are resampled, the same for all seeds. The
    variance of the mean over seeds is that of its resamples (patients, and their interaction with these seeds) plus s^2
    / S (seeds, and the interaction again), less the interaction, which the resamples of each seed's distance from the
    mean estimate. Its degrees of freedom are Satterthwaite's of S - 1 and of the patients of the scarcer class.
    One seed has no interval. Raises InputError for wrong shapes.
    """
    values = np.asarray(scores, np.float64)
    if values.ndim != 3:
        raise InputError(f"Scores of a recipe must have shape (seeds, rows, labels), got {values.shape}.")
    truth = np.asarray(targets, np.float64)
    draws = resampled(figures, truth, values, patients, resamples, seed)
    found = figures(truth, values, None)
    rests_on = evidence(truth, patients)
    return {name: recipe_of_draws(name, np.asarray(found[name]), draws[name], rests_on) for name in found}


def recipe_of_draws(name: str, value: Floats, draws: Floats, rests_on: Evidence) -> RecipeEstimate:
    """Value (S, C), draws (R, S, C)."""
    seeds = len(value)
    reasons = no_interval(draws.mean(axis=1), rests_on)
    if seeds < 2:
        reasons = [reason or "one seed: how far seeds lie apart cannot be told" for reason in reasons]
    given = np.array([reason is None for reason in reasons], bool) & ~np.isnan(value).any(axis=0)
    mean, freedom = value.mean(axis=0), np.maximum(rests_on.scarcer - 1, 1).astype(np.float64)
    spread, between = _errors(value, draws)
    patient = spread
    if name == "auroc":
        patient, freedom = spread * moderation(value, draws, rests_on), freedom_of(name, rests_on)
    bounds = _bounds(mean, patient, between, seeds, freedom, rests_on.scarcer)
    bounds[~given] = np.nan
    macro = _mean(value, given)
    tries = macro_draws(draws[:, :, given]) if given.any() else np.full((*draws.shape[:2], 1), np.nan)
    macro_patient, macro_between = _errors(macro, tries)
    macro_patient = macro_patient * inflation(patient[given], spread[given])
    macro_freedom = satterthwaite(patient[given] ** 2, freedom[given]) if given.any() else 1.0
    fewest = rests_on.scarcer[given].min(initial=10**9)
    macro_bounds = _bounds(macro.mean(axis=0), macro_patient, macro_between, seeds, np.array([macro_freedom]), fewest)
    return RecipeEstimate(
        mean=mean,
        sd=_sd(value),
        bounds=bounds,
        reasons=reasons,
        patient_error=patient,
        seed_error=between,
        seeds=seeds,
        macro=float(macro.mean()),
        macro_sd=float(_sd(macro)[0]),
        macro_bounds=macro_bounds[0] if given.any() else np.full(2, np.nan),
        macro_patient_error=float(macro_patient[0]),
        macro_seed_error=float(macro_between[0]),
    )


def _mean(value: Floats, given: np.ndarray) -> Floats:
    """Return the macro mean of each seed, (S, 1)."""
    return value[:, given].mean(axis=1, keepdims=True) if given.any() else np.full((len(value), 1), np.nan)


def _sd(value: Floats) -> Floats:
    return value.std(axis=0, ddof=1) if len(value) > 1 else np.full(value.shape[1], np.nan)


def _errors(value: Floats, draws: Floats) -> tuple[Floats, Floats]:
    """Return the patients' and the seeds' part of the error of the mean over seeds (C,), from (S, C) and (R, S, C)."""
    seeds = len(value)
    patient = standard_error(draws.mean(axis=1))
    if seeds < 2:
        return patient, np.full(patient.shape, np.nan)
    apart = standard_error(draws - draws.mean(axis=1, keepdims=True)) ** 2
    interaction = apart.sum(axis=0) / (seeds * (seeds - 1))
    return patient, np.sqrt(np.maximum(value.var(axis=0, ddof=1) / seeds - interaction, 0.0))


def _bounds(mean: Floats, patient: Floats, between: Floats, seeds: int, freedom: Floats, patients: ArrayLike) -> Floats:
    variances = np.stack([patient**2, np.nan_to_num(between) ** 2], axis=-1)
    total = np.array([satterthwaite(v, [f, max(seeds - 1, 1)]) for v, f in zip(variances, freedom)])
    return rate_bounds(mean, np.sqrt(variances.sum(axis=-1)), total, np.broadcast_to(patients, mean.shape))
