"""Paired differences of recipes: their error by hand, their level and power, and which recipe is called best."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ctbench_core.errors import ConfigError, InputError
from ctbench_core.metrics import macro, ranking_metrics
from ctbench_core.studies import (
    Study,
    StudyPaths,
    best_of,
    cell_frame,
    differences,
    load_recipes,
    read_plan,
    read_results,
    run_study,
)
from ctbench_core.studies.differences import common, recipe_difference
from ctbench_core.studies.recipe_scores import Recipe

PATIENTS, SEEDS, FINDINGS = 120, 5, 2


def _recipe(name: str, skill: float, seed: int = 0, seeds: int = SEEDS, own: int = 0) -> Recipe:
    rng = np.random.default_rng(seed)
    targets = (rng.random((PATIENTS, FINDINGS)) < 0.4).astype(float)
    noise = np.random.default_rng([seed, own]).normal(size=(seeds, PATIENTS, FINDINGS))
    scores = 1 / (1 + np.exp(-(skill * targets + noise)))
    names = np.array([f"valid_{k}_a_1" for k in range(PATIENTS)], dtype=object)
    patients = np.array([f"valid_{k // 2}" for k in range(PATIENTS)], dtype=object)
    return Recipe((name,), ["a", "b"], [str(s) for s in range(seeds)], names, patients, targets, scores)


def test_the_difference_is_that_of_the_mean_metrics_and_p_matches_the_interval() -> None:
    first, second = _recipe("first", 2.0, own=1), _recipe("second", 1.0, own=2)
    rows = {(row.metric, row.finding): row for row in recipe_difference(first, second)}
    for metric in ("auprc", "auroc"):
        by_seed = [
            getattr(ranking_metrics(first.targets, one), metric)
            - getattr(ranking_metrics(first.targets, other), metric)
            for one, other in zip(first.scores, second.scores)
        ]
        assert rows[metric, "a"].delta == pytest.approx(np.mean(by_seed, axis=0)[0])
        assert rows[metric, ""].delta == pytest.approx(macro(np.mean(by_seed, axis=0))[0])
    for row in rows.values():
        assert (row.p < 0.05) == (not row.lo <= 0 <= row.hi)
    reverse = {(row.metric, row.finding): row for row in recipe_difference(second, first)}
    assert reverse["auprc", "a"].delta == pytest.approx(-rows["auprc", "a"].delta)


def test_seeds_alone_are_a_paired_t() -> None:
    """Where every draw of patients has the same metric, only seeds vary: the paired t-test of the seeds' differences."""
    first, second = _recipe("first", 30.0), _recipe("second", 30.0)
    assert {row.delta for row in recipe_difference(first, second)} == {0.0}
    assert all(row.p == 1 for row in recipe_difference(first, second) if not np.isnan(row.p))


def test_equal_recipes_are_seldom_called_different_and_unequal_ones_often() -> None:
    calls = {0.0: [], 0.5: []}
    for gap, rejections in calls.items():
        for k in range(40):
            rows = recipe_difference(_recipe("a", 1.0 + gap, k, own=1), _recipe("b", 1.0, k, own=2), seed=k)
            rejections += [row.p < 0.05 for row in rows if row.metric == "auroc" and not row.finding]
    assert np.mean(calls[0.0]) <= 0.125  # 5 or more of 40 by chance: 5 %
    assert np.mean(calls[0.5]) > 0.8


def test_only_what_both_have_is_compared() -> None:
    first, second = _recipe("first", 2.0), _recipe("second", 1.0, seeds=3)
    fewer = second.over(second.volumes[::-1][:50], second.seeds[1:], ["b"])
    a, b = common(first, fewer)
    assert (a.seeds, a.findings, len(a.volumes)) == (["1", "2"], ["b"], 50)
    assert (a.volumes == b.volumes).all()
    assert a.scores[0, 0, 0] == first.scores[1, list(first.volumes).index(a.volumes[0]), 1]
    with pytest.raises(InputError, match="share no seeds, volumes or findings"):
        common(first, second.over(second.volumes, second.seeds, []))
    other = _recipe("third", 1.0, seed=5)
    with pytest.raises(InputError, match="different labels"):
        common(first, other)


def test_best_is_marked_only_where_it_beats_all_others() -> None:
    clear = best_of(
        [_recipe("weak", 0.3, own=1), _recipe("strong", 3.0, own=2), _recipe("middle", 0.5, own=3)], "auroc"
    )
    assert list(clear["best"]) == [1, 1]
    assert clear["marked"].all()
    close = best_of([_recipe("one", 1.0, own=1), _recipe("two", 1.0, own=2), _recipe("three", 1.0, own=3)], "auroc")
    assert not close["marked"].any()


def test_a_study_compares_the_values_of_an_axis(make_study: Callable[..., Study]) -> None:
    result = run_study(make_study({"utils.seed": [1, 2, 3], "model": ["mlp_visual", "linear_probe"]}))
    paths = StudyPaths(Path(result["study_dir"]))
    plan = read_plan(paths)
    results = read_results(paths, plan)
    table = differences(plan, load_recipes(paths, plan, results), "model")
    assert set(table["a"] + table["b"]) == {"mlp_visuallinear_probe"}
    assert (table["seeds"] == 3).all()
    known = table[table["p"].notna()]
    assert (known["p_adjusted"] >= known["p"]).all()
    assert (table["family"] == len(known)).all()
    means = pd.read_csv(result["table"]).groupby("model")["test_auprc"].mean()
    frame = cell_frame(paths, plan, results)
    macros = frame[(frame["finding"] == "") & (frame["metric"] == "auprc")].set_index("model")
    assert macros["mean"].to_dict() == pytest.approx(means.to_dict(), abs=1e-6)
    with pytest.raises(ConfigError, match="no axis"):
        differences(plan, {}, "encoder")


def test_p_and_interval_come_from_one_t() -> None:
    for own in (1, 2, 3, 4):
        for row in recipe_difference(_recipe("first", 1.4, own=own), _recipe("second", 1.0, own=own + 4)):
            assert (row.p < 0.05) == (row.lo > 0 or row.hi < 0)
