"""Write sentences on a test set of another data set: its findings, prevalences and recalibration."""

from __future__ import annotations

from collections.abc import Sequence

from ctbench_core.declared import CALIBRATED, SOURCE_PREVALENCE, calibrated_keys, metrics_of, short_title
from ctbench_core.formatting import format_metric, plural
from ctbench_core.runs import Metrics

RECALIBRATION = "recalibrated for this test set's prevalence: uses its labels"
# Columns of a finding's prevalence: in training, in validation, here, and of how many volumes.
PREVALENCE = (*SOURCE_PREVALENCE.values(), "prevalence", "labelled")


def external_sentences(metrics: Metrics) -> list[str]:
    """Return how a test set of another data set was read and recalibrated, for a Methods paragraph; else nothing."""
    if metrics.external is None:
        return []
    texts = ["The test set is of another data set than the training data."]
    if metrics.external.label_map:
        joined = [name for name, pair in metrics.external.pairs.items() if len(pair["columns"]) > 1]
        text = f"Labels of {plural(len(metrics.findings), 'finding')} were read by the label map {metrics.external.label_map}"
        text += f" (SHA-256 {metrics.external.digest[:12]})"
        texts.append(text + (f"; {', '.join(joined)} from several columns, joined by any." if joined else "."))
    shares = (
        f"{label} "
        + "/".join(format_metric(finding.value(key)) for key in PREVALENCE[:-1])
        + f" (N {finding.value('labelled'):,.0f})"
        for label, finding in metrics.findings.items()
    )
    texts.append(f"Prevalence in training, validation and this test set, with N of the test set: {', '.join(shares)}.")
    if is_recalibrated(metrics):
        texts.append(
            "Thresholds and calibration come from the validation data of the training data set. Beside them, the intercept "
            "of the calibrated logits was moved by the shift of the log odds from the prevalence in validation to that in "
            "this test set (Saerens, Latinne and Decaestecker 2002), which uses its labels."
        )
    return texts


def is_recalibrated(metrics: Metrics) -> bool:
    """Whether calibration was also measured for the prevalence of the test set."""
    return any(CALIBRATED[-1] in key for finding in metrics.findings.values() for key in finding.values)


def prevalence_rows(metrics: Metrics) -> list[list[str]]:
    """Return prevalences, N, Brier, ECE and slope of every finding as text, headings first; see `external_sentences`."""
    names = [*(metric.name for metric in metrics_of("calibration")), "slope"]
    keys = [calibrated_keys(stage)[name] for name in names for stage in CALIBRATED] if is_recalibrated(metrics) else []
    titles = [f"{short_title(name)}, {stage}" for name in names for stage in CALIBRATED] if keys else []
    rows = [["finding", *map(short_title, PREVALENCE), *titles]]
    for label, finding in metrics.findings.items():
        shares = [format_metric(finding.value(key)) for key in PREVALENCE[:-1]]
        values = [format_metric(finding.value(key)) for key in keys]
        rows.append([label, *shares, f"{finding.value('labelled'):,.0f}", *values])
    return rows


def prevalence_values(metrics: Metrics, label: str) -> dict[str, float]:
    """Return the prevalences of a finding and its N as columns of a table; empty for a set of the same data set."""
    keys: Sequence[str] = PREVALENCE if metrics.external is not None else ()
    return {key: metrics.findings[label].value(key) for key in keys}
