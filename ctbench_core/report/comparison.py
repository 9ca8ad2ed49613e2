"""Write the paper files of a comparison: tables as CSV and LaTeX, a Methods paragraph, and the comparison as JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ctbench_core.atomic import dump_json, write_text
from ctbench_core.compare import MACROS, Comparison
from ctbench_core.declared import compared_metrics, metric_title
from ctbench_core.formatting import format_cohort, plural
from ctbench_core.inference import FEW_SEEDS, MACRO, MARK_NEAR_END, MODELS, RECIPES
from ctbench_core.report import latex
from ctbench_core.report.comparison_sentences import (
    best_sentences,
    detectable_sentences,
    eligible_sentence,
    fewer_seeds,
    headline_rows,
    margin_sentences,
    primary_sentences,
    question_sentences,
    seed_sentences,
)
from ctbench_core.report.methods import (
    INTERVAL_CONDITION,
    exact_sentence,
    interval_sentences,
    join_titles,
    limits_sentence,
    macro_sentences,
    set_phrase,
    training_sentences,
    unit_sentence,
)
from ctbench_core.runs import VALIDATION, Run
from ctbench_core.tables import sheet_bytes

_TITLES = dict(zip(MACROS, ("Macro mean", "Macro mean, eligible findings")))


def paper_frame(comparison: Comparison) -> pd.DataFrame:
    """Return models x findings x metrics as one row a finding and metric, rounded as printed; macro means are last.

    Columns finding, metric, then for each model its value, lo and hi, of a recipe also sd over its seeds (of two seeds
    range_lo and range_hi alone), and for each but the first p_adjusted (blank where undefined). The LaTeX table is
    written from this frame only.
    """
    values = comparison.metrics.set_index(["model", "metric", "finding"])
    p_adjusted = comparison.differences.set_index(["a", "metric", "label"])["p_adjusted"]
    rows = []
    for metric, part in comparison.metrics.groupby("metric", sort=False):
        names = list(dict.fromkeys(part["finding"]))
        for finding in sorted(names, key=lambda name: name in MACROS):
            row: dict[str, object] = {"finding": finding, "metric": metric}
            for name, seeds in zip(comparison.common.names, comparison.settings["seeds"]):
                key = (name, metric, finding)
                own = values.loc[key]
                row |= {
                    f"{name} {part}": round(float(own[part]), latex.DIGITS)
                    for part in _parts(seeds, "folds" in comparison.settings)
                }
                if key in p_adjusted.index:
                    row[f"{name} p_adjusted"] = round(float(p_adjusted.loc[key]), 4)
            rows.append(row)
    return pd.DataFrame(rows)


_RANGE = ("value", "range_lo", "range_hi")


def _parts(seeds: int, is_kfold: bool) -> tuple[str, ...]:
    """Return what is printed of a model, or of a recipe by its number of seeds; of a K-fold sd is that over folds."""
    if is_kfold or seeds > 2:
        return ("value", "sd", "lo", "hi")
    return _RANGE if seeds == 2 else ("value", "lo", "hi")


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
            lines += ["\\addlinespace"] if row["finding"] == MACRO else []
            title = _TITLES.get(row["finding"]) or latex.escape(str(row["finding"]))
            cells = [_cell(row, name, comparison.settings["level"]) for name in names]
            lines.append(f"{title} & {' & '.join(cells)} \\\\")
    return latex.table(_caption(comparison), len(names), lines)


def _cell(row: dict[str, Any], name: str, level: float) -> str:
    if f"{name} range_lo" in row:
        return latex.range_cell(*(row[f"{name} {part}"] for part in _RANGE))
    mark = "$^{\\dagger}$" if row.get(f"{name} p_adjusted", math.nan) < level else ""
    value, low, high = (row[f"{name} {part}"] for part in ("value", "lo", "hi"))
    return latex.metric_cell(value, low, high, row.get(f"{name} sd", math.nan), mark)


def _caption(comparison: Comparison) -> str:
    first, settings = latex.escape(comparison.common.names[0]), comparison.settings
    over = "folds" if "folds" in settings else "seeds" if max(settings["seeds"]) > 2 else ""
    spread = f" Mean $\\pm$ SD over {over}." if over else ""
    spread += " Of two seeds the mean and the range." if 2 in settings["seeds"] and over != "folds" else ""
    unit = {"folds": "folds", "seeds": "seeds and patients"}.get(over, "patients")
    eligible = latex.escape(eligible_sentence(comparison.eligible, len(comparison.common.labels)))
    parts = [
        f"{latex.escape('; '.join(comparison.disclosures.sentences()))}.{spread} 95\\% intervals over {unit}, not adjusted."
    ]
    if settings["family"]:
        parts.append(
            f"$\\dagger$ differs from {first}, Benjamini-Hochberg adjusted $p < {settings['level']:g}$ over "
            f"{plural(settings['family'], 'test')}."
        )
    if named := fewer_seeds(comparison):
        parts.append(latex.escape(f"Means are over all seeds of a recipe, tests over common ones ({named})."))
    return " ".join([*parts, eligible]).strip()


def methods_paragraph(comparison: Comparison, runs: Sequence[Run] = ()) -> str:
    """Return a Methods paragraph of the runs' training and of the statistics that were used."""
    common, disclosures = comparison.common, comparison.disclosures
    has_intervals = bool(comparison.differences["p"].notna().any())
    parts = [
        *training_sentences(runs),
        *_compared(comparison, runs),
        *(_folds(comparison) if "folds" in comparison.settings else _intervals(comparison)),
        *(_tests(comparison) if has_intervals else []),
        *_seeds(comparison),
        *question_sentences(comparison),
        *seed_sentences(comparison),
        *_decisions(comparison),
        *([limits_sentence(disclosures.label_origins)] if comparison.metrics["lo"].notna().any() else []),
        *primary_sentences(comparison),
    ]
    if comparison.on == VALIDATION:
        parts.append(
            "These volumes also chose epochs and settings: their metrics are optimistic, and p does not know it."
        )
    if common.left_out:
        parts.append(f"Volumes not scored by every model were excluded ({common.left_out:,}).")
    return " ".join([*parts, *disclosures.methods()])


def results_paragraph(comparison: Comparison) -> str:
    """Return what margins, detectable differences and the best model are, with the disclosures; empty without any."""
    texts = [*margin_sentences(comparison), *detectable_sentences(comparison), *best_sentences(comparison)]
    return " ".join([*texts, *comparison.disclosures.methods()]) if texts else ""


def _decisions(comparison: Comparison) -> list[str]:
    """Return by which rules margins and the best model of `results_paragraph` were decided."""
    texts = []
    if margin_sentences(comparison):
        texts.append(
            "Non-inferiority was tested one-sided at .025, equivalence by two one-sided tests at .05 (Schuirmann 1987), "
            "without adjustment."
        )
        if headline_rows(comparison).query("metric == 'auprc'")["margin"].notna().any():
            texts.append("In simulations such tests of AUPRC rejected too often where few patients had the finding.")
    if any(one.marked for one in comparison.best.values()):
        texts.append(
            "A model is called best where its macro mean exceeds that of the other at a level of .05."
            if len(comparison.common.names) == 2
            else "A model is called best where its macro mean exceeds that of every other at a familywise level of .05 over "
            "all pairs (max-T, Westfall and Young 1993)."
        )
    return texts


def _compared(comparison: Comparison, runs: Sequence[Run]) -> list[str]:
    common, counts = comparison.common, comparison.settings["seeds"]
    where = set_phrase(runs, comparison.on, common.n)
    if "folds" in comparison.settings:
        where = f"the held-out folds of a K-fold ({format_cohort(common.n)})"
    models, means = "Models", ""
    if max(counts) > 1:
        models = "Recipes (one config, several seeds)"
        means = f", as means over seeds ({', '.join(f'{name}: {count}' for name, count in zip(common.names, counts))}),"
    return [
        f"{models} were compared on {where} for {plural(len(common.labels), 'finding')}.",
        f"{join_titles(compared_metrics())} (AUPRC as average precision) were computed per finding{means} and averaged "
        "over the findings where they are defined.",
    ]


def _intervals(comparison: Comparison) -> list[str]:
    common, marks = comparison.common, comparison.metrics["mark"].dropna()
    unknown = comparison.disclosures.unknown_patients
    texts = interval_sentences(compared_metrics(), comparison.eligible, len(common.labels), marks, common.n, unknown)
    rows = comparison.metrics.dropna(subset=["lo"])
    return [*texts, *exact_sentence(zip(rows["metric"], rows["value"]))]


def _folds(comparison: Comparison) -> list[str]:
    """Return how a K-fold is averaged, and where its intervals and p come from."""
    count, share = comparison.settings["folds"], comparison.settings["test_share"]
    common, unknown = comparison.common, comparison.disclosures.unknown_patients
    return [
        unit_sentence(common.n["volumes"], unknown),
        f"Metrics are means over {count} folds, seeds averaged within each fold. Intervals (95%) are {INTERVAL_CONDITION}; "
        f"they use t with {count - 1} degrees of freedom and the variance over folds, counted 1/{count} + {share:.2f} times, "
        "the latter patients in a fold by patients outside of it, a correction for shared training patients that is "
        "approximate for folds (Nadeau and Bengio 2003; Bouckaert and Frank 2004); those of single figures were computed on "
        "the logit scale. Intervals for these trained "
        "models alone (columns models_lo, models_hi, models_p) take folds for independent samples of patients (LeDell et "
        "al. 2015).",
        *macro_sentences(comparison.eligible, len(common.labels)),
    ]


def _tests(comparison: Comparison) -> list[str]:
    """Return how differences were tested, where any has an interval."""
    settings = comparison.settings
    unit = "fold" if "folds" in settings else "patient"
    texts = [
        f"Differences from {comparison.common.names[0]} are paired by {unit}, and have symmetric t intervals; two-sided "
        f"p-values are of the same t. They were adjusted for the false discovery rate (Benjamini and Hochberg 1995) over the "
        f"{plural(settings['family'], 'test')} of the table, which depend on each other, and are marked below "
        f"{settings['level']:g}; intervals were not adjusted."
    ]
    if comparison.differences["mark"].str.contains(MARK_NEAR_END).any():
        texts.append("Where an AUROC lies near 1 or 0, the variance of its differences is at least Newcombe's.")
    if settings["swaps"]:
        texts.append(
            f"As a sensitivity analysis, AUROC was also tested by {settings['swaps']:,} random exchanges of two models' "
            "ranks within a patient, studentised (column p_swap)."
        )
    return texts


def _seeds(comparison: Comparison) -> list[str]:
    """Return how seeds count, where recipes are compared."""
    counts, overlap = comparison.settings["seeds"], max(comparison.settings["overlap"])
    texts: list[str] = []
    if "folds" in comparison.settings:
        return texts
    if max(counts) > 2:
        texts.append(
            "Figures of recipes are mean metrics of single models, not of their ensemble. Their variance is the mean "
            "covariance of two seeds over patients plus the variance between seeds by their number (Obuchowski and Rockette "
            "1995), with Satterthwaite's degrees of freedom over those of patients and of seeds."
        )
        tested = comparison.differences.dropna(subset=["p"])
        if ((tested["question"] != MODELS) & (tested["seeds"] <= FEW_SEEDS) & tested["range_lo"].notna()).any():
            texts.append(
                f"With up to {FEW_SEEDS} common seeds, t is half-way between Satterthwaite's and that of Cochran and Cox."
            )
        if overlap and (tested["question"] == RECIPES).any():
            texts.append(
                f"Two seeds share {overlap:.0%} of their training patients; the variance between S seeds counts "
                "1/S + o/(1 - o) times, o this share: an assumption, by analogy with Nadeau and Bengio (2003)."
            )
    if 2 in counts:
        texts.append("Of two seeds the range is given, without interval and p.")
    return texts


def paper_files(comparison: Comparison, runs: Sequence[Run] = ()) -> dict[str, str]:
    """Return the texts of a comparison's files, by file name."""
    frame, disclosures = paper_frame(comparison), comparison.disclosures
    differences = comparison.differences.rename(columns={"label": "finding"})
    results = results_paragraph(comparison)
    return {
        "table.csv": sheet_bytes(disclosures.add_to(frame)).decode("utf-8"),
        "table.tex": latex_table(comparison, frame),
        "methods.txt": methods_paragraph(comparison, runs) + "\n",
        **({"results.txt": results + "\n"} if results else {}),
        "differences.csv": sheet_bytes(disclosures.add_to(differences)).decode("utf-8"),
        "comparison.json": dump_json(comparison.to_json([str(run.paths.root) for run in runs]), indent=1) + "\n",
    }


def write_paper(folder: Path | str, comparison: Comparison, runs: Sequence[Run] = ()) -> list[str]:
    """Write the files of a comparison into a folder, and return their names."""
    files = paper_files(comparison, runs)
    for name, text in files.items():
        write_text(Path(folder) / name, text)
    return list(files)
