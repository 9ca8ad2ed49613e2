"""Compare recipes: means over seeds, errors of seeds and patients."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import average_precision_score, roc_auc_score

from ctbench_core.compare import (
    Comparison,
    Matched,
    compare_models,
    compare_recipes,
    compare_runs,
    match_recipes,
    match_runs,
)
from ctbench_core.compare.recipes import compare_scored_recipes, recipes_of
from ctbench_core.config import Config
from ctbench_core.evaluate import evaluate_run
from ctbench_core.experiment import run_experiment
from ctbench_core.inference import MACRO
from ctbench_core.report import paper_files, seed_texts
from ctbench_core.runs import open_run
from tests.model_scores import RECIPE_LABELS, recipe_scores


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    recipes = {
        "weak": recipe_scores("weak", 0.3, 3),
        "strong": recipe_scores("strong", 2.0, 4),
        "single": recipe_scores("single", 0.3, 1),
    }
    return compare_scored_recipes(recipes, "test")


def test_a_recipes_figure_is_the_mean_over_its_seeds(comparison: Comparison) -> None:
    table = comparison.metrics.set_index(["model", "metric", "finding"])
    for name, quality, count in (("weak", 0.3, 3), ("strong", 2.0, 4), ("single", 0.3, 1)):
        for metric, figure in (("auroc", roc_auc_score), ("auprc", average_precision_score)):
            values = [
                figure(one.frame[f"target_{RECIPE_LABELS[0]}"].astype(int), one.frame[f"prob_{RECIPE_LABELS[0]}"])
                for one in recipe_scores(name, quality, count).values()
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
    label = RECIPE_LABELS[0]
    values = {
        name: [
            roc_auc_score(model.frame[f"target_{label}"].astype(int), model.frame[f"prob_{label}"])
            for model in recipe_scores(name, quality, count).values()
        ]
        for name, quality, count in (("weak", 0.3, 3), ("strong", 2.0, 3), ("single", 0.3, 1))
    }
    rows = table[(table["metric"] == "auroc") & (table["label"] == label)].set_index("a")
    assert rows.loc["strong", "delta"] == pytest.approx(np.mean(values["strong"]) - np.mean(values["weak"]), abs=1e-12)
    assert rows.loc["single", "delta"] == pytest.approx(values["single"][0] - values["weak"][0], abs=1e-12)
    assert rows["seeds"].tolist() == [3, 1]  # those that both recipes have
    assert list(seed_texts(comparison).values()) == ["3 common seeds", "1 common seed"]
    assert rows.loc["strong", "a_value"] == pytest.approx(np.mean(values["strong"]), abs=1e-12)  # of 3 of its 4 seeds
    assert rows.loc["single", "b_value"] == pytest.approx(values["weak"][0], abs=1e-12)  # of 1 of 3
    np.testing.assert_allclose(table["a_value"] - table["b_value"], table["delta"], atol=1e-12)
    files = paper_files(comparison)
    stored = pd.read_csv(io.StringIO(files["differences.csv"].removeprefix("\ufeff")))
    np.testing.assert_allclose(stored["a_value"] - stored["b_value"], stored["delta"], atol=1e-12)
    for row in json.loads(files["comparison.json"])["differences"]:
        assert row["a_value"] - row["b_value"] == pytest.approx(row["delta"], abs=1e-12)
    for row in table.itertuples():
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
            {"a": recipe_scores("a", 1, 3, noise), "bb": recipe_scores("bb", 1, 3, noise)}, "test"
        )
        row = one.differences.set_index(["metric", "label"]).loc[("auroc", MACRO)]
        return float(row["hi"] - row["lo"])

    assert width(1.5) > 1.15 * width(0.0)


def test_few_common_seeds_give_the_answer_that_they_can() -> None:
    recipes = {
        "three": recipe_scores("three", 0.5, 3),
        "two": recipe_scores("two", 0.5, 2),
        "one": recipe_scores("one", 0.5, 1),
    }
    one = compare_scored_recipes(recipes, "test")
    table = one.differences.set_index(["a", "metric", "label"])
    two, single = table.loc["two"], table.loc["one"]
    assert two[["lo", "hi", "p", "p_adjusted", "detectable"]].isna().all(axis=None)
    assert set(two["reason"]) == {"two seeds: the range over seeds is shown"}
    seeds = [
        roc_auc_score(m.frame[f"target_{RECIPE_LABELS[0]}"].astype(int), m.frame[f"prob_{RECIPE_LABELS[0]}"])
        for name in ("two", "three")
        for m in list(recipes[name].values())[:2]
    ]
    gaps = np.subtract(seeds[:2], seeds[2:])
    row = two.loc["auroc", RECIPE_LABELS[0]]
    assert (row["range_lo"], row["range_hi"]) == pytest.approx((gaps.min(), gaps.max()), abs=1e-12)
    # One common seed: the two models of that seed, and it says so.
    assert set(single["question"]) == {"these trained models"}
    assert single["p"].notna().all()
    models = compare_models([recipes["three"]["0"], recipes["one"]["0"]], "test").differences
    columns = ["delta", "lo", "hi", "p"]
    np.testing.assert_array_equal(models[columns], single[columns])
    assert one.settings["family"] == 6


def test_seeds_without_a_common_name_are_compared_unpaired() -> None:
    first = recipe_scores("a", 0.5, 3)
    second = {f"x{seed}": model for seed, model in recipe_scores("bb", 0.5, 3).items()}
    paired = {seed.removeprefix("x"): model for seed, model in second.items()}
    unpaired = compare_scored_recipes({"a": first, "bb": second}, "test").differences
    assert unpaired["range_lo"].isna().all()
    assert unpaired["p"].notna().all()
    same = compare_scored_recipes({"a": first, "bb": paired}, "test").differences
    np.testing.assert_allclose(unpaired["delta"], same["delta"], atol=1e-12)
    np.testing.assert_allclose(unpaired["a_value"] - unpaired["b_value"], unpaired["delta"], atol=1e-12)
    assert (unpaired["p"] != same["p"]).all()


def test_seeds_that_share_training_patients_widen_the_interval_or_narrow_the_question() -> None:
    recipes = {"a": recipe_scores("a", 1, 3, 1.0), "bb": recipe_scores("bb", 1, 3, 1.0)}

    def row(overlap: float) -> pd.Series:
        one = compare_scored_recipes(recipes, "test", {"a": 0.0, "bb": overlap})
        return one.differences.set_index(["metric", "label"]).loc["auroc", MACRO]

    none, some, all_ = row(0.0), row(0.4), row(1.0)
    assert some["hi"] - some["lo"] > 1.05 * (none["hi"] - none["lo"])
    assert (none["lo"], none["hi"]) == (all_["lo"], all_["hi"])
    assert none["question"] == some["question"] == "this way of training"
    assert all_["question"] == "this way of training, for these training patients"


def _as_matched(matched: Matched, comparison: Comparison) -> bool:
    """Whether what is shown before the statistics agrees with what they say."""
    runs = [run for group in matched.runs for run in group]
    assert matched.names == comparison.common.names and matched.common.n == comparison.common.n
    assert [len(group.layers) for group in matched.groups] == comparison.settings["seeds"]
    return matched.disclosures(runs, comparison.set_names) == comparison.disclosures


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
    assert _as_matched(match_recipes(folders), compare_recipes(folders))
    assert _as_matched(match_runs(folders), compare_runs(folders))
    ended = cli("compare", *map(str, folders[:2]), "by=recipe")
    assert ended.code == 2
    assert "one recipe" in ended.err
    ended = cli("compare", *map(str, folders), "by=seed")
    assert ended.code == 2
    assert "recipe" in ended.err
