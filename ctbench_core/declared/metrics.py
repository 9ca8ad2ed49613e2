"""All metrics of tables and pages: name in files and code, title, and meaning.

Names are those of the stored files and of JSON; ``f1_macro`` is the macro mean of ``f1``.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """One metric: name in files, title on the screen, a short title for narrow columns, and one line of help."""

    name: str
    title: str
    short: str
    help: str = ""


METRICS = {
    metric.name: metric
    for metric in (
        Metric("auprc", "AUPRC", "AUPRC", "Average precision: the area under the step-wise precision-recall curve."),
        Metric("auroc", "AUROC", "AUROC", "Area under the ROC curve; ties count half."),
        Metric("f1", "F1", "F1", "Harmonic mean of precision and recall."),
        Metric("f1_macro", "F1", "F1", "Mean of F1 over the findings where it is defined."),
        Metric("f1_tuned", "F1 at tuned thresholds", "F1, tuned", "F1 at thresholds chosen on validation."),
        Metric("precision", "Precision", "Prec.", "Fraction of positive predictions that are correct."),
        Metric("recall", "Recall", "Recall", "Fraction of positives that are predicted positive."),
        Metric("specificity", "Specificity", "Spec.", "Fraction of negatives that are predicted negative."),
        Metric("balanced_accuracy", "Balanced accuracy", "Bal. acc.", "Mean of recall and specificity."),
        Metric("support", "Positives", "Pos.", "Rows with the finding."),
        Metric("prevalence", "Prevalence", "Prev.", "Fraction of positives among known labels: the AUPRC of chance."),
        Metric("skill", "Skill", "Skill", "AUPRC above chance: (AUPRC - prevalence) / (1 - prevalence)."),
        Metric("threshold", "Threshold", "Threshold", "A prediction is positive from this probability on."),
        Metric("loss", "Loss", "Loss"),
        Metric("ece", "ECE", "ECE", "Mean gap of forecast and observed rate over 15 bins of equal mass."),
        Metric("brier", "Brier score", "Brier", "Mean squared error of the probabilities."),
        Metric("slope", "Slope", "Slope", "1 is perfect; below 1, forecasts are too extreme."),
        Metric("intercept", "Intercept", "Intercept", "0 is perfect; above 0, forecasts are too low on average."),
        Metric("mrr", "MRR", "MRR", "Mean reciprocal rank of the first hit."),
        Metric("map", "MAP", "MAP", "Mean over queries of the average precision of their hits."),
        Metric("median_rank", "Median rank", "Median rank", "Median over queries of the rank of the first hit."),
    )
}


def metric_title(name: str) -> str:
    """Return the title of a metric, or the name itself if it is not registered."""
    return METRICS[name].title if name in METRICS else name
