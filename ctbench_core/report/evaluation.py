"""Write the paper files of one run on one test set: a table as CSV and LaTeX, and a Methods paragraph.

They use only the stored METRICS, the run's config and the ledger.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from ctbench_core.declared import averaged_metrics, interval_keys, short_title
from ctbench_core.errors import InputError
from ctbench_core.formatting import plural
from ctbench_core.inference import MACRO
from ctbench_core.report import latex
from ctbench_core.report.external import external_sentences, prevalence_values
from ctbench_core.report.methods import (
    exact_sentence,
    interval_sentences,
    join_titles,
    limits_sentence,
    set_phrase,
    training_sentences,
)
from ctbench_core.runs import (
    Disclosures,
    Interval,
    MacroMetric,
    Metrics,
    Run,
    disclosures_of,
    read_metrics,
    read_tuning,
)
from ctbench_core.tables import sheet_bytes

_PARTS = ("value", "lo", "hi")
ELIGIBLE = "macro of eligible findings"


def run_paper(run: Run, on: str) -> dict[str, str]:
    """Return the paper files of a run on a test set, by name: table.csv, table.tex, methods.txt.

    Raises:
        InputError: the run has no metrics of this set.
    """
    metrics = read_metrics(run.paths.evaluation(on).metrics)
    if metrics is None:
        raise InputError(f"{run.paths.root} has no metrics of {on}. Evaluate the run on it first (evaluate run=...).")
    disclosures = disclosures_of([run], on)
    frame = paper_frame(metrics)
    return {
        "table.csv": sheet_bytes(disclosures.add_to(frame)).decode("utf-8"),
        "table.tex": latex_table(frame, metrics, run.name, disclosures),
        "methods.txt": methods_paragraph(run, metrics, read_tuning(run.paths.tuning), disclosures) + "\n",
    }


def paper_frame(metrics: Metrics) -> pd.DataFrame:
    """Return one row a finding, then the macro means: positives, and each metric with lo and hi, as printed.

    A test set of another data set has both prevalences and N behind.

    The macro mean averages all findings where the metric is defined. Where only some of them have an interval, it
    stands without one, and a last row holds the mean over these eligible findings with its interval.
    """
    keys, macro = {name: key for name, key in interval_keys().items() if key in metrics.macro_values}, metrics.macro
    rows = [
        _row(label, finding.value("support"), {name: (finding.value(name), finding.interval(name)) for name in keys})
        | prevalence_values(metrics, label)
        for label, finding in metrics.findings.items()
    ]
    rows.append(_row(MACRO, math.nan, {name: (macro[key].value, macro[key].interval) for name, key in keys.items()}))
    eligible = {name: macro[key].eligible or MacroMetric(math.nan) for name, key in keys.items()}
    if any(one.findings for one in eligible.values()):
        rows.append(_row(ELIGIBLE, math.nan, {name: (one.value, one.interval) for name, one in eligible.items()}))
    return pd.DataFrame(rows)


def _row(finding: str, positives: float, values: Mapping[str, tuple[float, Interval]]) -> dict[str, Any]:
    row: dict[str, Any] = {"finding": finding, "positives": positives}
    for name, (value, interval) in values.items():
        numbers = zip(_PARTS, (value, interval.lo, interval.hi))
        row |= {f"{name} {part}": round(number, latex.DIGITS) for part, number in numbers}
    return row


_TITLES = {MACRO: "Macro mean", ELIGIBLE: "Macro mean, eligible findings"}


def latex_table(frame: pd.DataFrame, metrics: Metrics, name: str, disclosures: Disclosures) -> str:
    """Return the table of `paper_frame` as LaTeX with booktabs."""
    names = [column.removesuffix(" value") for column in frame if column.endswith(" value")]
    lines = [" & ".join(["Finding", "Positives", *map(short_title, names)]) + " \\\\", "\\midrule"]
    for row in frame.to_dict("records"):
        is_macro = row["finding"] == MACRO
        lines += ["\\addlinespace"] if is_macro else []
        title = _TITLES.get(str(row["finding"])) or latex.escape(str(row["finding"]))
        positives = "" if math.isnan(row["positives"]) else f"{row['positives']:,.0f}"
        cells = [latex.metric_cell(*(row[f"{one} {part}"] for part in _PARTS)) for one in names]
        lines.append(" & ".join([title, positives, *cells]) + " \\\\")
    caption = f"{latex.escape(name)} on {latex.escape('; '.join(disclosures.sentences()))}."
    at_half = join_titles(metric.name for metric in averaged_metrics() if metric.kind == "thresholded")
    caption += f" {at_half} at threshold {metrics.threshold:g}."
    if metrics.has_tuned:
        caption += " Tuned: at the threshold of highest F1 on validation."
    if metrics.has_intervals:
        caption += " 95\\% intervals over patients."
    return latex.table(caption, len(names) + 1, lines)


def methods_paragraph(run: Run, metrics: Metrics, tuning: Mapping[str, Any] | None, disclosures: Disclosures) -> str:
    """Return a Methods paragraph of the run's training and its evaluation."""
    parts = training_sentences([run])
    ranking, thresholded = (
        [metric.name for metric in averaged_metrics() if metric.kind == kind] for kind in ("ranking", "thresholded")
    )
    findings = metrics.findings.values()
    undefined = sum(any(math.isnan(finding.value(name)) for name in ranking) for finding in findings)
    parts.append(
        f"The {'run was' if parts else 'predictions were'} evaluated on "
        f"{set_phrase([run], disclosures.set_name, metrics.n)} for {plural(len(findings), 'finding')}. "
        f"{join_titles(ranking)} (AUPRC as average precision), and {join_titles(thresholded)} at threshold "
        f"{metrics.threshold:g}, were computed per finding and averaged over the findings where they are defined{f' (undefined in {undefined})' if undefined else ''}."
    )
    if metrics.has_tuned and tuning:
        parts.append(
            "Thresholds of highest F1 were chosen per finding on the validation set "
            f"({plural(tuning['n']['patients'], 'patient')}); validation metrics at these thresholds were cross-fitted "
            f"over patients in {tuning['folds']} folds."
        )
    parts += external_sentences(metrics)
    if metrics.has_intervals:
        parts += _intervals(metrics, disclosures)
    return " ".join([*parts, *disclosures.methods()])


def _intervals(metrics: Metrics, disclosures: Disclosures) -> list[str]:
    """Return how the intervals of `paper_frame` were computed, and what they leave out."""
    names = [name for name, key in interval_keys().items() if key in metrics.macro_values]
    findings = metrics.findings.values()
    marks = {mark for finding in findings for name in names if (mark := finding.marks.get(name))}
    given = [(name, one.value(name)) for one in findings for name in names if not math.isnan(one.interval(name).lo)]
    if not metrics.is_current:
        return ["Intervals (95%) are those of an earlier version. Evaluate the run again for those of docs/metrics.md."]
    texts = interval_sentences(
        names, metrics.eligible, len(metrics.findings), marks, metrics.n, metrics.unknown_patients
    )
    if not given:
        return texts
    limits = limits_sentence(disclosures.label_origins, metrics.has_tuned)
    return [*texts, *exact_sentence(given), "They apply to this trained model, not to other seeds.", limits]
