"""Every figure of an evaluation, for one zip: by finding, curves, and calibration of each finding."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from ctbench_core import figures
from ctbench_core.declared import interval_keys, metric_title
from ctbench_core.runs import EvaluationPaths
from ctbench_ui.evaluate import curves
from ctbench_ui.shared import cache, charts
from ctbench_ui.shared.pictures import Figure

_CURVES = {"pr": "Precision-recall", "roc": "ROC"}


def make(paths: EvaluationPaths, per_class: pd.DataFrame) -> Iterator[Figure]:
    """Yield the figures of an evaluation from its stored tables."""
    labels = list(per_class["finding"])
    for metric in (name for name in interval_keys() if name in per_class):
        alt = f"{metric_title(metric)} by finding, with 95 % intervals"
        yield Figure(f"findings-{metric}", figures.finding_dots(per_class, metric), per_class, alt)
    points = cache.load_table(paths.curves)
    bands = cache.load_table(paths.bands) if paths.bands.is_file() else None
    for curve, title in _CURVES.items():
        chart = figures.small_multiples(points, per_class, labels, curve, bands)
        alt = f"{title} curves of every finding, with the chance level"
        yield Figure(f"curves-{curve}", chart, curves.exported(points[points["curve"] == curve]), alt)
    yield from _per_finding(paths, labels)


def _per_finding(paths: EvaluationPaths, labels: list[str]) -> Iterator[Figure]:
    """Yield the reliability of each finding, and its net benefit where a Platt map was fitted."""
    bins = cache.load_table(paths.reliability) if paths.reliability.is_file() else None
    benefit = cache.load_table(paths.net_benefit) if paths.net_benefit.is_file() else None
    for label in labels:
        if bins is not None and len(rows := bins[bins["finding"] == label]):
            alt = f"Observed frequency by predicted probability of {label}, before and after calibration"
            yield Figure(f"reliability-{label}", charts.reliability(rows, label), rows, alt)
        if benefit is not None and len(rows := benefit[benefit["finding"] == label]):
            alt = f"Net benefit of {label} by threshold probability, beside treating all and treating none"
            yield Figure(f"net-benefit-{label}", charts.decision_curve(rows, label), rows, alt)
