"""Intervals of a recipe: the same training with other seeds, judged on other patients.

Shapes: S seeds, N rows, C labels, R resamples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ctbench_core.errors import InputError
from ctbench_core.inference.intervals import (
    dof_of,
    inflation,
    macro_draws,
    macro_freedom,
    macro_interval,
    mixed_freedom,
    moderation,
    no_interval,
    no_macro_interval,
    rate_interval,
    standard_error,
)
from ctbench_core.inference.resampling import RESAMPLES, Evidence, evidence, resampled
from ctbench_core.metrics import Floats, MetricFn, divide, ranking_figures


@dataclass(frozen=True)
class RecipeEstimate:
    """Mean figure of a recipe over seeds, with its interval over seeds and patients.

    Attributes:
        mean, sd: over the seeds, each (C,); sd with S - 1 degrees of freedom, NaN for one seed.
        bounds: (C, 2), NaN where no interval is given; reasons: why, else None.
        patient_error, seed_error: the two parts of the standard error of the mean, each (C,).
        seeds: S.
        macro, macro_sd, macro_bounds, macro_patient_error, macro_seed_error, macro_reason: the same for the mean over
            the labels that have an interval.
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
    macro_reason: str | None


def recipe_intervals(
    targets: ArrayLike,
    scores: ArrayLike,
    patients: ArrayLike,
    figures: MetricFn = ranking_figures,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, RecipeEstimate]:
    """Estimate every figure of a recipe from the scores of its S seeds on the same rows, by name.

    targets (N, C) in {0, 1, NaN}; scores (S, N, C); patients (N,). Patients are resampled, the same for all seeds. The
    variance of the mean over seeds is that of its resamples (patients, and their interaction with these seeds) plus s^2
    / S (seeds, and the interaction again), less the interaction, which the resamples of each seed's distance from the
    mean estimate. Its degrees of freedom come from S - 1 and the patients of the scarcer class (`mixed_freedom`).
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
    """Estimate one figure of a recipe from its values (S, C) and their resamples (R, S, C)."""
    seeds = len(value)
    reasons = no_interval(draws.mean(axis=1), rests_on)
    if seeds < 2:
        reasons = [reason or "one seed: how far seeds lie apart cannot be told" for reason in reasons]
    given = np.array([reason is None for reason in reasons], bool) & ~np.isnan(value).any(axis=0)
    mean, dof = value.mean(axis=0), dof_of("auroc" if name == "auroc" else "auprc", rests_on)
    spread, between = _errors(value, draws)
    patient = spread * moderation(value, draws, rests_on) if name == "auroc" else spread
    bounds, macro_bounds = np.full((len(mean), 2), np.nan), np.full(2, np.nan)
    macro, macro_patient, macro_between = np.full((seeds, 1), np.nan), np.full(1, np.nan), np.full(1, np.nan)
    if given.any():
        error, of_t = _whole(patient, between, dof, seeds)
        wider = np.where(spread > 0, divide(error, spread), 1.0)
        bounds = rate_interval(name, mean, draws.mean(axis=1), error, of_t, rests_on.scarcer, wider)
        bounds[~given] = np.nan
        macro, tries = value[:, given].mean(axis=1, keepdims=True), macro_draws(draws[:, :, given])
        macro_patient, macro_between = _errors(macro, tries)
        macro_patient = macro_patient * inflation(patient[given], spread[given])
        of_patients = macro_freedom(name, patient[given], dof[given])
        error, of_t = _whole(macro_patient, macro_between, np.array([of_patients]), seeds)
        middle, tried = float(macro.mean()), tries.mean(axis=1)[:, 0]
        macro_bounds = macro_interval(name, middle, tried, float(error[0]), float(of_t[0]), rests_on.scarcer[given])
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
        macro_bounds=macro_bounds,
        macro_patient_error=float(macro_patient[0]),
        macro_seed_error=float(macro_between[0]),
        macro_reason=no_macro_interval(name, rests_on.scarcer[given]),
    )


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


def _whole(patient: Floats, between: Floats, dof: Floats, seeds: int) -> tuple[Floats, Floats]:
    """Return the error of the mean over seeds and its degrees of freedom, (C,) each."""
    variances = np.stack([patient**2, np.nan_to_num(between) ** 2], axis=-1)
    of_t = [mixed_freedom(v, [f, max(seeds - 1, 1)]) for v, f in zip(variances, dof)]
    return np.sqrt(variances.sum(axis=-1)), np.array(of_t)
