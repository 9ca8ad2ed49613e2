"""Compare two models on the same volumes: difference of a metric, its interval, and a p-value by rank swaps.

Shapes: N rows, C labels, R resamples, M models.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ctbench_core.declared import METRICS, compared_metrics
from ctbench_core.errors import InputError
from ctbench_core.inference.intervals import (
    interval_rule,
    macro_error,
    macro_means,
    metric_dof,
    missing_interval_reasons,
    moderation_factor,
    percentiles,
    satterthwaite,
    standard_error,
    t_quantile,
)
from ctbench_core.inference.resampling import RESAMPLES, PatientCounts, count_patients, patient_codes, resampled
from ctbench_core.metrics import Floats, as_scores, as_targets, compared_metric_fn, metric_values

SWAPS = 1000
_CHUNK = 64


@dataclass(frozen=True)
class Difference:
    """The difference first - second of one metric, for every label and the macro mean.

    Attributes:
        metric: its name. delta: (C,); bounds: 95 % intervals (C, 2), NaN where none is given; p: (C,).
        reasons: why a label has no interval, else None.
        macro, macro_bounds, macro_p: of the mean over the labels that have an interval; macro_labels: their number.
    """

    metric: str
    delta: Floats
    bounds: Floats
    p: Floats
    reasons: list[str | None]
    macro: float
    macro_bounds: Floats
    macro_p: float
    macro_labels: int


def paired_difference(
    targets: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    patients: ArrayLike,
    resamples: int = RESAMPLES,
    swaps: int = SWAPS,
    seed: int = 0,
) -> dict[str, Difference]:
    """Compare two models on the same rows in every compared metric, such as AUROC and AUPRC, by label and macro.

    targets (N, C) in {0, 1, NaN}; first, second (N, C) scores; patients (N,). The interval is over resampled patients,
    the same for both models; p comes from `rank_swap`. Labels with too few patients have a difference, but neither
    interval nor p. Raises InputError for wrong shapes.
    """
    truth = as_targets(targets, axes=2)
    scores = np.stack([as_scores(first, truth), as_scores(second, truth)])
    if scores.ndim != 3:
        raise InputError(f"Scores must have the targets' shape {truth.shape}.")
    n_patients = count_patients(truth, patients)
    value = compared_metric_fn(truth, scores, None)
    draws = resampled(compared_metric_fn, truth, scores, patients, resamples, seed)
    swapped = rank_swap(truth, scores[0], scores[1], patients, swaps, seed)
    return {name: estimate_difference(name, value[name], draws[name], swapped[name], n_patients) for name in swapped}


def estimate_difference(
    name: str, value: Floats, draws: Floats, swapped: Floats, n_patients: PatientCounts
) -> Difference:
    """Estimate the difference of a metric (2, C) from its resamples (R, 2, C) and its differences after swaps (R', C)."""
    delta, delta_draws = value[0] - value[1], draws[:, 0] - draws[:, 1]
    reasons = missing_interval_reasons(delta_draws, n_patients)
    usable = np.array([reason is None for reason in reasons], bool) & ~np.isnan(delta)
    bounds, p = np.full((len(delta), 2), np.nan), np.full(len(delta), np.nan)
    if not usable.any():
        return Difference(name, delta, bounds, p, reasons, np.nan, np.full(2, np.nan), np.nan, 0)
    spread, dof = standard_error(delta_draws), metric_dof(name, n_patients)
    error = difference_error(name, value, draws, n_patients)
    bounds[usable] = _bounds(name, delta[usable], delta_draws[:, usable], error[usable], dof[usable])
    p[usable] = swap_p(delta[usable], swapped[:, usable])
    macro, macros = delta[usable].mean(keepdims=True), macro_means(delta_draws[:, usable])
    total_error = np.array([macro_error(macros[:, 0], error[usable], spread[usable])])
    total_dof = np.array([satterthwaite(error[usable] ** 2, dof[usable])])
    macro_bounds = _bounds(name, macro, macros, total_error, total_dof)[0]
    macro_p = float(swap_p(macro, swapped[:, usable].mean(axis=1, keepdims=True))[0])
    return Difference(name, delta, bounds, p, reasons, float(macro[0]), macro_bounds, macro_p, int(usable.sum()))


def difference_error(name: str, value: Floats, draws: Floats, n_patients: PatientCounts) -> Floats:
    """Return the error of the difference (C,) of two models' metrics (2, C), from their resamples (R, 2, C).

    For AUROC it is moderated like one model's error (`moderated_error`), but half as much: its variance is the mean of
    the resampled and the moderated one. Fully moderated, intervals near AUROC 1 held the true value in 97.1 %.
    """
    spread = standard_error(draws[:, 0] - draws[:, 1])
    return (
        spread * np.sqrt((1 + moderation_factor(value, draws, n_patients) ** 2) / 2)
        if interval_rule(name) == "moderated"
        else spread
    )


def _bounds(name: str, delta: Floats, draws: Floats, error: Floats, dof: Floats) -> Floats:
    """Return delta -+ t error; for AUPRC, whose differences are skewed, percentiles of the draws (R, C) times t / z."""
    if interval_rule(name) == "percentile":
        return np.asarray((delta + (percentiles(draws) - delta) * t_quantile(dof) / t_quantile(np.inf)).T)
    half_width = t_quantile(dof) * error
    return np.stack([delta - half_width, delta + half_width], axis=-1)


def rank_swap(
    targets: ArrayLike, first: ArrayLike, second: ArrayLike, patients: ArrayLike, swaps: int = SWAPS, seed: int = 0
) -> dict[str, Floats]:
    """Return differences (R, C) of every compared metric after random swaps of the two models, patient by patient.

    For ranking metrics each model's scores become ranks within the label, so that models on different scales can be
    exchanged; for metrics at a threshold the probabilities are exchanged. A patient's rows are exchanged with
    probability one half, in all labels at once. Both models are then subsets of the same 2 N rows: one sort serves all
    swaps, and a swap is a set of 0/1 weights. Source: Venkatraman and Begg, Biometrika 1996, with patients as the units.
    """
    truth = as_targets(targets, axes=2)
    known = ~np.isnan(truth)
    scores = np.concatenate([np.asarray(one, np.float64) for one in (first, second)])
    ranks = np.concatenate([_ranks(one, known) for one in np.split(scores, 2)])
    compared = compared_metrics()
    ranking = [name for name in compared if METRICS[name].kind == "ranking"]
    others = [name for name in compared if name not in ranking]
    both = np.concatenate([truth, truth])
    codes = patient_codes(patients)
    rng = np.random.default_rng([seed, 1])
    count = int(codes.max(initial=-1)) + 1
    parts: dict[str, list[Floats]] = {name: [] for name in compared}
    for start in range(0, swaps, _CHUNK):
        unswapped = rng.random((min(_CHUNK, swaps - start), count)) < 0.5
        rows = np.concatenate([codes, codes + count])
        weights = np.concatenate([unswapped, ~unswapped], axis=1)[:, rows].astype(np.float64)
        for names, rows_of in ((ranking, ranks), (others, scores)):
            one, other = (metric_values(names, both, rows_of, kept) for kept in (weights, 1 - weights))
            for name in names:
                parts[name].append(one[name] - other[name])
    return {name: np.concatenate(chunks) for name, chunks in parts.items()}


def _ranks(scores: Floats, known: np.ndarray) -> Floats:
    """Return mid-ranks within each label (N, C); 0 in rows with unknown label."""
    from scipy.stats import rankdata  # half a second to import

    ranks = np.zeros(scores.shape)
    for c, rows in enumerate(known.T):
        ranks[rows, c] = rankdata(scores[rows, c])
    return ranks


def swap_p(delta: Floats, swapped: Floats) -> Floats:
    """Return two-sided p-values (C,): the fraction of swapped differences (R, C) at least as large, with +1 for the data."""
    # Equal differences may differ by rounding, and must count as equal.
    extreme = np.abs(swapped) >= np.abs(delta) - 1e-12
    return np.asarray((1 + extreme.sum(axis=0)) / (len(swapped) + 1))
