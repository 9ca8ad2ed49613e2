"""The registered metrics: all that tables, files, pages and statistics need to know of each.

Names are those of files, JSON and code. A metric's macro mean has a key of its own (`Metric.macro`), and a metric at
the thresholds chosen on validation has the ending `TUNED`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from ctbench_core.declared.registry import Registry

Kind = Literal["ranking", "thresholded", "count", "calibration", "retrieval", "training"]
# How the error of a metric over patients is estimated; macro means have the rule of their findings. Obuchowski's form is AUROC's.
# The jackknife leaves out one patient at a time: AUPRC, the Brier score, and any function of counts. Other functions may not be
# smooth, and have the bootstrap.
IntervalRule = Literal["", "obuchowski", "jackknife", "bootstrap"]
Denominator = Literal["scarcer", "positive", "negative", "known", "called", "uncalled", "positive or called"]

TUNED = "_tuned"
# Of a finding on a test set of another data set: the keys of its prevalence in the run's splits.
SOURCE_PREVALENCE = {"train": "prevalence_train", "val": "prevalence_val"}
# Probabilities after Platt's map of validation, and recalibrated for the prevalence of a test set of another data set.
CALIBRATED = ("platt", "recalibrated")


@dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes:
        title, short: on the screen, and for narrow columns. help: one line.
        kind: what it is computed from. ``ranking``: targets and scores; ``thresholded`` and ``count``: confusion counts
            at a threshold; ``calibration``: targets and probabilities.
        function: ``module:name``. Of a ranking or calibration metric: (targets (N, C), scores (..., N, C), row weights
            (R, N) or None) to values (R, ..., C), or (..., C) without weights; of counts: `ThresholdedMetrics` to
            values of the counts' shape. NaN where undefined. Empty: the attribute of this name of `ranking_metrics`,
            `ThresholdedMetrics` or `brier_score`.
        undefined: why a value is undefined where both classes are present.
        low, high: its range. larger_is_better: None where neither direction is better.
        interval: how its error is estimated (``inference/``); empty: no interval is printed.
        denominator: the rows whose patients give the degrees of freedom, at least 10: of the scarcer class, positive,
            negative, with a known label, or called positive (``uncalled``: negative) at the threshold.
        biased: high in small samples, so that a macro mean's interval is centred at the value less this bias.
        macro: the key of its mean over findings in METRICS; empty: not averaged. Metrics with a macro mean are in the
            summaries of runs, studies, papers and trackers, and are choices of ``training.monitor``.
        tuned: also computed at the thresholds chosen on validation.
        compared: tested in Compare, studies and subgroups.
        brief: in short tables by finding: command line, Evaluate, studies.
        width: pixels of its column on the Evaluate page.
    """

    name: str
    title: str
    short: str
    help: str = ""
    kind: Kind = "thresholded"
    function: str = ""
    undefined: str = ""
    low: float = 0.0
    high: float = 1.0
    larger_is_better: bool | None = True
    interval: IntervalRule = ""
    denominator: Denominator = "scarcer"
    biased: bool = False
    macro: str = ""
    tuned: bool = False
    compared: bool = False
    brief: bool = True
    width: int = 58

    def __post_init__(self) -> None:
        """Refuse a rule that would give the error of another metric: it would look right."""
        rules = ("", "jackknife", "bootstrap") if self.kind == "thresholded" else ("", "bootstrap")
        if self.function and self.interval not in rules:
            raise ValueError(
                f"Metric {self.name}: interval={self.interval!r} is the error of another metric. Use 'bootstrap'."
            )

    @property
    def aliases(self) -> tuple[str, ...]:
        """Return the key of the macro mean, where it differs."""
        return (self.macro,) if self.macro not in ("", self.name) else ()


def _retrieval(name: str, title: str, help: str, high: float = 1.0, larger_is_better: bool = True) -> Metric:
    return Metric(name, title, title, help, kind="retrieval", high=high, larger_is_better=larger_is_better)


METRICS: Registry[Metric] = Registry(
    "metric",
    (
        Metric(
            "auprc",
            "AUPRC",
            "AUPRC",
            "Average precision: the area under the step-wise precision-recall curve.",
            kind="ranking",
            interval="jackknife",
            biased=True,
            macro="auprc",
            compared=True,
            width=56,
        ),
        Metric(
            "auroc",
            "AUROC",
            "AUROC",
            "Area under the ROC curve; ties count half.",
            kind="ranking",
            interval="obuchowski",
            macro="auroc",
            compared=True,
        ),
        Metric(
            "precision",
            "Precision",
            "Prec.",
            "Fraction of positive predictions that are correct: the positive predictive value, PPV.",
            undefined="no rows predicted positive",
            interval="jackknife",
            denominator="called",
            tuned=True,
            width=48,
        ),
        Metric(
            "recall",
            "Recall",
            "Recall",
            "Fraction of positives that are predicted positive: the sensitivity.",
            interval="jackknife",
            denominator="positive",
            tuned=True,
            width=52,
        ),
        Metric(
            "f1",
            "F1",
            "F1",
            "Harmonic mean of precision and recall.",
            interval="jackknife",
            denominator="positive or called",
            macro="f1_macro",
            tuned=True,
            width=46,
        ),
        Metric(
            "specificity",
            "Specificity",
            "Spec.",
            "Fraction of negatives that are predicted negative.",
            interval="jackknife",
            denominator="negative",
            tuned=True,
            brief=False,
        ),
        Metric(
            "npv",
            "NPV",
            "NPV",
            "Fraction of negative predictions that are correct: the negative predictive value.",
            undefined="no rows predicted negative",
            interval="jackknife",
            denominator="uncalled",
            tuned=True,
            brief=False,
        ),
        Metric("balanced_accuracy", "Balanced accuracy", "Bal. acc.", "Mean of recall and specificity.", brief=False),
        Metric(
            "support",
            "Positives",
            "Pos.",
            "Rows with the finding.",
            kind="count",
            high=math.inf,
            larger_is_better=None,
            width=52,
        ),
        Metric(
            "prevalence",
            "Prevalence",
            "Prev.",
            "Fraction of positives among known labels: the AUPRC of chance.",
            kind="count",
            larger_is_better=None,
            width=50,
        ),
        Metric(
            "brier",
            "Brier score",
            "Brier",
            "Mean squared error of the probabilities.",
            kind="calibration",
            interval="jackknife",
            denominator="known",
            larger_is_better=False,
        ),
        Metric(
            "ece",
            "ECE",
            "ECE",
            "Mean gap of forecast and observed rate over 15 bins of equal mass, less its bias.",
            kind="calibration",
            larger_is_better=False,
        ),
        _retrieval("mrr", "MRR", "Mean reciprocal rank of the first hit."),
        _retrieval("map", "MAP", "Mean over queries of the average precision of their hits."),
        _retrieval("median_rank", "Median rank", "Median over queries of the rank of the first hit.", math.inf, False),
        Metric("loss", "Loss", "Loss", kind="training", high=math.inf, larger_is_better=False),
    ),
)

# Columns of tables that are no metrics: title, short title and help.
COLUMNS = {
    "skill": ("Skill", "Skill", "AUPRC above chance: (AUPRC - prevalence) / (1 - prevalence)."),
    "threshold": ("Threshold", "Threshold", "A prediction is positive from this probability on."),
    "prevalence_train": ("Prevalence in training", "Prev. train", "Prevalence in the run's training data."),
    "prevalence_val": ("Prevalence in validation", "Prev. val.", "Prevalence in the run's validation data."),
    "labelled": ("Volumes with a known label", "N", "Volumes of this test set whose label is known."),
    "slope": ("Slope", "Slope", "1 is perfect; below 1, forecasts are too extreme."),
    "intercept": ("Intercept", "Intercept", "0 is perfect; above 0, forecasts are too low on average."),
}


def metrics_of(*kinds: Kind) -> list[Metric]:
    """Return the metrics of these kinds, kind by kind, in the order of their declaration."""
    return [metric for kind in kinds for metric in METRICS.values() if metric.kind == kind]


def finding_metrics() -> list[Metric]:
    """Return the metrics of a finding at one threshold, in the order of tables."""
    return metrics_of("ranking", "thresholded", "count")


def brief_metrics() -> list[Metric]:
    """Return the metrics of short tables by finding; counts have columns of their own."""
    return [metric for metric in metrics_of("ranking", "thresholded") if metric.brief]


def averaged_metrics() -> list[Metric]:
    """Return the metrics that have a macro mean."""
    return [metric for metric in METRICS.values() if metric.macro]


def tuned_metrics() -> list[Metric]:
    """Return the metrics that are also computed at the thresholds chosen on validation."""
    return [metric for metric in METRICS.values() if metric.tuned]


def calibrated_keys(stage: str) -> dict[str, str]:
    """Return the key in METRICS of each calibration metric, slope and intercept at a stage of `CALIBRATED`."""
    names = (*(metric.name for metric in metrics_of("calibration")), "slope", "intercept")
    return {name: f"{name}_{stage}" for name in names}


def compared_metrics() -> list[str]:
    """Return the names of the metrics that Compare, studies and subgroups test."""
    return [metric.name for metric in METRICS.values() if metric.compared]


def macro_keys() -> list[str]:
    """Return the keys of the macro means in METRICS."""
    return [metric.macro for metric in averaged_metrics()]


def interval_keys() -> dict[str, str]:
    """Return the finding's key of each metric with a macro mean, to the macro's key; tuned metrics last."""
    tuned = {metric.name + TUNED: metric.name + TUNED for metric in averaged_metrics() if metric.tuned}
    return {metric.name: metric.macro for metric in averaged_metrics()} | tuned


def metric_of(key: str) -> Metric | None:
    """Return the metric of a key in METRICS: a name, a macro's key, or a tuned one; None for another key."""
    return METRICS.get(METRICS.canonical(key.removesuffix(TUNED)))


def metric_title(key: str) -> str:
    """Return the title of a metric, macro mean or column, or the key itself if it is not registered."""
    if key in COLUMNS:
        return COLUMNS[key][0]
    metric = metric_of(key)
    return key if metric is None else metric.title + (" at tuned thresholds" if key.endswith(TUNED) else "")


def short_title(key: str) -> str:
    """Return the title for narrow columns; as `metric_title`."""
    if key in COLUMNS:
        return COLUMNS[key][1]
    metric = metric_of(key)
    return key if metric is None else metric.short + (", tuned" if key.endswith(TUNED) else "")


def metric_help(key: str) -> str:
    """Return one line of help on a metric or column; empty if there is none."""
    metric = metric_of(key)
    return COLUMNS[key][2] if key in COLUMNS else metric.help if metric else ""
