"""Every metric that a table or a page shows: its name in files and code, its title, and what it means.

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
        Metric("f1_tuned", "F1 at tuned thresholds", "F1, tuned", "F1 at the thresholds that validation chose."),
        Metric("precision", "Precision", "Prec.", "Share of positive calls that are right."),
        Metric("recall", "Recall", "Recall", "Share of positives that are called."),
        Metric("specificity", "Specificity", "Spec.", "Share of negatives that are not called."),
        Metric("balanced_accuracy", "Balanced accuracy", "Bal. acc.", "Mean of recall and specificity."),
        Metric("support", "Positives", "Pos.", "Rows with the finding."),
        Metric("prevalence", "Prevalence", "Prev.", "Share of positives among the known labels: the AUPRC of chance."),
        Metric("skill", "Skill", "Skill", "AUPRC above chance: (AUPRC - prevalence) / (1 - prevalence)."),
        Metric("threshold", "Threshold", "Threshold", "A prediction is positive from this probability on."),
        Metric("loss", "Loss", "Loss"),
    )
}


def metric_title(name: str) -> str:
    """Return the title of a metric; a name that is not registered stands for itself."""
    return METRICS[name].title if name in METRICS else name
