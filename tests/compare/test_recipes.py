"""Recipes compared: means over seeds, errors of seeds and patients, and the paper's table of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import average_precision_score, roc_auc_score

from ctbench_core.compare import MACRO, Comparison
from ctbench_core.compare.recipes import compare_scored_recipes, recipes_of
from ctbench_core.compare.tables import Scored
from ctbench_core.config import Config
from ctbench_core.evaluate import evaluate_run
from ctbench_core.experiment import run_experiment
from ctbench_core.report.comparison import latex_table, methods_paragraph, paper_frame
from ctbench_core.runs import open_run

LABELS = ("Lung nodule", "Emphysema")


def seeds(name: str, quality: float, count: int, noise: float = 0.3, cohort: int = 7, rows: int = 240) -> list[Scored]:
    """Draw a recipe: what it sees of a patient is shared by its seeds, the rest is each seed's own."""
    codes = np.arange(rows) // 2
    found = []
    for seed in range(count):
        draw, frame = np.random.default_rng([cohort, seed, len(name)]), pd.DataFrame({"volumename": codes.astype(str)})
        frame["volumename"] = [f"v_{code}_a_{row % 2}" for row, code in enumerate(codes)]
        frame["exam"] = frame["patient"] = [f"v_{code}" for code in codes]
        shared = np.random.default_rng([cohort, 99, len(name)])
        for label in LABELS:
            y = (np.random.default_rng([cohort, len(label)]).random(rows // 2) < 0.35)[codes]
            seen = shared.normal(size=rows // 2)[codes] + noise * draw.normal(size=rows // 2)[codes]
            frame[f"target_{label}"] = pd.array(y.astype(int), dtype="Int8")
            frame[f"prob_{label}"] = 1 / (1 + np.exp(-(quality * y + seen)))
        found.append(Scored(f"{name} {seed}", frame))
    return found


@pytest.fixture(scope="module")
def found() -> Comparison:
    recipes = {"weak": seeds("weak", 0.3, 3), "strong": seeds("strong", 2.0, 4), "single": seeds("single", 0.3, 1)}
    return compare_scored_recipes(recipes, "test", resamples=300)


def test_a_recipes_figure_is_the_mean_over_its_seeds(found: Comparison) -> None:
    table = found.figures.set_index(["model", "metric", "finding"])
    for name, quality, count in (("weak", 0.3, 3), ("strong", 2.0, 4), ("single", 0.3, 1)):
        for metric, figure in (("auroc", roc_auc_score), ("auprc", average_precision_score)):
            values = [
                figure(one.frame[f"target_{LABELS[0]}"].astype(int), one.frame[f"prob_{LABELS[0]}"])
                for one in seeds(name, quality, count)
            ]
            row = table.loc[(name, metric, LABELS[0])]
            assert row["value"] == pytest.approx(np.mean(values), abs=1e-12)
            assert row["seeds"] == count
            if count > 1:
                assert row["sd"] == pytest.approx(np.std(values, ddof=1), abs=1e-12)
                assert row["seed_error"] <= row["sd"] / np.sqrt(count) + 1e-12
            else:
                assert np.isnan(row["sd"])


def test_differences_are_of_means_and_adjusted_over_the_table(found: Comparison) -> None:
    table = found.differences
    assert len(table) == 2 * 2 * 3
    figures = found.figures.set_index(["model", "metric", "finding"])["value"]
    for row in table.itertuples():
        first, second = (figures[name, row.metric, row.label] for name in (row.a, row.b))
        assert row.delta == pytest.approx(first - second, abs=1e-12)
        assert row.lo < row.delta < row.hi
        # p belongs to the interval: it is below .05 just where the interval leaves out 0.
        assert (row.p < 0.05) == (row.lo > 0 or row.hi < 0)
    np.testing.assert_allclose(table["p_adjusted"], stats.false_discovery_control(table["p"]), atol=1e-12)
    assert (table.loc[(table["a"] == "strong") & (table["label"] == MACRO), "p_adjusted"] < 0.001).all()
    assert (table.loc[table["a"] == "single", "p"] > 0.05).all()
    assert found.common.names[found.best["auprc"].index] == "strong"
    assert found.best["auprc"].marked


def test_seeds_that_lie_far_apart_widen_the_interval() -> None:
    def width(noise: float) -> float:
        one = compare_scored_recipes(
            {"a": seeds("a", 1, 3, noise), "bb": seeds("bb", 1, 3, noise)}, "test", resamples=200
        )
        row = one.differences.set_index(["metric", "label"]).loc[("auroc", MACRO)]
        return float(row["hi"] - row["lo"])

    assert width(1.5) > 1.15 * width(0.0)


def test_equal_recipes_are_seldom_called_different() -> None:
    calls = []
    for cohort in range(60):
        recipes = {"a": seeds("a", 1, 3, 0.6, cohort, 160), "bb": seeds("bb", 1, 3, 0.6, cohort, 160)}
        calls.append((compare_scored_recipes(recipes, "test", resamples=100).differences["p"] < 0.05).mean())
    assert 0.005 < np.mean(calls) < 0.105  # 60 cohorts of six dependent tests: about 1.9 points of error


def test_the_paper_table_of_recipes_has_means_with_sd(found: Comparison) -> None:
    frame, text = paper_frame(found), latex_table(found)
    assert {"strong sd", "weak sd"} <= set(frame)
    assert "single sd" not in frame
    lines = [line for line in text.splitlines() if " & " in line and "[" in line]
    printed = [float(n) for line in lines for n in re.findall(r"(?<![\d\w])\d?\.\d{3}", line)]
    stored = frame[[c for c in frame if c.endswith((" value", " sd", " lo", " hi"))]].to_numpy()
    assert printed == stored[~np.isnan(stored)].tolist()
    said = methods_paragraph(found)
    for part in (
        "means over seeds (weak: 3, strong: 4, single: 1)",
        "t statistic",
        "over the 12 tests",
        "300 bootstrap",
    ):
        assert part in said
    assert "exchanges" not in said


def test_runs_are_grouped_by_what_they_share_but_the_seed(
    cli: Any, tiny_data: Path, make_config: Callable[..., Config], tmp_path: Path
) -> None:
    folders = []
    for head in ("mlp", "linear"):
        for seed in (1, 2):
            changes = {"utils.seed": seed, "model._target_": head, "model.model_name": head}
            folders.append(Path(run_experiment(make_config(tiny_data, changes))["run_dir"]))
            evaluate_run(folders[-1])
    groups = recipes_of([open_run(folder) for folder in folders])
    assert [len(runs) for runs in groups.values()] == [2, 2]
    ended = cli("compare", *map(str, folders), "by=recipe", f"paper={tmp_path / 'paper'}")
    assert ended.code == 0, ended.err
    assert ended.json["settings"]["seeds"] == [2, 2]
    assert (ended.json["openings"], ended.json["opened_by_runs"]) == (4, 4)
    table = pd.read_csv(tmp_path / "paper" / "table.csv")
    assert set(table["test_openings"]) == {4}
    assert set(table["label_origin"]) == {"unknown"}
    assert "(seeds 1, 2)" in (tmp_path / "paper" / "methods.txt").read_text(encoding="utf-8")
    ended = cli("compare", *map(str, folders[:2]), "by=recipe")
    assert ended.code == 2
    assert "one recipe" in ended.err
    ended = cli("compare", *map(str, folders), "by=seed")
    assert ended.code == 2
    assert "recipe" in ended.err
