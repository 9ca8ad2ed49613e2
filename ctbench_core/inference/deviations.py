"""What each patient adds to the error of a metric: without resampling, but for metrics with a function of their own.

AUROC has Obuchowski's placements. Other metrics leave out one patient at a time, exactly: the counts of a patient are taken
from all counts, and AUPRC follows from running sums (`jackknife`). A metric whose function is not known to be smooth has the
bootstrap, and what a resample adds in place of a patient.

Shapes: L layers, N rows, C findings, P patients, R resamples, D deviations: P or R.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

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


@dataclass(frozen=True)
class Rows:
    """The rows of L layers: targets (1 or L, N, C), scores (L, N, C), patient codes (N,), thresholds (C,).

    Attributes:
        draws: the number of resamples and their seed, for metrics with a function of their own.
    """

    targets: Floats
    scores: Floats
    codes: np.ndarray
    thresholds: Floats
    draws: tuple[int, int]

    def values(self, names: list[str], weights: Floats | None = None) -> dict[str, Floats]:
        """Return metrics (L, C) by name, or (R, L, C) in resamples by row weights (R, N)."""
        if len(self.targets) == 1:
            return metric_values(names, self.targets[0], self.scores, weights, self.thresholds)
        layers = [
            metric_values(names, targets, scores, weights, self.thresholds)
            for targets, scores in zip(self.targets, self.scores)
        ]
        return {name: np.stack([layer[name] for layer in layers], axis=-2) for name in names}

    def column(self, layer: int, finding: int) -> tuple[Floats, Floats]:
        """Return targets and scores (N,) of a finding in a layer."""
        return self.targets[min(layer, len(self.targets) - 1), :, finding], self.scores[layer, :, finding]

    @property
    def patients(self) -> int:
        return int(self.codes.max(initial=-1)) + 1

    @cached_property
    def has_rows(self) -> np.ndarray:
        """Whether a patient has rows with a known label, (P, L, C)."""
        return np.broadcast_to(self.sums(~np.isnan(self.targets)) > 0, (self.patients, *self.scores.shape[::2]))

    @cached_property
    def counts_without_each(self) -> ThresholdedMetrics:
        """The counts at the thresholds without each patient in turn, (P, L, C)."""
        called, positive, negative = self.scores >= self.thresholds, self.targets == 1, self.targets == 0
        masks = (called & positive, called & negative, ~called & positive, ~called & negative)
        tp, fp, fn, tn = (self.sums_without_each(mask) for mask in masks)
        return ThresholdedMetrics(tp, fp, fn, tn, reasons=[])

    def sums(self, values: np.ndarray) -> Floats:
        """Sum values (L, N, C) by patient, (P, L, C)."""
        if not self.patients:
            return np.empty((0, values.shape[0], values.shape[2]))
        order, starts = self._order
        own = np.add.reduceat(values[:, order].astype(np.float64), starts, axis=1)
        return np.asarray(own.transpose(1, 0, 2))

    def sums_without_each(self, values: np.ndarray) -> Floats:
        """Sum values (L, N, C) without each patient in turn, (P, L, C)."""
        own = self.sums(values)
        return np.asarray(own.sum(axis=0) - own)

    @cached_property
    def _order(self) -> tuple[np.ndarray, np.ndarray]:
        order = np.argsort(self.codes, kind="stable")
        return order, np.searchsorted(self.codes[order], np.arange(self.patients))


def deviations_of(metric: str, value: Floats, rows: Rows) -> Deviations:
    """Find the errors of a registered metric of value (L, C)."""
    declared = METRICS.resolve(metric)
    if declared.interval == "obuchowski":
        return _by_placements(metric, value, rows)
    if declared.interval == "bootstrap":
        return _by_resamples(metric, value, rows)
    without = _without_each(declared, rows)
    deviations, mean = jackknife(without, rows.has_rows)
    bias = (rows.has_rows.sum(axis=0) - 1) * (mean - value)
    reasons = _reasons(value, np.isnan(without) & rows.has_rows, "undefined without one of the patients")
    return Deviations(metric, value, _products(deviations), deviations, bias, reasons)


def _products(deviations: Floats) -> Floats:
    by_finding = np.ascontiguousarray(deviations.transpose(2, 1, 0))  # strided, the product takes 50 times as long
    return np.asarray(by_finding @ by_finding.transpose(0, 2, 1))


def _reasons(value: Floats, is_undefined: np.ndarray, reason: str, most: float = 0.0) -> list[str | None]:
    """Return why findings of value (L, C) have no error: ``reason`` where more than a share of (D, L, C) is undefined."""
    shares = [float(own.any(axis=1).mean()) if len(own) else 1.0 for own in np.moveaxis(is_undefined, -1, 0)]
    return [
        "undefined" if np.isnan(own).any() else reason if share > most else None for own, share in zip(value.T, shares)
    ]


def _by_placements(metric: str, value: Floats, rows: Rows) -> Deviations:
    layers, findings = value.shape
    deviations, errors = np.empty((rows.patients, layers, findings)), np.empty((findings, layers, layers))
    for c in range(findings):
        own = [placements(*rows.column(n, c), rows.codes, rows.patients) for n in range(layers)]
        errors[c] = covariance(own)
        for n, one in enumerate(own):
            deviations[:, n, c] = np.sqrt(one.factors[0]) * one.positive + np.sqrt(one.factors[1]) * one.negative
    reasons = _reasons(value, np.isnan(deviations), "one patient in a class")
    return Deviations(metric, value, errors, deviations, np.zeros(value.shape), reasons)


def _without_each(metric: Metric, rows: Rows) -> Floats:
    """Return a metric without each patient in turn, (P, L, C)."""
    if metric.kind == "thresholded":
        return rows.counts_without_each.value(metric.name)
    if metric.kind == "calibration":
        known = np.broadcast_to(~np.isnan(rows.targets), rows.scores.shape)
        errors = np.where(known, (rows.scores - rows.targets) ** 2, 0.0)
        return divide(rows.sums_without_each(errors), rows.sums_without_each(known))
    values = np.empty((rows.patients, *rows.scores.shape[::2]))
    for n, c in np.ndindex(values.shape[1:]):
        values[:, n, c] = auprc_without_each(*rows.column(n, c), rows.codes, rows.patients)
    return values


def _by_resamples(metric: str, value: Floats, rows: Rows) -> Deviations:
    """Resample patients. An undefined resample adds nothing to the error of its finding."""
    parts = [
        rows.values([metric], times[:, rows.codes].astype(np.float64))[metric]
        for times in draw_counts(rows.patients, *rows.draws)
    ]
    drawn = np.concatenate(parts) if parts else np.empty((0, *value.shape))
    defined = ~np.isnan(drawn).any(axis=1, keepdims=True)
    number = np.maximum(defined.sum(axis=0), 1)
    mean = np.where(defined, drawn, 0.0).sum(axis=0) / number
    deviations = np.where(defined, drawn - mean, 0.0) / np.sqrt(np.maximum(number - 1, 1))
    reason = f"undefined in over {MAX_UNDEFINED:.0%} of the resamples"
    reasons = _reasons(value, np.isnan(drawn), reason, MAX_UNDEFINED)
    return Deviations(metric, value, _products(deviations), deviations, mean - value, reasons)
