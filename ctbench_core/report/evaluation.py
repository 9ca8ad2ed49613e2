"""What a paper needs of one run on one test set: a table as CSV and LaTeX, and a Methods paragraph of what was done.

All is written from the stored METRICS, the run's config and the ledger; what they do not hold is not said.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from ctbench_core.evaluate import RULES, read_tuning
from ctbench_core.inference import MIN_MACRO_AUPRC, MIN_PATIENTS, RESAMPLES
from ctbench_core.report import latex
from ctbench_core.report.methods import training_sentences
from ctbench_core.runs import Disclosures, Run, disclosures_of, read_json

MACRO = "macro"
# Column: name of the figure by finding, name of its macro mean, heading.
_FIGURES = {
    "auprc": ("auprc", "AUPRC"),
    "auroc": ("auroc", "AUROC"),
    "f1": ("f1_macro", "F1"),
    "f1_tuned": ("f1_tuned", "F1, tuned"),
}


def run_paper(run: Run, on: str) -> dict[str, str]:
    """Return the paper's files of a run on an opened test set, by name: table.csv, table.tex, methods.txt."""
    metrics = read_json(run.paths.evaluation(on).metrics) or {}
    tuning = read_tuning(run.paths.tuning)
    marks = disclosures_of([run], on)
    frame = paper_frame(metrics)
    return {
        "table.csv": marks.add_to(frame).to_csv(index=False, lineterminator="\n"),
        "table.tex": latex_table(frame, metrics, run.name, marks),
        "methods.txt": methods_paragraph(run, metrics, tuning, marks) + "\n",
    }


def paper_frame(metrics: Mapping[str, Any]) -> pd.DataFrame:
    """Return one row a finding and the macro mean: positives, then each stored figure with lo and hi, as printed."""
    stored = [name for name in _FIGURES if _FIGURES[name][0] in metrics]
    rows = [
        _row(label, values, values.get("support"), {n: n for n in stored})
        for label, values in metrics["per_class"].items()
    ]
    macros = {name: _FIGURES[name][0] for name in stored}
    return pd.DataFrame([*rows, _row(MACRO, metrics, math.nan, macros)])


def _row(finding: str, values: Mapping[str, Any], positives: float | None, names: Mapping[str, str]) -> dict[str, Any]:
    row: dict[str, Any] = {"finding": finding, "positives": math.nan if positives is None else positives}
    for name, key in names.items():
        low, high = values.get(f"{key}_ci") or (None, None)
        row |= {
            f"{name} {part}": _rounded(value)
            for part, value in zip(("value", "lo", "hi"), (values.get(key), low, high))
        }
    return row


def _rounded(value: float | None) -> float:
    return math.nan if value is None else round(float(value), latex.DIGITS)


def latex_table(frame: pd.DataFrame, metrics: Mapping[str, Any], name: str, marks: Disclosures) -> str:
    """Return the table of `paper_frame` as LaTeX with booktabs."""
    stored = [column.removesuffix(" value") for column in frame if column.endswith(" value")]
    lines = [" & ".join(["Finding", "Positives", *(_FIGURES[one][1] for one in stored)]) + " \\\\", "\\midrule"]
    for row in frame.to_dict("records"):
        macro = row["finding"] == MACRO
        lines += ["\\addlinespace"] if macro else []
        title = "Macro mean" if macro else latex.escape(str(row["finding"]))
        positives = "" if math.isnan(row["positives"]) else f"{row['positives']:,.0f}"
        cells = [latex.cell(*(row[f"{one} {part}"] for part in ("value", "lo", "hi"))) for one in stored]
        lines.append(" & ".join([title, positives, *cells]) + " \\\\")
    text = f"{latex.escape(name)} on {latex.escape('; '.join(marks.sentences()))}."
    if "f1_macro" in metrics:
        text += f" F1 at threshold {metrics.get('threshold', 0.5):g}."
    if "f1_tuned" in metrics:
        text += " F1, tuned: at the threshold of highest F1 on validation."
    if _has_intervals(metrics):
        text += " 95\\% intervals over patients."
    return latex.table(text, len(stored) + 1, lines)


def _has_intervals(metrics: Mapping[str, Any]) -> bool:
    return "auprc_ci" in metrics


def methods_paragraph(
    run: Run, metrics: Mapping[str, Any], tuning: Mapping[str, Any] | None, marks: Disclosures
) -> str:
    """Return a Methods paragraph in plain words, from what the run and its evaluation really did."""
    n, labels = metrics["n"], metrics["per_class"]
    undefined = sum(values["auprc"] is None for values in labels.values())
    parts = training_sentences([run])
    parts.append(
        f"The {'run was' if parts else 'predictions were'} evaluated on the test set {marks.on} ({n['volumes']:,} volumes of {n['exams']:,} exams and "
        f"{n['patients']:,} patients) over {len(labels)} findings: AUROC, average precision (AUPRC), and F1 at threshold "
        f"{metrics.get('threshold', 0.5):g}, per finding and as means over the findings where they are defined"
        + (f" (not in {undefined})." if undefined else ".")
    )
    if "f1_tuned" in metrics and tuning:
        rule = {"f1": "highest F1"}[RULES[0]]
        parts.append(
            f"Thresholds of {rule} were chosen per finding on the validation set ({tuning['n']['patients']:,} patients), "
            f"where their own figures are cross-fitted over patients in {tuning['folds']} folds."
        )
    if _has_intervals(metrics):
        parts.append(
            f"95% confidence intervals rest on {metrics.get('resamples', RESAMPLES):,} bootstrap resamples of patients, on "
            f"the logit scale, and are given where {MIN_PATIENTS} patients or more have and lack the finding (for macro "
            f"AUPRC, {MIN_MACRO_AUPRC} in the median finding); they hold for this trained model, not for other seeds."
        )
    return " ".join([*parts, *marks.methods()])
