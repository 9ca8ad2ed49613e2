"""What each patient adds to the error of a metric: without resampling, but for metrics with a function of their own.

AUROC has Obuchowski's placements. Other metrics leave out one patient at a time, exactly: the counts of a patient are taken
from all counts, and AUPRC follows from running sums (`jackknife`). A metric whose function is not known to be smooth has the
bootstrap, and what a resample adds in place of a patient.

Shapes: L layers, N rows, C findings, P patients, R resamples, D deviations: P or R.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ctbench_core.declared import METRICS, Metric
from ctbench_core.inference.jackknife import auprc_without_each, jackknife
from ctbench_core.inference.obuchowski import covariance, placements
from ctbench_core.inference.patients import draw_counts
from ctbench_core.inference.rules import MAX_UNDEFINED
from ctbench_core.metrics import Floats, ThresholdedMetrics, divide, metric_values


@dataclass(frozen=True)
class Deviations:
    """One metric of L layers, with its errors over patients.

    Attributes:
        metric: its name. value, bias: (L, C). covariance: (C, L, L). deviations: (D, L, C), whose products sum to the covariance, AUROC's but for
            a factor of order 1 / P between rows of both classes of a patient. reasons: (C,), why a finding has no error, or None.
    """

    metric: str
    value: Floats
    covariance: Floats
    deviations: Floats
    bias: Floats
    reasons: list[str | None]


def layer_values(
    names: list[str], targets: Floats, scores: Floats, weights: Floats | None, thresholds: Floats
) -> dict[str, Floats]:
    """Return metrics (L, C) by name, or (R, L, C) in resamples by row weights (R, N); arguments as `deviations_of`."""
    if len(targets) == 1:
        return metric_values(names, targets[0], scores, weights, thresholds)
    layers = [metric_values(names, one, own, weights, thresholds) for one, own in zip(targets, scores)]
    return {name: np.stack([layer[name] for layer in layers], axis=-2) for name in names}


def deviations_of(
    metric: str,
    value: Floats,
    targets: Floats,
    scores: Floats,
    codes: np.ndarray,
    thresholds: Floats,
    draws: tuple[int, int],
) -> Deviations:
    """Find the errors of a registered metric of value (L, C): targets (1 or L, N, C), scores (L, N, C), patient codes (N,), thresholds (C,).

    ``draws``: the number of resamples and their seed, for metrics with a function of their own.
    """
    declared, patients = METRICS.resolve(metric), int(codes.max(initial=-1)) + 1
    if declared.interval == "obuchowski":
        return _by_placements(metric, value, targets, scores, codes, patients)
    if declared.interval == "bootstrap":
        return _by_resamples(metric, value, targets, scores, codes, thresholds, draws)
    without = _without_each(declared, targets, scores, codes, patients, thresholds)
    known = _patient_sums(codes, patients)(~np.isnan(targets))
    has_rows = np.broadcast_to(known > 0, without.shape)
    deviations, mean = jackknife(without, has_rows)
    bias = (has_rows.sum(axis=0) - 1) * (mean - value)
    reasons = _reasons(value, np.isnan(without) & has_rows, "undefined without one of the patients")
    return Deviations(metric, value, _products(deviations), deviations, bias, reasons)


def _products(deviations: Floats) -> Floats:
    return np.asarray(deviations.transpose(2, 1, 0) @ deviations.transpose(2, 0, 1))


def _reasons(value: Floats, is_undefined: np.ndarray, reason: str, most: float = 0.0) -> list[str | None]:
    """Return why findings of value (L, C) have no error: ``reason`` where more than a share of (D, L, C) is undefined."""
    shares = [float(own.any(axis=1).mean()) if len(own) else 1.0 for own in np.moveaxis(is_undefined, -1, 0)]
    return [
        "undefined" if np.isnan(own).any() else reason if share > most else None for own, share in zip(value.T, shares)
    ]


def _by_placements(
    metric: str, value: Floats, targets: Floats, scores: Floats, codes: np.ndarray, patients: int
) -> Deviations:
    layers, findings = value.shape
    deviations, errors = np.empty((patients, layers, findings)), np.empty((findings, layers, layers))
    for c in range(findings):
        own = [placements(_of(targets, n)[:, c], scores[n, :, c], codes, patients) for n in range(layers)]
        errors[c] = covariance(own)
        for n, one in enumerate(own):
            deviations[:, n, c] = np.sqrt(one.factors[0]) * one.positive + np.sqrt(one.factors[1]) * one.negative
    reasons = _reasons(value, np.isnan(deviations), "one patient in a class")
    return Deviations(metric, value, errors, deviations, np.zeros(value.shape), reasons)


def _of(targets: Floats, layer: int) -> Floats:
    return targets[min(layer, len(targets) - 1)]


def _without_each(
    metric: Metric, targets: Floats, scores: Floats, codes: np.ndarray, patients: int, thresholds: Floats
) -> Floats:
    """Return a metric without each patient in turn, (P, L, C)."""
    sums = _patient_sums(codes, patients)

    def total(rows: np.ndarray) -> Floats:
        own = sums(rows)
        return np.asarray(own.sum(axis=0) - own)

    if metric.kind == "thresholded":
        called = scores >= thresholds
        masks = (
            called & (targets == 1),
            called & (targets == 0),
            ~called & (targets == 1),
            ~called & (targets == 0),
        )
        tp, fp, fn, tn = map(total, masks)
        return ThresholdedMetrics(tp, fp, fn, tn, reasons=[]).value(metric.name)
    if metric.kind == "calibration":
        known = np.broadcast_to(~np.isnan(targets), scores.shape)
        return divide(total(np.where(known, (scores - targets) ** 2, 0.0)), total(known))
    layers, _, findings = scores.shape
    values = np.empty((patients, layers, findings))
    for n, c in np.ndindex(layers, findings):
        values[:, n, c] = auprc_without_each(_of(targets, n)[:, c], scores[n, :, c], codes, patients)
    return values


def _patient_sums(codes: np.ndarray, patients: int) -> Callable[[np.ndarray], Floats]:
    """Return a function that sums rows (L, N, C) by patient, (P, L, C)."""
    order = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[order], np.arange(patients))

    def sums(rows: np.ndarray) -> Floats:
        if not patients:
            return np.empty((0, rows.shape[0], rows.shape[2]))
        own = np.add.reduceat(rows[:, order].astype(np.float64), starts, axis=1)
        return np.asarray(own.transpose(1, 0, 2))

    return sums


def _by_resamples(
    metric: str,
    value: Floats,
    targets: Floats,
    scores: Floats,
    codes: np.ndarray,
    thresholds: Floats,
    draws: tuple[int, int],
) -> Deviations:
    """Resample patients. An undefined resample adds nothing to the error of its finding."""
    count = int(codes.max(initial=-1)) + 1
    parts = [
        layer_values([metric], targets, scores, times[:, codes].astype(np.float64), thresholds)[metric]
        for times in draw_counts(count, *draws)
    ]
    drawn = np.concatenate(parts) if parts else np.empty((0, *value.shape))
    defined = ~np.isnan(drawn).any(axis=1, keepdims=True)
    number = np.maximum(defined.sum(axis=0), 1)
    mean = np.where(defined, drawn, 0.0).sum(axis=0) / number
    deviations = np.where(defined, drawn - mean, 0.0) / np.sqrt(np.maximum(number - 1, 1))
    reason = f"undefined in over {MAX_UNDEFINED:.0%} of the resamples"
    reasons = _reasons(value, np.isnan(drawn), reason, MAX_UNDEFINED)
    return Deviations(metric, value, _products(deviations), deviations, mean - value, reasons)
