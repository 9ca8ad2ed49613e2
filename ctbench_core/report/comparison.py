"""What a paper needs of a comparison: one table as CSV and LaTeX, and a Methods paragraph of what was really done.

MERGED: The files of a comparison, in one folder or as bytes: tables as CSV and LaTeX, Methods, and the whole as JSON.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ctbench_core.atomic import dump_json, write_text
from ctbench_core.compare import MACRO, Comparison
from ctbench_core.inference import MIN_MACRO_AUPRC, MIN_PATIENTS
from ctbench_core.report import latex
from ctbench_core.report.methods import training_sentences
from ctbench_core.runs import VALIDATION, Run

_TITLES = {"auprc": "AUPRC", "auroc": "AUROC"}


def paper_frame(found: Comparison) -> pd.DataFrame:
    """Return models x findings x metrics as one row a finding and metric, figures rounded as they are printed.

    Columns finding, metric, then for each model its value, sd (of a recipe, over its seeds), lo, hi, and for each but
    the first p_adjusted (blank where undefined). The LaTeX table is written from this frame and nothing else.
    """
    figures = found.figures.set_index(["model", "metric", "finding"])
    tests = found.differences.set_index(["a", "metric", "label"])["p_adjusted"]
    rows = []
    for metric in _TITLES:
        for finding in [*found.common.labels, MACRO]:
            row: dict[str, object] = {"finding": finding, "metric": metric}
            for name, seeds in zip(found.common.names, found.settings["seeds"]):
                one = figures.loc[(name, metric, finding)]
                parts = ("value", "sd", "lo", "hi") if seeds > 1 else ("value", "lo", "hi")
                row |= {f"{name} {part}": round(float(one[part]), latex.DIGITS) for part in parts}
                if (name, metric, finding) in tests.index:
                    row[f"{name} p_adjusted"] = round(float(tests.loc[(name, metric, finding)]), 4)
            rows.append(row)
    return pd.DataFrame(rows)


def latex_table(found: Comparison, frame: pd.DataFrame | None = None) -> str:
    """Return the table of `paper_frame` as LaTeX with booktabs; a dagger marks adjusted p below the level."""
    frame = paper_frame(found) if frame is None else frame
    names = found.common.names
    lines: list[str] = []
    for metric, part in frame.groupby("metric", sort=False):
        head = " & ".join(latex.escape(name) for name in names)
        lines += ["\\midrule"] if lines else []
        lines += [f"{_TITLES[str(metric)]} & {head} \\\\", "\\midrule"]
        for row in part.to_dict("records"):
            title = "Macro mean" if row["finding"] == MACRO else str(row["finding"])
            lines += ["\\addlinespace"] if row["finding"] == MACRO else []
            cells = [_cell(row, name, found.settings["level"]) for name in names]
            lines.append(f"{latex.escape(title)} & {' & '.join(cells)} \\\\")
    return latex.table(_caption(found), len(names), lines)


def _cell(row: dict[str, Any], name: str, level: float) -> str:
    p = row.get(f"{name} p_adjusted", math.nan)
    mark = "$^{\\dagger}$" if p < level else ""
    value, low, high = (row[f"{name} {part}"] for part in ("value", "lo", "hi"))
    return latex.cell(value, low, high, row.get(f"{name} sd", math.nan), mark)


def _caption(found: Comparison) -> str:
    first, settings = latex.escape(found.common.names[0]), found.settings
    spread = " Mean $\\pm$ sd over seeds." if max(settings["seeds"]) > 1 else ""
    unit = "seeds and patients" if max(settings["seeds"]) > 1 else "patients"
    return (
        f"{latex.escape('; '.join(found.marks.sentences()))}.{spread} 95\\% intervals over {unit}, not adjusted. $\\dagger$ "
        f"differs from {first}, Benjamini-Hochberg adjusted $p < {settings['level']:g}$ over {settings['family']} tests."
    )


def methods_paragraph(found: Comparison, runs: Sequence[Run] = ()) -> str:
    """Return a Methods paragraph in plain words, from the configs and the statistics that were used and no other."""
    n = found.common.n
    recipes = max(found.settings["seeds"]) > 1
    where = "the validation set" if found.on == VALIDATION else f"the test set {found.on}"
    left_out = found.common.left_out
    parts = training_sentences(runs)
    parts.append(
        f"{'Recipes (one config, several seeds)' if recipes else 'Models'} were compared on {where} "
        f"({n['volumes']:,} volumes of {n['exams']:,} exams and {n['patients']:,} patients"
        + (f"; {left_out:,} volumes that not every model had scored were left out" if left_out else "")
        + f") over {len(found.common.labels)} findings."
    )
    parts += [_intervals(found, recipes), _tests(found, recipes)]
    if found.common.disagreeing:
        parts.append(
            f"Labels differed between the runs' manifests in {found.common.disagreeing:,} cells; those of the first run were used."
        )
    return " ".join([*parts, *found.marks.methods()])


def _intervals(found: Comparison, recipes: bool) -> str:
    settings = found.settings
    seeds = ", ".join(f"{name}: {count}" for name, count in zip(found.common.names, settings["seeds"]))
    spread = f", as means over seeds ({seeds})" if recipes else ""
    over = "of patients and on the spread over seeds," if recipes else "of patients,"
    return (
        f"AUROC and average precision (AUPRC) were computed per finding{spread}, and averaged over the findings for which "
        f"an interval could be given. 95% confidence intervals rest on {settings['resamples']:,} bootstrap resamples {over} "
        f"and are given where {MIN_PATIENTS} patients or more have and lack the finding"
        f" (for macro AUPRC, {MIN_MACRO_AUPRC} in the median finding)."
    )


def _tests(found: Comparison, recipes: bool) -> str:
    settings, first = found.settings, found.common.names[0]
    how = (
        "two-sided p-values are those of the t statistic whose interval is given"
        if recipes
        else f"two-sided p-values come from {settings['swaps']:,} random exchanges of the two models' within-finding "
        "ranks by patient"
    )
    return (
        f"Differences from {first} have intervals over {'seeds and the same resampled' if recipes else 'resampled'} "
        f"patients; {how}, adjusted by Benjamini and Hochberg over the {settings['family']} tests of the table (marks at "
        f"{settings['level']:g}). Intervals are not adjusted."
    )


def paper_files(found: Comparison, runs: Sequence[Run] = ()) -> dict[str, str]:
    """Return the texts of a comparison's files, by file name."""
    frame = paper_frame(found)
    return {
        "table.csv": found.marks.add_to(frame).to_csv(index=False, lineterminator="\n"),
        "table.tex": latex_table(found, frame),
        "methods.txt": methods_paragraph(found, runs) + "\n",
        "differences.csv": found.marks.add_to(found.differences).to_csv(index=False, lineterminator="\n"),
        "comparison.json": dump_json(found.to_json([str(run.paths.root) for run in runs]), indent=1) + "\n",
    }


def write_paper(folder: Path | str, found: Comparison, runs: Sequence[Run] = ()) -> list[str]:
    """Write the files of a comparison into a folder, and return their names."""
    files = paper_files(found, runs)
    for name, text in files.items():
        write_text(Path(folder) / name, text)
    return list(files)
