"""Intervals of a recipe: the same training over other seeds and other patients.

Shapes: S seeds, N rows, C labels, R resamples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ctbench_core.errors import InputError
from ctbench_core.inference.intervals import (
    error_inflation,
    interval_rule,
    macro_dof,
    macro_interval,
    macro_means,
    metric_dof,
    missing_interval_reasons,
    missing_macro_reason,
    mixed_dof,
    moderation_factor,
    rate_interval,
    standard_error,
)
from ctbench_core.inference.resampling import RESAMPLES, PatientCounts, count_patients, resampled
from ctbench_core.metrics import Floats, MetricFn, compared_metric_fn, divide


@dataclass(frozen=True)
class RecipeEstimate:
    """A metric of a recipe: its mean over seeds, with an interval over seeds and patients.

    Attributes:
        mean, sd: over the seeds, each (C,); sd with S - 1 degrees of freedom, NaN for one seed.
        bounds: (C, 2), NaN where no interval is given; reasons: why a label has none, else None.
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
    metric_fn: MetricFn = compared_metric_fn,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, RecipeEstimate]:
    """Estimate every metric of a recipe, by name, from the scores of its S seeds on the same rows.

    targets (N, C) in {0, 1, NaN}; scores (S, N, C); patients (N,). Patients are resampled, the same for all seeds. The
    variance of the mean over seeds is that of its resamples (patients, and their interaction with these seeds) plus
    s^2 / S (seeds, and the interaction again), minus the interaction, which is estimated from the resamples of each
    seed's distance from the mean. Its degrees of freedom come from S - 1 and the patients of the scarcer class
    (`mixed_dof`). One seed has no interval. Raises InputError for wrong shapes.
    """
    values = np.asarray(scores, np.float64)
    if values.ndim != 3:
        raise InputError(f"Scores of a recipe must have shape (seeds, rows, labels), got {values.shape}.")
    truth = np.asarray(targets, np.float64)
    draws = resampled(metric_fn, truth, values, patients, resamples, seed)
    metrics = metric_fn(truth, values, None)
    n_patients = count_patients(truth, patients)
    return {name: estimate_recipe(name, np.asarray(metrics[name]), draws[name], n_patients) for name in metrics}


def estimate_recipe(name: str, value: Floats, draws: Floats, n_patients: PatientCounts) -> RecipeEstimate:
    """Estimate one metric of a recipe from its values (S, C) and their resamples (R, S, C)."""
    seeds = len(value)
    reasons = missing_interval_reasons(draws.mean(axis=1), n_patients)
    if seeds < 2:
        reasons = [reason or "one seed: the spread over seeds is unknown" for reason in reasons]
    usable = np.array([reason is None for reason in reasons], bool) & ~np.isnan(value).any(axis=0)
    is_moderated, mean = interval_rule(name) == "moderated", value.mean(axis=0)
    # With few seeds, ratios of counts need the t of the patients too.
    dof = metric_dof(name, n_patients) if is_moderated else np.maximum(n_patients.scarcer - 1.0, 1)
    spread, seed_error = _errors(value, draws)
    patient_error = spread * moderation_factor(value, draws, n_patients) if is_moderated else spread
    bounds, macro_bounds = np.full((len(mean), 2), np.nan), np.full(2, np.nan)
    macro, macro_patient, macro_seed = np.full((seeds, 1), np.nan), np.full(1, np.nan), np.full(1, np.nan)
    if usable.any():
        error, total_dof = _total(patient_error, seed_error, dof, seeds)
        inflation = np.where(spread > 0, divide(error, spread), 1.0)
        bounds = rate_interval(name, mean, draws.mean(axis=1), error, total_dof, n_patients.scarcer, inflation)
        bounds[~usable] = np.nan
        macro, macros = value[:, usable].mean(axis=1, keepdims=True), macro_means(draws[:, :, usable])
        macro_patient, macro_seed = _errors(macro, macros)
        macro_patient = macro_patient * error_inflation(patient_error[usable], spread[usable])
        patient_dof = macro_dof(name, patient_error[usable], dof[usable])
        error, total_dof = _total(macro_patient, macro_seed, np.array([patient_dof]), seeds)
        macro_bounds = macro_interval(
            name,
            float(macro.mean()),
            macros.mean(axis=1)[:, 0],
            float(error[0]),
            float(total_dof[0]),
            n_patients.scarcer[usable],
        )
    return RecipeEstimate(
        mean=mean,
        sd=_sd(value),
        bounds=bounds,
        reasons=reasons,
        patient_error=patient_error,
        seed_error=seed_error,
        seeds=seeds,
        macro=float(macro.mean()),
        macro_sd=float(_sd(macro)[0]),
        macro_bounds=macro_bounds,
        macro_patient_error=float(macro_patient[0]),
        macro_seed_error=float(macro_seed[0]),
        macro_reason=missing_macro_reason(name, n_patients.scarcer[usable]),
    )


def _sd(value: Floats) -> Floats:
    return value.std(axis=0, ddof=1) if len(value) > 1 else np.full(value.shape[1], np.nan)


def _errors(value: Floats, draws: Floats) -> tuple[Floats, Floats]:
    """Return the patient and the seed part of the error of the mean over seeds, (C,), from (S, C) and (R, S, C)."""
    seeds = len(value)
    patient = standard_error(draws.mean(axis=1))
    if seeds < 2:
        return patient, np.full(patient.shape, np.nan)
    variances = standard_error(draws - draws.mean(axis=1, keepdims=True)) ** 2
    interaction = variances.sum(axis=0) / (seeds * (seeds - 1))
    return patient, np.sqrt(np.maximum(value.var(axis=0, ddof=1) / seeds - interaction, 0.0))


def _total(patient_error: Floats, seed_error: Floats, dof: Floats, seeds: int) -> tuple[Floats, Floats]:
    """Return the error of the mean over seeds and its degrees of freedom, (C,) each."""
    variances = np.stack([patient_error**2, np.nan_to_num(seed_error) ** 2], axis=-1)
    total_dof = [mixed_dof(v, [f, max(seeds - 1, 1)]) for v, f in zip(variances, dof)]
    return np.sqrt(variances.sum(axis=-1)), np.array(total_dof)
