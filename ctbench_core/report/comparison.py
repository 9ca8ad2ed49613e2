"""Write the paper files of a comparison: tables as CSV and LaTeX, a Methods paragraph, and the comparison as JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ctbench_core.atomic import csv_bytes, dump_json, write_text
from ctbench_core.compare import MACRO, Comparison
from ctbench_core.declared import compared_metrics, metric_title
from ctbench_core.formatting import plural
from ctbench_core.report import latex
from ctbench_core.report.methods import INTERVAL_CONDITION, join_titles, set_phrase, training_sentences
from ctbench_core.runs import Run


def paper_frame(comparison: Comparison) -> pd.DataFrame:
    """Return models x findings x metrics as one row a finding and metric, rounded as printed.

    Columns finding, metric, then for each model its value, sd (of a recipe, over its seeds), lo, hi, and for each but
    the first p_adjusted (blank where undefined). The LaTeX table is written from this frame only.
    """
    values = comparison.metrics.set_index(["model", "metric", "finding"])
    p_adjusted = comparison.differences.set_index(["a", "metric", "label"])["p_adjusted"]
    rows = []
    for metric in compared_metrics():
        for finding in [*comparison.common.labels, MACRO]:
            row: dict[str, object] = {"finding": finding, "metric": metric}
            for name, seeds in zip(comparison.common.names, comparison.settings["seeds"]):
                key = (name, metric, finding)
                parts = ("value", "sd", "lo", "hi") if seeds > 1 else ("value", "lo", "hi")
                row |= {f"{name} {part}": round(float(values.loc[key][part]), latex.DIGITS) for part in parts}
                if key in p_adjusted.index:
                    row[f"{name} p_adjusted"] = round(float(p_adjusted.loc[key]), 4)
            rows.append(row)
    return pd.DataFrame(rows)


def latex_table(comparison: Comparison, frame: pd.DataFrame | None = None) -> str:
    """Return the table of `paper_frame` as LaTeX with booktabs; a dagger marks adjusted p below the level."""
    frame = paper_frame(comparison) if frame is None else frame
    names = comparison.common.names
    lines: list[str] = []
    for metric, part in frame.groupby("metric", sort=False):
        head = " & ".join(latex.escape(name) for name in names)
        lines += ["\\midrule"] if lines else []
        lines += [f"{metric_title(str(metric))} & {head} \\\\", "\\midrule"]
        for row in part.to_dict("records"):
            is_macro = row["finding"] == MACRO
            lines += ["\\addlinespace"] if is_macro else []
            title = "Macro mean" if is_macro else latex.escape(str(row["finding"]))
            cells = [_cell(row, name, comparison.settings["level"]) for name in names]
            lines.append(f"{title} & {' & '.join(cells)} \\\\")
    return latex.table(_caption(comparison), len(names), lines)


def _cell(row: dict[str, Any], name: str, level: float) -> str:
    mark = "$^{\\dagger}$" if row.get(f"{name} p_adjusted", math.nan) < level else ""
    value, low, high = (row[f"{name} {part}"] for part in ("value", "lo", "hi"))
    return latex.metric_cell(value, low, high, row.get(f"{name} sd", math.nan), mark)


def _caption(comparison: Comparison) -> str:
    first, settings = latex.escape(comparison.common.names[0]), comparison.settings
    over_seeds = max(settings["seeds"]) > 1
    spread = " Mean $\\pm$ SD over seeds." if over_seeds else ""
    unit = "seeds and patients" if over_seeds else "patients"
    return (
        f"{latex.escape('; '.join(comparison.disclosures.sentences()))}.{spread} 95\\% intervals over {unit}, not adjusted. "
        f"$\\dagger$ differs from {first}, Benjamini-Hochberg adjusted $p < {settings['level']:g}$ over "
        f"{plural(settings['family'], 'test')}."
    )


def methods_paragraph(comparison: Comparison, runs: Sequence[Run] = ()) -> str:
    """Return a Methods paragraph of the runs' training and of the statistics that were used."""
    common, settings = comparison.common, comparison.settings
    if max(settings["seeds"]) > 1:
        models, resampled = "Recipes (one config, several seeds)", "seeds and the same resampled patients"
        seeds = ", ".join(f"{name}: {count}" for name, count in zip(common.names, settings["seeds"]))
        means, spread = f", as means over seeds ({seeds}),", " and on the spread over seeds"
        p_values = "were computed from the same t statistics as the intervals"
    else:
        models, resampled, means, spread = "Models", "resampled patients", "", ""
        swaps = f"{settings['swaps']:,} random exchanges"
        p_values = f"were computed from {swaps} of the two models' within-finding ranks by patient"
    parts = [
        *training_sentences(runs),
        f"{models} were compared on {set_phrase(runs, comparison.on, common.n)} for {plural(len(common.labels), 'finding')}.",
        f"{join_titles(compared_metrics())} (AUPRC as average precision) were computed per finding{means} and averaged over "
        f"the findings with an interval. 95% confidence intervals are based on {settings['resamples']:,} bootstrap resamples of patients{spread}, "
        f"and are {INTERVAL_CONDITION}.",
        f"Differences from {common.names[0]} have intervals over {resampled}. Two-sided p-values {p_values}. They were "
        f"adjusted by the Benjamini-Hochberg method over the {plural(settings['family'], 'test')} of the table and are marked "
        f"below {settings['level']:g}; intervals were not adjusted.",
    ]
    if common.left_out:
        parts.append(f"Volumes not scored by every model were excluded ({common.left_out:,}).")
    return " ".join([*parts, *comparison.disclosures.methods()])


def paper_files(comparison: Comparison, runs: Sequence[Run] = ()) -> dict[str, str]:
    """Return the texts of a comparison's files, by file name."""
    frame, disclosures = paper_frame(comparison), comparison.disclosures
    differences = comparison.differences.rename(columns={"label": "finding"})
    return {
        "table.csv": csv_bytes(disclosures.add_to(frame)).decode("utf-8"),
        "table.tex": latex_table(comparison, frame),
        "methods.txt": methods_paragraph(comparison, runs) + "\n",
        "differences.csv": csv_bytes(disclosures.add_to(differences)).decode("utf-8"),
        "comparison.json": dump_json(comparison.to_json([str(run.paths.root) for run in runs]), indent=1) + "\n",
    }


def write_paper(folder: Path | str, comparison: Comparison, runs: Sequence[Run] = ()) -> list[str]:
    """Write the files of a comparison into a folder, and return their names."""
    files = paper_files(comparison, runs)
    for name, text in files.items():
        write_text(Path(folder) / name, text)
    return list(files)
