"""Measure a metric of several layers on the same patients: values, errors over patients, and what has an interval.

A layer is a model, a seed, a fold or a side of a comparison. Every estimate and test of the product is a sum of layers
with weights, so that what each patient adds to the error of a layer serves them all (`deviations`).

Shapes: L layers, N rows, C findings, D deviations, K columns: the findings, `MACRO`, and `ELIGIBLE` where it differs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from ctbench_core.declared import METRICS, compared_metrics
from ctbench_core.errors import InputError
from ctbench_core.inference.deviations import Deviations, Rows, deviations_of
from ctbench_core.inference.patients import RESAMPLES, Evidence, evidence, fewest, patient_codes
from ctbench_core.inference.rules import MIN_PATIENTS, is_near_end, newcombe_variance, variance_dof
from ctbench_core.metrics import Floats, as_scores, as_targets, divide

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
        covariance: (K, L, L) of the errors over patients.
        deviations: (D, L, K), what each patient adds to these errors. bias: (L, K), as the same patients estimate it.
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
    deviations: Floats
    bias: Floats
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

    def dof(self, weights: Floats, is_near: np.ndarray) -> Floats:
        """Return the degrees of freedom (K,) of the error of a weighted sum of layers, weights (L,), over patients.

        They are those of the variance estimate (`variance_dof`), at most the effective patients less 1, of a macro mean those of its
        scarcest finding. The variance of a rate follows from its value, and where ``is_near`` (K,) an end, it is not that of the
        data: only the patients count.
        """
        most = np.maximum(self.effective - 1.0, 1)
        declared = METRICS.get(self.metric)
        if declared is not None and declared.kind == "thresholded":
            return most
        own = variance_dof(np.einsum("dlk,l->dk", self.deviations, weights))
        return np.where(is_near, most, np.clip(own, 1, most))

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
        resamples, seed: of metrics with a function of their own; others are not resampled.

    Raises:
        InputError: wrong shapes.
    """
    truth, values, names = _check(targets, scores, patients, labels, metrics)
    codes = patient_codes(patients)
    limits = np.broadcast_to(np.asarray(thresholds, np.float64), truth.shape[-1:])
    rows = Rows(truth if truth.ndim == 3 else truth[None], values, codes, limits, (resamples, seed))
    return {
        name: _figures(rows, list(labels), deviations_of(name, value, rows))
        for name, value in rows.values(names).items()
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


def _figures(rows: Rows, labels: list[str], errors: Deviations) -> Figures:
    """Return the figures of one metric from its errors."""
    metric, targets, codes = errors.metric, rows.targets, rows.codes
    positive, negative = _evidence(targets == 1, codes), _evidence(targets == 0, codes)
    behind = _behind(metric, rows, positive, negative)
    reasons = [
        _few_classes(p, n) or _few_behind(metric, own) or undefined
        for p, n, own, undefined in zip(positive, negative, behind, errors.reasons)
    ]
    whole = evidence(codes, np.asarray((~np.isnan(targets)).any(axis=(0, 2))))
    findings = Figures(
        metric=metric,
        columns=labels,
        value=errors.value,
        covariance=errors.covariance,
        deviations=errors.deviations,
        bias=errors.bias,
        patients=np.array([one.patients for one in behind]),
        effective=np.array([one.effective for one in behind]),
        classes=np.array([[p.effective, n.effective] for p, n in zip(positive, negative)]),
        averaged=np.eye(len(labels), dtype=bool),
        is_eligible=np.array([min(p.patients, n.patients) >= MIN_PATIENTS for p, n in zip(positive, negative)], bool),
        reasons=reasons,
        mark=whole.mark,
    )
    return with_macros(findings)


def with_macros(figures: Figures) -> Figures:
    """Add the mean over all defined findings, and over the eligible ones where these are others.

    Only label counts decide which findings are eligible, so that one list serves all models of a table. What a patient adds
    to the error of a mean is the mean of what it adds to those of the findings.
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
        figures = _append(figures, name, chosen, reason if name == MACRO else None)
    return figures


def _append(figures: Figures, name: str, chosen: np.ndarray, reason: str | None) -> Figures:
    """Append the mean over the chosen findings (C,) as a column."""
    picked = np.flatnonzero(chosen)
    value = _mean_defined(figures.value[:, picked])
    deviations = figures.deviations[..., picked].sum(axis=2) / max(len(picked), 1)
    patients = int(figures.patients[picked].min(initial=figures.patients.max(initial=0)))
    undefined = "undefined" if np.isnan(figures.value[:, picked]).any() or not len(picked) else None
    return replace(
        figures,
        columns=[*figures.columns, name],
        value=np.column_stack([figures.value, value]),
        covariance=np.concatenate([figures.covariance, (deviations.T @ deviations)[None]]),
        deviations=np.concatenate([figures.deviations, deviations[:, :, None]], axis=2),
        bias=np.column_stack([figures.bias, _mean_defined(figures.bias[:, picked])]),
        patients=np.append(figures.patients, patients),
        effective=np.append(figures.effective, figures.effective[picked].min(initial=np.inf)),
        classes=np.concatenate([figures.classes, np.full((1, 2), np.nan)]),
        averaged=np.concatenate([figures.averaged, chosen[None]]),
        reasons=[
            *figures.reasons,
            reason or next((figures.reasons[c] for c in picked if figures.reasons[c]), undefined),
        ],
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


def _evidence(masks: np.ndarray, codes: np.ndarray) -> list[Evidence]:
    """Return the patients behind each finding from masks (L, N, C): the fewest of any layer."""
    return [fewest(own) for own in zip(*([evidence(codes, column) for column in mask.T] for mask in masks))]


# Masks (L, N, C) of the rows in a rate's denominator, from targets (1 or L, N, C) and calls (L, N, C).
_DENOMINATORS: Mapping[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "positive": lambda targets, called: targets == 1,
    "negative": lambda targets, called: targets == 0,
    "known": lambda targets, called: ~np.isnan(targets),
    "called": lambda targets, called: ~np.isnan(targets) & called,
    "uncalled": lambda targets, called: ~np.isnan(targets) & ~called,
    "positive or called": lambda targets, called: (targets == 1) | (~np.isnan(targets) & called),
}


def _behind(metric: str, rows: Rows, positive: list[Evidence], negative: list[Evidence]) -> list[Evidence]:
    """Return the patients behind each finding's degrees of freedom: of the scarcer class, or of the denominator."""
    declared = METRICS.get(metric)
    if declared is None or declared.denominator == "scarcer":
        return [fewest(pair) for pair in zip(positive, negative)]
    if declared.denominator in ("positive", "negative"):
        return positive if declared.denominator == "positive" else negative
    return _evidence(_DENOMINATORS[declared.denominator](rows.targets, rows.scores >= rows.thresholds), rows.codes)


def _few_classes(positive: Evidence, negative: Evidence) -> str | None:
    if min(positive.patients, negative.patients) >= MIN_PATIENTS:
        return None
    counts = f"positive patients {positive.patients}, negative {negative.patients}"
    return f"{counts}: an interval needs {MIN_PATIENTS} of each"


def _few_behind(metric: str, behind: Evidence) -> str | None:
    if behind.patients >= MIN_PATIENTS:
        return None
    return f"{METRICS[metric].title} counts rows of {behind.patients} patients: an interval needs {MIN_PATIENTS}"
