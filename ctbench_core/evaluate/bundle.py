"""The evaluation bundle of a test set: METRICS with intervals, tuned thresholds and calibration, and its tables."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ctbench_core.atomic import write_all, write_json
from ctbench_core.declared import (
    CALIBRATED,
    TUNED,
    averaged_metrics,
    calibrated_keys,
    finding_metrics,
    metrics_of,
    tuned_metrics,
)
from ctbench_core.evaluate.bundle_tables import (
    bands_frame,
    counts_frame,
    curves_frame,
    metadata_frame,
    per_class_frame,
    scores_frame,
    sigmoid,
)
from ctbench_core.evaluate.external import Source, with_source
from ctbench_core.evaluate.tuning import (
    BEFORE,
    PLATT,
    RECALIBRATED,
    RULES,
    calibration_frame,
    calibration_stages,
    cross_fitted_probabilities,
    net_benefit_frame,
    recalibrate,
    reliability_frame,
    tuned_thresholds,
)
from ctbench_core.inference import Estimate, estimate, macro_start, measure
from ctbench_core.manifest import Manifest
from ctbench_core.metrics import METHODS, cross_fitted_calls, macro, metric_values, thresholded_metrics
from ctbench_core.runs import (
    Disclosures,
    EvaluationPaths,
    FindingMetrics,
    Interval,
    MacroMetric,
    Metrics,
    announce_change,
    write_parquet,
)
from ctbench_core.tables import write_sheet

CALLED = 0.5  # between the calls 0 and 1


def compute_metrics(
    manifest: Manifest, probabilities: np.ndarray, leaked: list[str], threshold: float = 0.5
) -> Metrics:
    """Compute METRICS from probabilities of shape (N, C).

    Undefined metrics are NaN, with a reason by finding in ``undefined``.
    """
    declared = finding_metrics()
    names = [metric.name for metric in declared]
    values = metric_values(names, manifest.targets, probabilities, thresholds=threshold)
    reasons = thresholded_metrics(manifest.targets, probabilities, threshold).reasons
    findings, undefined = _by_finding(manifest, values), {}
    for label, reason in zip(manifest.labels, reasons):
        nan = [metric for metric in declared if np.isnan(findings[label].value(metric.name))]
        if reason or nan:
            undefined[label] = reason or f"{nan[0].title}: {nan[0].undefined or 'undefined'}"
    return Metrics(
        findings=findings,
        macro_values={metric.macro: float(macro(values[metric.name])[0]) for metric in declared if metric.macro},
        n=manifest.counts(),
        undefined=undefined,
        threshold=threshold,
        leak_patients=len(leaked),
    )


def _by_finding(manifest: Manifest, values: Mapping[str, np.ndarray]) -> dict[str, FindingMetrics]:
    return {
        label: FindingMetrics({name: float(column[c]) for name, column in values.items()})
        for c, label in enumerate(manifest.labels)
    }


def with_intervals(metrics: Metrics, manifest: Manifest, probabilities: np.ndarray) -> Metrics:
    """Return METRICS with the 95 % intervals of the declared metrics over patients; NaN where none is given."""
    names = [metric.name for metric in finding_metrics() if metric.interval]
    figures = measure(
        manifest.targets, probabilities[None], manifest.patients, manifest.labels, names, metrics.threshold
    )
    metrics = dataclasses.replace(metrics, eligible=tuple(next(iter(figures.values())).eligible))
    macros = {metric.name: metric.macro for metric in averaged_metrics()}
    return _with_estimates(metrics, {name: estimate(one) for name, one in figures.items()}, macros)


def with_one_volume(metrics: Metrics, manifest: Manifest, probabilities: np.ndarray) -> Metrics:
    """Return METRICS with a second analysis of one volume a patient: the first reconstruction of the first exam.

    The main analysis is per volume; patients with many volumes may be sicker, and this one counts each patient once.
    Exams are ordered by name, shorter names first (scan b before aa, 2 before 10); reconstructions by their number.
    """
    exams = manifest.exams.astype(str)
    order = np.lexsort([manifest.volumes.astype(str), manifest.recons, exams, np.strings.str_len(exams)])
    first = np.sort(order[np.unique(manifest.patients.astype(str)[order], return_index=True)[1]])
    if len(first) == len(manifest):
        return metrics
    subset = manifest.select(first)
    own = with_intervals(
        compute_metrics(subset, probabilities[first], [], metrics.threshold), subset, probabilities[first]
    )
    return dataclasses.replace(metrics, one_volume=own)


def _with_estimates(metrics: Metrics, estimates: Mapping[str, Estimate], macros: Mapping[str, str]) -> Metrics:
    """Return METRICS with intervals of findings by the estimates' names, and of macro means by their keys."""
    findings = {}
    for c, (label, finding) in enumerate(metrics.findings.items()):
        why = {name: reason for name, one in estimates.items() if (reason := one.reasons[c])}
        # A finding that is not eligible has one reason for all its metrics.
        is_eligible = label in metrics.eligible
        findings[label] = dataclasses.replace(
            finding,
            intervals={
                **finding.intervals,
                **{name: Interval(*one.bounds[c].tolist()) for name, one in estimates.items()},
            },
            no_interval=finding.no_interval or ("" if is_eligible else next(iter(why.values()), "")),
            reasons={**finding.reasons, **(why if is_eligible else {})},
            marks={**finding.marks, **{name: one.marks[c] for name, one in estimates.items() if one.marks[c]}},
        )
    averaged = {macros[name]: one for name, one in estimates.items() if macros.get(name)}
    means = {key: _macro_metric(one) for key, one in averaged.items()}
    reasons = {key: one.reasons[macro_start(one.columns)] for key, one in averaged.items()}
    return metrics.with_findings(
        findings,
        means={**metrics.means, **means},
        macro_no_interval={**metrics.macro_no_interval, **{key: why for key, why in reasons.items() if why}},
    )


def _macro_metric(one: Estimate) -> MacroMetric:
    """Return the macro mean of an estimate, and beside it that over the eligible findings where these are fewer."""
    means = [
        MacroMetric(float(one.value[at]), Interval(*one.bounds[at].tolist()), int(one.findings[at]))
        for at in range(macro_start(one.columns), len(one.columns))
    ]
    return dataclasses.replace(means[0], eligible=means[1] if len(means) > 1 else None)


def with_tuning(metrics: Metrics, manifest: Manifest, probabilities: np.ndarray, tuning: dict[str, Any]) -> Metrics:
    """Return METRICS with the metrics at tuned thresholds and their intervals, and validation - test.

    Validation metrics are optimistic, because validation also chose the epoch; its thresholds are cross-fitted.
    """
    metrics = at_tuned_thresholds(metrics, manifest, probabilities, tuning)
    metrics = _with_tuned_intervals(metrics, manifest, probabilities, tuned_thresholds(tuning, manifest.labels))
    validation = Metrics.from_json(tuning["validation"]).macro_values
    gaps = {key: validation[key] - value for key, value in metrics.macro_values.items() if key in validation}
    return dataclasses.replace(metrics, validation_minus_test=gaps)


def with_cross_fitted(
    metrics: Metrics, manifest: Manifest, probabilities: np.ndarray, tuning: dict[str, Any]
) -> Metrics:
    """Return METRICS of validation with those at tuned thresholds, cross-fitted over patients, and their intervals.

    Each row is called by the threshold that the other folds' patients chose; ``threshold_tuned`` is chosen on all. The
    intervals take the calls as given.
    """
    calls = cross_fitted_calls(manifest.targets, probabilities, manifest.patients, RULES[0])
    metrics = at_tuned_thresholds(metrics, manifest, calls, tuning, CALLED)
    return _with_tuned_intervals(metrics, manifest, calls, CALLED)


def _with_tuned_intervals(metrics: Metrics, manifest: Manifest, scores: np.ndarray, at: np.ndarray | float) -> Metrics:
    names = [metric.name for metric in tuned_metrics() if metric.interval]
    figures = measure(manifest.targets, scores[None], manifest.patients, manifest.labels, names, at)
    estimates = {name + TUNED: estimate(one) for name, one in figures.items()}
    macros = {metric.name + TUNED: metric.name + TUNED for metric in averaged_metrics()}
    return _with_estimates(metrics, estimates, macros)


def at_tuned_thresholds(
    metrics: Metrics, manifest: Manifest, scores: np.ndarray, tuning: dict[str, Any], at: float | None = None
) -> Metrics:
    """Return METRICS with the metrics at tuned thresholds, without intervals.

    Args:
        scores: probabilities (N, C), or calls in {0, 1} with ``at`` between them.
    """
    thresholds = tuned_thresholds(tuning, manifest.labels)
    declared = tuned_metrics()
    names = [metric.name for metric in declared]
    values = metric_values(names, manifest.targets, scores, thresholds=thresholds if at is None else at)
    columns = {name + TUNED: column for name, column in values.items()} | {f"threshold{TUNED}": thresholds}
    findings = {
        label: metrics.findings[label].with_values(one.values) for label, one in _by_finding(manifest, columns).items()
    }
    means = {one.name + TUNED: float(macro(values[one.name])[0]) for one in declared if one.macro}
    return metrics.with_findings(findings, macro_values={**metrics.macro_values, **means})


def write_bundle(
    paths: EvaluationPaths,
    manifest: Manifest,
    logits: np.ndarray,
    leaked: list[str],
    probabilities: np.ndarray | None = None,
    tuning: dict[str, Any] | None = None,
    disclosures: Disclosures | None = None,
    epoch: int | None = None,
    source: Source | None = None,
) -> Metrics:
    """Write the bundle of one test set from logits of shape (N, C), and return its METRICS.

    ``metrics.json`` is written last and marks the bundle as complete.

    Args:
        probabilities: by default those of the logits.
        tuning: the run's ``tuning.json``, for tuned thresholds and calibration.
        disclosures: added to METRICS and to the tables of findings.
        epoch: the epoch of the evaluated weights.
        source: the training data, where the test set is of another data set.
    """
    disclosures = disclosures or Disclosures(Path(manifest.name).stem, manifest.counts(), leak_patients=len(leaked))
    probabilities = sigmoid(logits) if probabilities is None else probabilities
    metrics = with_intervals(compute_metrics(manifest, probabilities, leaked), manifest, probabilities)
    if tuning:
        metrics = with_tuning(metrics, manifest, probabilities, tuning)
    stages = calibration_stages(logits, probabilities, manifest.labels, tuning)
    if source is not None:
        stages = recalibrate(stages, manifest, source.values("val", manifest.labels))
    metrics = with_source(with_one_volume(metrics, manifest, probabilities), manifest, source)
    return _write(paths, manifest, logits, stages, metrics, disclosures, epoch)


def write_validation_bundle(
    paths: EvaluationPaths,
    manifest: Manifest,
    logits: np.ndarray,
    tuning: dict[str, Any],
    disclosures: Disclosures,
    epoch: int | None,
) -> Metrics:
    """Write the bundle of the validation set, in the form of a test set's, and return its METRICS.

    Thresholds and calibration are cross-fitted over patients; ranking metrics are optimistic, because validation chose
    the epoch. Arguments as `write_bundle`.
    """
    probabilities = sigmoid(logits)
    metrics = with_intervals(compute_metrics(manifest, probabilities, []), manifest, probabilities)
    metrics = with_cross_fitted(metrics, manifest, probabilities, tuning)
    metrics = with_one_volume(metrics, manifest, probabilities)
    stages = {BEFORE: probabilities} | {
        method: cross_fitted_probabilities(manifest.targets, logits, manifest.patients, method) for method in METHODS
    }
    return _write(paths, manifest, logits, stages, metrics, disclosures, epoch)


def _write(
    paths: EvaluationPaths,
    manifest: Manifest,
    logits: np.ndarray,
    stages: Mapping[str, np.ndarray],
    metrics: Metrics,
    disclosures: Disclosures,
    epoch: int | None,
) -> Metrics:
    """Write the files of a bundle; ``metrics.json`` last."""
    probabilities, calibration = stages[BEFORE], calibration_frame(manifest, stages)
    metrics = disclosed(_with_calibration(metrics, calibration), disclosures, epoch)
    tables = {
        paths.scores: scores_frame(manifest, logits, probabilities),
        paths.curves: curves_frame(manifest, probabilities),
        paths.bands: bands_frame(manifest, probabilities),
        paths.counts: counts_frame(manifest.targets, probabilities, manifest.labels),
        paths.reliability: reliability_frame(manifest, stages),
        paths.metadata: metadata_frame(manifest),
    }
    if PLATT in stages:
        tables[paths.net_benefit] = net_benefit_frame(manifest, stages[PLATT])
    for path, frame in tables.items():
        write_parquet(path, frame)
    write_all(
        [
            partial(write_sheet, paths.calibration, disclosures.add_to(calibration)),
            partial(write_sheet, paths.per_class, disclosures.add_to(per_class_frame(metrics))),
            partial(write_json, paths.metrics, metrics.to_json()),
        ]
    )
    announce_change(paths.root.parent.parent)
    return metrics


def write_scores(
    paths: EvaluationPaths,
    manifest: Manifest,
    logits: np.ndarray,
    leaked: list[str],
    tuning: dict[str, Any] | None,
    disclosures: Disclosures,
    epoch: int | None = None,
    source: Source | None = None,
) -> Metrics:
    """Write scores and METRICS without intervals, curves and calibration, in a tenth of the time of `write_bundle`.

    A study compares its runs by their scores; evaluating a run on its own writes the full bundle.
    """
    probabilities = sigmoid(logits)
    metrics = with_source(compute_metrics(manifest, probabilities, leaked), manifest, source)
    metrics = disclosed(metrics, disclosures, epoch)
    metrics = dataclasses.replace(metrics, detail="scores")
    if tuning:
        metrics = at_tuned_thresholds(metrics, manifest, probabilities, tuning)
    write_parquet(paths.scores, scores_frame(manifest, logits, probabilities))
    write_all(
        [
            partial(write_sheet, paths.per_class, disclosures.add_to(per_class_frame(metrics))),
            partial(write_json, paths.metrics, metrics.to_json()),
        ]
    )
    announce_change(paths.root.parent.parent)
    return metrics


def disclosed(metrics: Metrics, disclosures: Disclosures, epoch: int | None = None) -> Metrics:
    """Return METRICS with their disclosures and the evaluated epoch: they are stale when the best epoch is another."""
    return dataclasses.replace(Metrics.from_json(metrics.to_json() | disclosures.to_json()), best_epoch=epoch)


def _with_calibration(metrics: Metrics, calibration: pd.DataFrame) -> Metrics:
    """Return METRICS with the calibration metrics of the uncalibrated probabilities.

    Where they were recalibrated for the prevalence of the test set, those of both calibrated stages stand beside them.
    """
    rows = {(row["finding"], row["stage"]): row for row in calibration.to_dict("records")}
    names = [metric.name for metric in metrics_of("calibration")]
    stages = CALIBRATED if (calibration["stage"] == RECALIBRATED).any() else ()
    findings = {}
    for label, finding in metrics.findings.items():
        values = {name: float(rows[label, BEFORE][name]) for name in names}
        values |= {
            key: float(rows[label, stage][name]) for stage in stages for name, key in calibrated_keys(stage).items()
        }
        findings[label] = finding.with_values(values)
    return metrics.with_findings(findings)
