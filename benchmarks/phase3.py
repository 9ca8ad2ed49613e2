"""The older system's phase 3 from one study on CT-RATE: two label sources x budgets x folds x seeds, equal to plain SciPy.

    python -m benchmarks.phase3 <folder of the real data> <working folder> [budgets, by default 50,100,250]

One source has CT-RATE's labels, the other the same with 10 % of them flipped; the first one's labels judge both. The
study, `aggregate` and `contrast` make the summary; then every figure of it is computed anew by SciPy from the scores
that each run stored. Stopped (Ctrl+C) and started again, it goes on.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from ctbench_core.legacy import (
    PAIR_KEYS,
    PRIMARY_METRICS,
    by_budget_table,
    contrast_tables,
    per_run_table,
    runs_of_source,
)
from ctbench_core.runs import RunStore, open_run
from ctbench_core.studies import Study, run_study

SOURCES = ("manual", "gpt")
SEEDS, FOLDS, FLIPPED = [52, 123, 456, 789, 999], 5, 0.1


def write_sources(data: Path, folder: Path) -> dict[str, str]:
    """Write the manifests of both sources; return their folders."""
    for name in ("train.csv", "valid.csv"):
        frame = pd.read_csv(data / "ctrate" / "manifests" / name)
        labels = [column for column in frame if set(frame[column].unique()) <= {0, 1}]
        for source in SOURCES:
            place = folder / source / name
            place.parent.mkdir(parents=True, exist_ok=True)
            given = frame.copy()
            if source == "gpt":
                flipped = np.random.default_rng([7, len(frame)]).random((len(frame), len(labels))) < FLIPPED
                given[labels] = np.where(flipped, 1 - frame[labels], frame[labels])
            given.to_csv(place, index=False)
    return {source: str(folder / source) for source in SOURCES}


def study_of(data: Path, folder: Path, budgets: list[int]) -> Study:
    """Return the study: 2 sources x budgets x 5 folds x 5 seeds."""
    base = {
        "paths.data_root": str(data / "ctrate" / "features" / "minilm"),
        "paths.outputs_root": str(folder / "outputs"),
        "model.params.hidden_dims": [256],
        "training.learning_rate": 1e-3,
        "training.max_epochs": 60,
        "training.early_stopping_patience": 10,
    }
    grid = {"source": write_sources(data, folder), "budget": budgets, "utils.seed": SEEDS}
    return Study("phase 3", base, grid, folds=FOLDS)


def figures_of(run_dir: str, truth: pd.DataFrame) -> dict[str, float]:
    """Compute a run's macro figures by scikit-learn from its stored scores, against the unflipped labels of CT-RATE."""
    run = open_run(run_dir)
    (name,) = run.evaluations()
    scores = pd.read_parquet(run.paths.evaluation(name).scores).set_index("volumename")
    found: dict[str, list[float]] = {figure: [] for figure in PRIMARY_METRICS}
    for label in [column.removeprefix("prob_") for column in scores if column.startswith("prob_")]:
        y, p = truth.loc[scores.index, label].to_numpy(), scores[f"prob_{label}"].to_numpy()
        if 0 < y.sum() < len(y):
            found["test_primary_auprc"].append(float(average_precision_score(y, p)))
            found["test_primary_auroc"].append(float(roc_auc_score(y, p)))
        if y.sum() or (p >= 0.5).any():
            found["test_primary_f1_macro"].append(float(f1_score(y, p >= 0.5)))
    return {figure: float(np.mean(values)) for figure, values in found.items()}


def deviations(summary: pd.DataFrame, plain: pd.DataFrame) -> dict[str, float]:
    """Return the largest deviation of each kind of figure of the summary from SciPy's."""
    worst: dict[str, float] = {}

    def note(kind: str, ours: float, theirs: float) -> None:
        worst[kind] = max(worst.get(kind, 0.0), abs(ours - theirs))

    sides = [plain[plain["source"] == source].set_index(list(PAIR_KEYS)).sort_index() for source in SOURCES]
    exact = []
    for row in summary.to_dict("records"):
        a, b = (side.loc[row["budget_n"]][row["metric"]].to_numpy() for side in sides)
        d = a - b
        note("mean", row["delta_mean"], d.mean())
        note("deviation", row["delta_std"], d.std(ddof=1))
        note("effect", row["effect_size"], d.mean() / d.std(ddof=1))
        note("t-test p", row["t_p_value"], stats.ttest_rel(a, b).pvalue)
        for name, sample in (*zip(SOURCES, (a, b)), ("delta", d)):
            found = stats.bootstrap((sample,), np.mean, n_resamples=5000, method="percentile", rng=52)
            note("interval", row[f"{name}_ci_lo"], found.confidence_interval.low)
            note("interval", row[f"{name}_ci_hi"], found.confidence_interval.high)
        random = stats.permutation_test((d,), np.mean, permutation_type="samples", n_resamples=99_999, rng=1)
        note("permutation p, against 99,999 random flips", row["p_value"], random.pvalue)
        exact.append(row["p_value"])
    for ours, theirs in zip(summary["p_value_adj"], stats.false_discovery_control(exact)):
        note("adjusted p", ours, theirs)
    return worst


def main(data: Path, folder: Path, budgets: list[int]) -> None:
    """Run the study, make the tables, and print how far they are from plain computations."""
    study = Path(run_study(study_of(data, folder, budgets))["study_dir"])
    runs = [run for run in RunStore(folder / "outputs").runs() if run.paths.root.parent == study]
    table = per_run_table(runs)
    first, second = (runs_of_source(table, source) for source in SOURCES)
    tables = contrast_tables(first, second, SOURCES)
    for name, frame in {"per_run": table, "by_budget": by_budget_table(table), **tables}.items():
        frame.to_csv(folder / f"phase3_{name}.csv", index=False)
    manifests = [pd.read_csv(folder / "manual" / name) for name in ("train.csv", "valid.csv")]
    truth = pd.concat(manifests).set_index("volumename")
    plain = table.assign(**pd.DataFrame([figures_of(run, truth) for run in table["run_dir"]]))
    ours = {figure: float((table[figure] - plain[figure]).abs().max()) for figure in PRIMARY_METRICS}
    drawn = table.groupby(list(PAIR_KEYS))["run_dir"]
    same = sum(len({(Path(run) / "selection_index.csv").read_bytes() for run in pair}) == 1 for _, pair in drawn)
    columns = ["metric", "budget_n", "n_pairs", "delta_mean", "delta_ci_lo", "delta_ci_hi", "p_value", "p_value_adj"]
    print(tables["summary"][columns].round(4).to_string(index=False))
    print(json.dumps({"runs": len(table), "cells": len(drawn), "same volumes on both sides": same}))
    print("largest deviation, figures of runs:", json.dumps(ours))
    print("largest deviation, summary:", json.dumps(deviations(tables["summary"], plain)))


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    sizes = sys.argv[3] if len(sys.argv) == 4 else "50,100,250"
    main(Path(sys.argv[1]), Path(sys.argv[2]), [int(size) for size in sizes.split(",")])
