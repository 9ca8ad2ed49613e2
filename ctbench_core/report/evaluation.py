"""Write the paper files of one run on one test set: a table as CSV and LaTeX, and a Methods paragraph.

They use only the stored METRICS, the run's config and the ledger.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from ctbench_core.atomic import csv_bytes
from ctbench_core.declared import METRICS
from ctbench_core.evaluate import MACRO, read_tuning
from ctbench_core.formatting import plural
from ctbench_core.inference import RESAMPLES
from ctbench_core.report import latex
from ctbench_core.report.methods import INTERVAL_CONDITION, set_phrase, training_sentences
from ctbench_core.runs import Disclosures, Run, disclosures_of, read_json

# The key of the macro mean by the key of the metric.
_MACROS = {"auprc": "auprc", "auroc": "auroc", "f1": "f1_macro", "f1_tuned": "f1_tuned"}
_PARTS = ("value", "lo", "hi")


def run_paper(run: Run, on: str) -> dict[str, str]:
    """Return the paper files of a run on a test set, by name: table.csv, table.tex, methods.txt."""
    metrics = read_json(run.paths.evaluation(on).metrics) or {}
    disclosures = disclosures_of([run], on)
    frame = paper_frame(metrics)
    return {
        "table.csv": csv_bytes(disclosures.add_to(frame)).decode("utf-8"),
        "table.tex": latex_table(frame, metrics, run.name, disclosures),
        "methods.txt": methods_paragraph(run, metrics, read_tuning(run.paths.tuning), disclosures) + "\n",
    }


def paper_frame(metrics: Mapping[str, Any]) -> pd.DataFrame:
    """Return one row a finding and the macro mean: positives, then each stored metric with lo and hi, as printed."""
    macros = {name: key for name, key in _MACROS.items() if key in metrics}
    own = {name: name for name in macros}
    rows = [_row(label, values, values.get("support"), own) for label, values in metrics["per_class"].items()]
    return pd.DataFrame([*rows, _row(MACRO, metrics, None, macros)])


def _row(finding: str, values: Mapping[str, Any], positives: float | None, keys: Mapping[str, str]) -> dict[str, Any]:
    row: dict[str, Any] = {"finding": finding, "positives": math.nan if positives is None else positives}
    for name, key in keys.items():
        numbers = (values.get(key), *(values.get(f"{key}_ci") or (None, None)))
        row |= {
            f"{name} {part}": math.nan if number is None else round(float(number), latex.DIGITS)
            for part, number in zip(_PARTS, numbers)
        }
    return row


def latex_table(frame: pd.DataFrame, metrics: Mapping[str, Any], name: str, disclosures: Disclosures) -> str:
    """Return the table of `paper_frame` as LaTeX with booktabs."""
    names = [column.removesuffix(" value") for column in frame if column.endswith(" value")]
    lines = [" & ".join(["Finding", "Positives", *(METRICS[one].short for one in names)]) + " \\\\", "\\midrule"]
    for row in frame.to_dict("records"):
        is_macro = row["finding"] == MACRO
        lines += ["\\addlinespace"] if is_macro else []
        title = "Macro mean" if is_macro else latex.escape(str(row["finding"]))
        positives = "" if math.isnan(row["positives"]) else f"{row['positives']:,.0f}"
        cells = [latex.metric_cell(*(row[f"{one} {part}"] for part in _PARTS)) for one in names]
        lines.append(" & ".join([title, positives, *cells]) + " \\\\")
    caption = f"{latex.escape(name)} on {latex.escape('; '.join(disclosures.sentences()))}."
    if "f1_macro" in metrics:
        caption += f" F1 at threshold {metrics.get('threshold', 0.5):g}."
    if "f1_tuned" in metrics:
        caption += " F1, tuned: at the threshold of highest F1 on validation."
    if "auprc_ci" in metrics:
        caption += " 95\\% intervals over patients."
    return latex.table(caption, len(names) + 1, lines)


def methods_paragraph(
    run: Run, metrics: Mapping[str, Any], tuning: Mapping[str, Any] | None, disclosures: Disclosures
) -> str:
    """Return a Methods paragraph of the run's training and its evaluation."""
    labels = metrics["per_class"]
    undefined = sum(values["auprc"] is None for values in labels.values())
    parts = training_sentences([run])
    parts.append(
        f"The {'run was' if parts else 'predictions were'} evaluated on "
        f"{set_phrase([run], disclosures.set_name, metrics['n'])} for {plural(len(labels), 'finding')}. AUROC, average "
        f"precision (AUPRC) and F1 at threshold {metrics.get('threshold', 0.5):g} were computed per finding and averaged "
        f"over the findings where they are defined{f' (undefined in {undefined})' if undefined else ''}."
    )
    if "f1_tuned" in metrics and tuning:
        parts.append(
            "Thresholds of highest F1 were chosen per finding on the validation set "
            f"({plural(tuning['n']['patients'], 'patient')}); validation metrics at these thresholds were cross-fitted "
            f"over patients in {tuning['folds']} folds."
        )
    if "auprc_ci" in metrics:
        parts.append(
            f"95% confidence intervals are based on {metrics.get('resamples', RESAMPLES):,} bootstrap resamples of "
            f"patients, on the logit scale, and are {INTERVAL_CONDITION}. They apply to this trained model, not to other "
            "seeds."
        )
    return " ".join([*parts, *disclosures.methods()])
