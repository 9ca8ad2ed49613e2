"""Measure a metric of several layers on the same patients: values, errors over patients, and what has an interval.

A layer is a model, a seed, a fold or a side of a comparison. Every estimate and test of the product is a sum of layers
with weights, so that one covariance serves them all.

Shapes: L layers, N rows, C findings, R resamples, K columns: the findings, `MACRO`, and `ELIGIBLE` where it differs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from ctbench_core.declared import METRICS, compared_metrics
from ctbench_core.errors import InputError
from ctbench_core.inference.jackknife import auprc_without_each, jackknife_errors
from ctbench_core.inference.obuchowski import covariance, placements
from ctbench_core.inference.patients import RESAMPLES, Evidence, evidence, patient_codes, patient_weights
from ctbench_core.inference.rules import MAX_UNDEFINED, MIN_PATIENTS, is_near_end, newcombe_variance
from ctbench_core.metrics import Floats, as_scores, as_targets, divide, metric_values

MACRO, ELIGIBLE = "macro", "macro_eligible"


def macro_start(columns: Sequence[str]) -> int:
    """Return the place of the first macro column: the last, or the one before `ELIGIBLE`. A finding may be named alike."""
    return len(columns) - (2 if columns[-1] == ELIGIBLE else 1)


def place_of(columns: Sequence[str], name: str) -> int | None:
    """Return the place of a column; None if there is none. `MACRO` and `ELIGIBLE` are looked for among macro means."""
    start = macro_start(columns)
    searched = range(start, len(columns)) if name in (MACRO, ELIGIBLE) else range(start)
    return next((place for place in searched if columns[place] == name), None)


@dataclass(frozen=True)
class Figures:
    """One metric of L layers.

    Attributes:
        metric: its name. columns: K names.
        value: (L, K), NaN where undefined. The macro mean of a layer is over the findings that are defined in it.
        covariance: (K, L, L) of the errors over patients. draws: (R, L, K), joint resamples of patients.
        patients: (K,), of the scarcer class, or in a rate's denominator; of a macro mean those of its scarcest finding.
            effective: (K,), their effective number.
        classes: (K, 2), effective patients with a positive and with a negative row; NaN for macro means.
        averaged: (K, C), the findings that a column averages. is_eligible: (C,), whether a finding has enough patients of each class.
        reasons: why a column has no interval, else None. mark: of all its intervals, or empty.
    """

    metric: str
    columns: list[str]
    value: Floats
    covariance: Floats
    draws: Floats
    patients: np.ndarray
    effective: Floats
    classes: Floats
    averaged: np.ndarray
    is_eligible: np.ndarray
    reasons: list[str | None]
    mark: str = ""

    def __len__(self) -> int:
        return len(self.value)

    @property
    def findings(self) -> np.ndarray:
        """How many findings a column averages, (K,)."""
        return np.asarray(self.averaged.sum(axis=1))

    @property
    def dof(self) -> Floats:
        """The degrees of freedom (K,) of errors over patients: m - 1, of a macro mean those of its scarcest finding."""
        return np.maximum(self.patients - 1.0, 1)

    @property
    def eligible(self) -> list[str]:
        """The findings with enough patients of each class for an interval."""
        return [name for name, is_eligible in zip(self.columns, self.is_eligible) if is_eligible]


def measure(
    targets: ArrayLike,
    scores: ArrayLike,
    patients: ArrayLike,
    labels: Sequence[str],
    metrics: Iterable[str] | None = None,
    thresholds: ArrayLike = 0.5,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Figures]:
    """Measure metrics, by name; by default the compared ones.

    Args:
        targets: (N, C) in {0, 1, NaN}; or (L, N, C) where layers have labels or rows of their own (NaN: not in it).
        scores: (L, N, C). patients: (N,). labels: the findings, C names.
        thresholds: () or (C,), for metrics at a threshold.

    Raises:
        InputError: wrong shapes.
    """
    truth, values, names = _check(targets, scores, patients, labels, metrics)
    codes = patient_codes(patients)
    limits = np.broadcast_to(np.asarray(thresholds, np.float64), truth.shape[-1:])

    def compute(weights: Floats | None) -> dict[str, Floats]:
        if truth.ndim == 2:
            return metric_values(names, truth, values, weights, limits)
        layers = [metric_values(names, one, own, weights, limits) for one, own in zip(truth, values)]
        return {name: np.stack([layer[name] for layer in layers], axis=-2) for name in names}

    exact = compute(None)
    parts = [compute(weights) for weights in patient_weights(patients, resamples, seed)]
    draws = {name: np.concatenate([part[name] for part in parts]) for name in names}
    layers = truth if truth.ndim == 3 else truth[None]
    return {
        name: figures_of(name, exact[name], draws[name], layers, values, codes, list(labels), limits) for name in names
    }


def _check(
    targets: ArrayLike, scores: ArrayLike, patients: ArrayLike, labels: Sequence[str], metrics: Iterable[str] | None
) -> tuple[Floats, Floats, list[str]]:
    truth = np.asarray(targets, np.float64)
    truth = np.stack([as_targets(one, axes=2) for one in truth]) if truth.ndim == 3 else as_targets(truth, axes=2)
    values = as_scores(scores, truth)
    if values.ndim != 3:
        raise InputError(f"Scores must have shape (layers, rows, findings), got {values.shape}.")
    rows, findings = truth.shape[-2:]
    if len(np.asarray(patients)) != rows or len(labels) != findings:
        raise InputError(
            f"Patients must be one a row and labels one a finding: got {len(np.asarray(patients))} and {len(labels)} for "
            f"{rows} rows and {findings} findings."
        )
    return truth, values, compared_metrics() if metrics is None else list(metrics)


def figures_of(
    metric: str,
    value: Floats,
    draws: Floats,
    targets: Floats,
    scores: Floats,
    codes: np.ndarray,
    labels: Sequence[str],
    thresholds: Floats,
) -> Figures:
    """Return the figures of one metric from its values (L, C) and resamples (R, L, C).

    targets (1 or L, N, C); scores (L, N, C); codes (N,), the number of each row's patient; thresholds (C,).
    """
    positive, negative = _evidence(targets == 1, codes), _evidence(targets == 0, codes)
    behind = _behind(metric, targets, scores, codes, thresholds, positive, negative)
    eligible = np.array([min(p.patients, n.patients) >= MIN_PATIENTS for p, n in zip(positive, negative)], bool)
    reasons = [
        _few_classes(p, n) or _few_behind(metric, own) or _undefined(value[:, c], draws[..., c])
        for c, (p, n, own) in enumerate(zip(positive, negative, behind))
    ]
    rule, deviations = METRICS[metric].interval if metric in METRICS else "bootstrap", None
    if rule == "obuchowski":
        errors = _auroc_covariance(targets, scores, codes)
    elif rule == "jackknife":
        deviations = _auprc_deviations(targets, scores, codes)
        errors = np.einsum("plc,pmc->clm", deviations, deviations)
    else:
        errors = np.stack([_draws_covariance(draws[..., c]) for c in range(len(labels))])
    counts = np.array([one.patients for one in behind])
    whole = evidence(codes, np.asarray((~np.isnan(targets)).any(axis=(0, 2))))
    findings = Figures(
        metric=metric,
        columns=list(labels),
        value=value,
        covariance=errors,
        draws=draws,
        patients=counts,
        effective=np.array([one.effective for one in behind]),
        classes=np.array([[p.effective, n.effective] for p, n in zip(positive, negative)]),
        averaged=np.eye(len(labels), dtype=bool),
        is_eligible=eligible,
        reasons=reasons,
        mark=whole.mark,
    )
    return with_macros(findings, deviations)


def with_macros(figures: Figures, deviations: Floats | None = None) -> Figures:
    """Add the mean over all defined findings, and over the eligible ones where these are others.

    Only label counts decide which findings are eligible, so that one list serves all models of a table. The errors of a
    mean are those of joint draws, or come from deviations by patient (P, L, C) where the findings' errors do.
    """
    defined = np.asarray((~np.isnan(figures.value)).any(axis=0))
    columns, usable = {MACRO: defined}, figures.is_eligible & defined
    reason = None
    if not usable.any():
        reason = f"no finding has {MIN_PATIENTS} patients of each class"
    elif (usable != defined).any():
        columns[ELIGIBLE] = usable
        reason = f"{usable.sum()} of {defined.sum()} findings have {MIN_PATIENTS} patients of each class"
    for name, chosen in columns.items():
        figures = _append(figures, name, chosen, reason if name == MACRO else None, deviations)
    return figures


def _append(figures: Figures, name: str, chosen: np.ndarray, reason: str | None, deviations: Floats | None) -> Figures:
    """Append the mean over the chosen findings (C,) as a column."""
    picked = np.flatnonzero(chosen)
    value = _mean_defined(figures.value[:, picked])
    draws = figures.draws[:, :, picked].mean(axis=2) if len(picked) else np.full(figures.draws.shape[:2], np.nan)
    if deviations is None or not len(picked):
        errors = _draws_covariance(draws)
    else:
        means = deviations[..., picked].mean(axis=2)
        errors = means.T @ means
    patients = int(figures.patients[picked].min(initial=figures.patients.max(initial=0)))
    return replace(
        figures,
        columns=[*figures.columns, name],
        value=np.column_stack([figures.value, value]),
        covariance=np.concatenate([figures.covariance, errors[None]]),
        draws=np.concatenate([figures.draws, draws[:, :, None]], axis=2),
        patients=np.append(figures.patients, patients),
        effective=np.append(figures.effective, figures.effective[picked].min(initial=np.inf)),
        classes=np.concatenate([figures.classes, np.full((1, 2), np.nan)]),
        averaged=np.concatenate([figures.averaged, chosen[None]]),
        reasons=[*figures.reasons, reason or _undefined(value, draws)],
    )


def wide_near_end(figures: Figures) -> tuple[Floats, np.ndarray]:
    """Return covariances (K, L, L) in which AUROCs near 1 or 0 have at least Newcombe's variance, and which are near, (L, K).

    Few patients are on the wrong side there, and the error from the data is too small (`near_end_bounds`). Correlations
    stay, a macro mean's variance grows as the sum of its findings', and where nobody is on the wrong side, half a patient is.
    """
    errors, is_near = figures.covariance.copy(), np.zeros(figures.value.shape, bool)
    if figures.metric not in METRICS or METRICS[figures.metric].interval != "obuchowski":
        return errors, is_near
    start = macro_start(figures.columns)
    own, area = np.einsum("kll->kl", figures.covariance)[:start], figures.value[:, :start].T
    patients = np.maximum(figures.patients[:start, None], 1)
    is_near[:, :start] = is_near_end(area, patients).T
    positive, negative = figures.classes[:start, :, None].transpose(1, 0, 2)
    inside = np.where(area == 1, 1 - 0.5 / patients, np.where(area == 0, 0.5 / patients, area))
    least = newcombe_variance(inside, positive, negative)
    wide = np.where(is_near[:, :start].T, np.fmax(own, least), own)
    for k, averaged in enumerate(figures.averaged):
        is_near[:, k] = is_near[:, :start][:, averaged].any(axis=1)
        before, after = own[averaged].sum(axis=0), wide[averaged].sum(axis=0)
        scale = np.sqrt(np.where(before > 0, after / np.where(before > 0, before, 1.0), 1.0))
        errors[k] *= np.outer(scale, scale)
        np.fill_diagonal(errors[k], np.where(before > 0, np.diag(errors[k]), after / max(averaged.sum(), 1) ** 2))
    return errors, is_near


def _mean_defined(values: Floats) -> Floats:
    """Return the mean of each row (L, C) over its defined findings, (L,)."""
    defined = ~np.isnan(values)
    return divide(np.where(defined, values, 0.0).sum(axis=1), defined.sum(axis=1))


def _draws_covariance(draws: Floats) -> Floats:
    """Return the covariance (L, L) of joint draws (R, L); undefined draws are left out."""
    defined = draws[~np.isnan(draws).any(axis=1)]
    if len(defined) < 2:
        return np.full((draws.shape[1],) * 2, np.nan)
    return np.atleast_2d(np.cov(defined, rowvar=False))


def _auprc_deviations(targets: Floats, scores: Floats, codes: np.ndarray) -> Floats:
    """Return what each patient adds to the errors of AUPRC, (P, L, C): see `jackknife_errors`."""
    count, layers, findings = int(codes.max(initial=-1)) + 1, len(scores), scores.shape[2]
    values = np.empty((count, layers, findings))
    for n, c in np.ndindex(layers, findings):
        values[:, n, c] = auprc_without_each(targets[min(n, len(targets) - 1), :, c], scores[n, :, c], codes, count)
    return jackknife_errors(values)


def _auroc_covariance(targets: Floats, scores: Floats, codes: np.ndarray) -> Floats:
    """Return the covariances (C, L, L) of AUROC by Obuchowski's form."""
    count, layers = int(codes.max(initial=-1)) + 1, len(scores)
    return np.stack(
        [
            covariance(
                [
                    placements(targets[min(n, len(targets) - 1), :, c], scores[n, :, c], codes, count)
                    for n in range(layers)
                ]
            )
            for c in range(scores.shape[2])
        ]
    )


def _evidence(masks: np.ndarray, codes: np.ndarray) -> list[Evidence]:
    """Return the patients behind each finding from masks (L, N, C): of the layer with the fewest."""
    layers = [[evidence(codes, column) for column in mask.T] for mask in masks]
    return [min(own, key=lambda one: (one.patients, one.effective)) for own in zip(*layers)]


# Masks (L, N, C) of the rows in a rate's denominator, from targets (1 or L, N, C) and calls (L, N, C).
_DENOMINATORS: Mapping[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "positive": lambda targets, called: targets == 1,
    "negative": lambda targets, called: targets == 0,
    "known": lambda targets, called: ~np.isnan(targets),
    "called": lambda targets, called: ~np.isnan(targets) & called,
    "uncalled": lambda targets, called: ~np.isnan(targets) & ~called,
    "positive or called": lambda targets, called: (targets == 1) | (~np.isnan(targets) & called),
}


def _behind(
    metric: str,
    targets: Floats,
    scores: Floats,
    codes: np.ndarray,
    thresholds: Floats,
    positive: list[Evidence],
    negative: list[Evidence],
) -> list[Evidence]:
    """Return the patients behind each finding's degrees of freedom: of the scarcer class, or of the denominator."""
    declared = METRICS.get(metric)
    if declared is None or declared.denominator == "scarcer":
        return [min(pair, key=lambda one: one.patients) for pair in zip(positive, negative)]
    if declared.denominator in ("positive", "negative"):
        return positive if declared.denominator == "positive" else negative
    return _evidence(_DENOMINATORS[declared.denominator](targets, scores >= thresholds), codes)


def _few_classes(positive: Evidence, negative: Evidence) -> str | None:
    if min(positive.patients, negative.patients) >= MIN_PATIENTS:
        return None
    counts = f"positive patients {positive.patients}, negative {negative.patients}"
    return f"{counts}: an interval needs {MIN_PATIENTS} of each"


def _few_behind(metric: str, behind: Evidence) -> str | None:
    if behind.patients >= MIN_PATIENTS:
        return None
    return f"{METRICS[metric].title} counts rows of {behind.patients} patients: an interval needs {MIN_PATIENTS}"


def _undefined(value: Floats, draws: Floats) -> str | None:
    """Return why values (L,) with resamples (R, L) have no interval: some are undefined."""
    if np.isnan(value).any():
        return "undefined"
    fraction = float(np.isnan(draws).any(axis=1).mean()) if len(draws) else 1.0
    return f"undefined in {fraction:.0%} of the resamples" if fraction > MAX_UNDEFINED else None
