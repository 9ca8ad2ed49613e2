"""What a paper needs of a comparison: one table as CSV and LaTeX, and a Methods paragraph of what was really done."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from ctbench_core.compare.comparison import MACRO, Comparison
from ctbench_core.compare.tables import VALIDATION
from ctbench_core.metrics.uncertainty import MIN_MACRO_AUPRC, MIN_PATIENTS
from ctbench_core.runs import Run

_TITLES = {"auprc": "AUPRC", "auroc": "AUROC"}
_DIGITS = 3


def paper_frame(found: Comparison) -> pd.DataFrame:
    """Return models x findings x metrics as one row a finding and metric, figures rounded as they are printed.

    Columns finding, metric, then for each model its value, lo, hi, and for each but the first p_adjusted (blank where
    undefined). The LaTeX table is written from this frame and nothing else.
    """
    order = [*found.common.labels, MACRO]
    rows = []
    for metric in _TITLES:
        for finding in order:
            row: dict[str, object] = {"finding": finding, "metric": metric}
            for name in found.common.names:
                one = found.figures[
                    (found.figures["model"] == name)
                    & (found.figures["metric"] == metric)
                    & (found.figures["finding"] == finding)
                ].iloc[0]
                row |= {f"{name} {part}": round(float(one[part]), _DIGITS) for part in ("value", "lo", "hi")}
                apart = found.differences[
                    (found.differences["a"] == name)
                    & (found.differences["metric"] == metric)
                    & (found.differences["label"] == finding)
                ]
                if len(apart):
                    row[f"{name} p_adjusted"] = round(float(apart.iloc[0]["p_adjusted"]), 4)
            rows.append(row)
    return pd.DataFrame(rows)


def latex_table(found: Comparison, frame: pd.DataFrame | None = None) -> str:
    """Return the table of `paper_frame` as LaTeX with booktabs; a dagger marks adjusted p below the level."""
    frame = paper_frame(found) if frame is None else frame
    names = found.common.names
    lines = [
        "% needs \\usepackage{booktabs}",
        "\\begin{table}",
        "\\centering\\footnotesize",
        f"\\caption{{{_caption(found)}}}",
        f"\\begin{{tabular}}{{l{'l' * len(names)}}}",
        "\\toprule",
    ]
    for metric, part in frame.groupby("metric", sort=False):
        head = " & ".join(_escape(name) for name in names)
        lines += [f"{_TITLES[str(metric)]} & {head} \\\\", "\\midrule"]
        for row in part.to_dict("records"):
            title = "Macro mean" if row["finding"] == MACRO else str(row["finding"])
            if row["finding"] == MACRO:
                lines.append("\\addlinespace")
            cells = [_cell(row, name, found.settings["level"]) for name in names]
            lines.append(f"{_escape(title)} & {' & '.join(cells)} \\\\")
        lines.append("\\midrule" if metric == "auprc" else "\\bottomrule")
    return "\n".join([*lines, "\\end{tabular}", "\\end{table}", ""])


def _cell(row: dict, name: str, level: float) -> str:
    value, low, high = (row[f"{name} {part}"] for part in ("value", "lo", "hi"))
    p = row.get(f"{name} p_adjusted", math.nan)
    mark = "$^{\\dagger}$" if p < level else ""
    bounds = "" if math.isnan(low) else f" [{_share(low)}, {_share(high)}]"
    return _share(value) + mark + bounds


def _share(value: float) -> str:
    return "--" if math.isnan(value) else f"{value:.{_DIGITS}f}".replace("0.", ".", 1)


def _caption(found: Comparison) -> str:
    n = found.common.n
    text = (
        f"{_where(found)}: {n['volumes']:,} volumes, {n['exams']:,} exams, {n['patients']:,} patients. 95\\% intervals "
        f"resample patients and are not adjusted. $\\dagger$ differs from {_escape(found.common.names[0])}, "
        f"Benjamini-Hochberg adjusted $p < {found.settings['level']:g}$ over {found.settings['family']} tests."
    )
    return text + _warnings(found)


def _where(found: Comparison) -> str:
    return "Validation set" if found.on == VALIDATION else f"Test set {_escape(found.on)}"


def _warnings(found: Comparison) -> str:
    parts = []
    if found.on != VALIDATION:
        parts.append(f" The ledger counts {found.openings} openings of this test set.")
    if found.leaked:
        parts.append(f" {found.leaked} patients of it also stand in training or validation data.")
    if found.label_origins:
        parts.append(f" Label origin: {_escape(', '.join(found.label_origins))}.")
    return "".join(parts)


def _escape(text: str) -> str:
    special = {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "·": r"$\cdot$",
        "→": r"$\to$",
        **{letter: f"\\{letter}" for letter in "&%$#_{}"},
    }
    return "".join(special.get(letter, letter) for letter in text)


def methods_paragraph(found: Comparison, runs: Sequence[Run] = ()) -> str:
    """Return a Methods paragraph in plain words, from the configs and the statistics that were used and no other."""
    n, s = found.common.n, found.settings
    parts = [_training(runs)] if runs else []
    parts.append(
        f"Models were compared on {'the validation set' if found.on == VALIDATION else f'the test set {found.on}'} "
        f"({n['volumes']:,} volumes of {n['exams']:,} exams and {n['patients']:,} patients"
        + (
            f"; {found.common.left_out:,} volumes that not every model had scored were left out"
            if found.common.left_out
            else ""
        )
        + f") over {len(found.common.labels)} findings."
    )
    parts.append(
        "AUROC and average precision (AUPRC) were computed per finding and averaged over the findings for which an "
        f"interval could be given. 95% confidence intervals rest on {s['resamples']:,} bootstrap resamples of patients, "
        f"and are given where {MIN_PATIENTS} patients or more have and lack the finding (for macro AUPRC, "
        f"{MIN_MACRO_AUPRC} in the median finding)."
    )
    parts.append(
        f"Differences from {found.common.names[0]} have paired bootstrap intervals over patients; p-values come from "
        f"{s['swaps']:,} random exchanges of the two models' within-finding ranks by patient, two-sided, adjusted by "
        f"Benjamini and Hochberg over the {s['family']} tests of the table (marks at {s['level']:g}). Intervals are not "
        "adjusted."
    )
    if found.common.disagreeing:
        parts.append(
            f"Labels differed between the runs' manifests in {found.common.disagreeing:,} cells; those of the first run were used."
        )
    if found.on != VALIDATION:
        parts.append(f"The ledger of the run store counts {found.openings} openings of this test set by these jobs.")
    if found.leaked:
        parts.append(f"{found.leaked:,} patients of the test set also stand in the training or validation data.")
    if found.label_origins:
        parts.append(f"Label origin: {', '.join(found.label_origins)}.")
    return " ".join(parts)


def _training(runs: Sequence[Run]) -> str:
    """Say what the runs' configs say alike, and what differs between them."""
    configs = [run.config for run in runs]

    def words(values: Sequence[object]) -> str:
        distinct = list(dict.fromkeys(str(value) for value in values))
        return distinct[0] if len(distinct) == 1 else f"{', '.join(distinct[:-1])} or {distinct[-1]}"

    heads = words([c.model.model_name for c in configs])
    inputs = words([c.model.inputs for c in configs])
    optimiser = words([c.training.optimizer for c in configs])
    rate = words([f"{c.training.learning_rate:g}" for c in configs])
    batch = words([c.training.batch_size for c in configs])
    epochs = words([run.status.epoch for run in runs])
    monitor = words([c.training.monitor for c in configs])
    patience = words([c.training.early_stopping_patience for c in configs])
    seeds = words([c.utils.seed for c in configs])
    return (
        f"Heads ({heads}) were trained on frozen embeddings ({inputs} inputs) with {optimiser}, learning rate {rate}, "
        f"batch size {batch}, for {epochs} epochs (patience {patience}); the epoch with the best validation "
        f"{monitor} was kept (seed {seeds})."
    )
