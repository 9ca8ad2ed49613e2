"""Compare recipes: means over seeds, errors of seeds and patients."""

from __future__ import annotations

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
from ctbench_core.config import Config
from ctbench_core.evaluate import evaluate_run
from ctbench_core.experiment import run_experiment
from ctbench_core.runs import open_run
from tests.model_scores import RECIPE_LABELS, recipe_scores


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    recipes = {
        "weak": recipe_scores("weak", 0.3, 3),
        "strong": recipe_scores("strong", 2.0, 4),
        "single": recipe_scores("single", 0.3, 1),
    }
    return compare_scored_recipes(recipes, "test", resamples=300)


def test_a_recipes_figure_is_the_mean_over_its_seeds(comparison: Comparison) -> None:
    table = comparison.metrics.set_index(["model", "metric", "finding"])
    for name, quality, count in (("weak", 0.3, 3), ("strong", 2.0, 4), ("single", 0.3, 1)):
        for metric, figure in (("auroc", roc_auc_score), ("auprc", average_precision_score)):
            values = [
                figure(one.frame[f"target_{RECIPE_LABELS[0]}"].astype(int), one.frame[f"prob_{RECIPE_LABELS[0]}"])
                for one in recipe_scores(name, quality, count)
            ]
            row = table.loc[(name, metric, RECIPE_LABELS[0])]
            assert row["value"] == pytest.approx(np.mean(values), abs=1e-12)
            assert row["seeds"] == count
            if count > 1:
                assert row["sd"] == pytest.approx(np.std(values, ddof=1), abs=1e-12)
                assert row["seed_error"] <= row["sd"] / np.sqrt(count) + 1e-12
            else:
                assert np.isnan(row["sd"])


def test_differences_are_of_means_and_adjusted_over_the_table(comparison: Comparison) -> None:
    table = comparison.differences
    assert len(table) == 2 * 2 * 3
    figures = comparison.metrics.set_index(["model", "metric", "finding"])["value"]
    for row in table.itertuples():
        first, second = (figures[name, row.metric, row.label] for name in (row.a, row.b))
        assert row.delta == pytest.approx(first - second, abs=1e-12)
        assert row.lo < row.delta < row.hi
        # p belongs to the interval: it is below .05 just where the interval leaves out 0.
        assert (row.p < 0.05) == (row.lo > 0 or row.hi < 0)
    np.testing.assert_allclose(table["p_adjusted"], stats.false_discovery_control(table["p"]), atol=1e-12)
    assert (table.loc[(table["a"] == "strong") & (table["label"] == MACRO), "p_adjusted"] < 0.001).all()
    assert (table.loc[table["a"] == "single", "p"] > 0.05).all()
    assert comparison.common.names[comparison.best["auprc"].index] == "strong"
    assert comparison.best["auprc"].marked


def test_seeds_that_lie_far_apart_widen_the_interval() -> None:
    def width(noise: float) -> float:
        one = compare_scored_recipes(
            {"a": recipe_scores("a", 1, 3, noise), "bb": recipe_scores("bb", 1, 3, noise)}, "test", resamples=200
        )
        row = one.differences.set_index(["metric", "label"]).loc[("auroc", MACRO)]
        return float(row["hi"] - row["lo"])

    assert width(1.5) > 1.15 * width(0.0)


def test_equal_recipes_are_seldom_called_different() -> None:
    calls = []
    for cohort in range(60):
        recipes = {"a": recipe_scores("a", 1, 3, 0.6, cohort, 160), "bb": recipe_scores("bb", 1, 3, 0.6, cohort, 160)}
        calls.append((compare_scored_recipes(recipes, "test", resamples=100).differences["p"] < 0.05).mean())
    assert 0.005 < np.mean(calls) < 0.105  # 60 cohorts of six dependent tests: about 1.9 points of error


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
