"""Differences of recipes: those of the inference room pair by pair, in a table, a cache and the study's JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ctbench_core.dataset import seed_overlap
from ctbench_core.errors import ConfigError, InputError
from ctbench_core.inference import ELIGIBLE, MACRO, SAME_PATIENTS, benjamini_hochberg, measure, recipe_difference
from ctbench_core.inference import difference as layer_difference
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
from ctbench_core.studies.differences import common, compare, difference_rows, overlaps_of
from ctbench_core.studies.recipe_scores import Recipe

PATIENTS, SEEDS, FINDINGS = 120, 5, 2
MakeStudy = Callable[..., Study]
ENOUGH = {"data.test_manifests": ["train.csv"]}  # 30 patients, so that findings have intervals


def _recipe(name: str, skill: float, seed: int = 0, seeds: int = SEEDS, own: int = 0, folds: int = 0) -> Recipe:
    rng = np.random.default_rng(seed)
    targets = (rng.random((PATIENTS, FINDINGS)) < 0.4).astype(float)
    noise = np.random.default_rng([seed, own]).normal(size=(seeds, PATIENTS, FINDINGS))
    scores = 1 / (1 + np.exp(-(skill * targets + noise)))
    names = np.array([f"valid_{k}_a_1" for k in range(PATIENTS)], dtype=object)
    patients = np.array([f"valid_{k // 2}" for k in range(PATIENTS)], dtype=object)
    held = np.array([f"fold_{k // 2 % folds}" for k in range(PATIENTS)], dtype=object) if folds else None
    return Recipe((name,), ["a", "b"], [str(s) for s in range(seeds)], names, patients, targets, scores, held)


def test_a_comparison_is_that_of_the_inference_room_with_the_overlap_of_its_seeds() -> None:
    first, second = _recipe("first", 2.0, own=1), _recipe("second", 1.0, own=2)
    for overlap in (0.0, 0.3, 0.7):
        ours = compare(first, second, overlap)
        figures = measure(first.targets, np.concatenate([first.scores, second.scores]), first.patients, ["a", "b"])
        for metric, one in ours.items():
            layers = np.arange(2 * SEEDS)
            expected = layer_difference(figures[metric], layers[:SEEDS], layers[SEEDS:], True, overlap)
            np.testing.assert_allclose(one.bounds, expected.bounds)
            assert (one.question == SAME_PATIENTS) == (overlap == 0.7)
    assert compare(first, second, 0.3)["auroc"].error[0] > compare(first, second)["auroc"].error[0]


def test_rows_name_the_macro_means() -> None:
    first, second = _recipe("first", 2.0, own=1), _recipe("second", 1.0, own=2)
    assert [row["finding"] for row in difference_rows(compare(first, second)["auroc"])] == ["a", "b", ""]
    for one in (first, second):
        one.targets[:, 1] = 0
        one.targets[:4, 1] = 1
    rows = difference_rows(compare(first, second)["auroc"])
    assert [row["finding"] for row in rows] == ["a", "b", "", ELIGIBLE]
    assert "1 of 2 findings" in rows[2]["reason"]
    assert np.isnan(rows[2]["p"]) and rows[3]["p"] == pytest.approx(rows[0]["p"], rel=0.5)


def test_only_what_both_have_is_compared() -> None:
    first, second = _recipe("first", 2.0), _recipe("second", 1.0, seeds=3)
    fewer = second.over(second.volumes[::-1][:50], second.seeds[1:], ["b"])
    a, b = common(first, fewer)
    assert (a.findings, len(a.volumes)) == (["b"], 50)
    assert (a.volumes == b.volumes).all()
    assert a.scores[0, 0, 0] == first.scores[0, list(first.volumes).index(a.volumes[0]), 1]
    assert compare(first, fewer)["auroc"].seeds == (2, 2)  # the seeds that both have
    with pytest.raises(InputError, match="share no volumes or findings"):
        common(first, second.over(second.volumes, second.seeds, []))
    other = _recipe("third", 1.0, seed=5)
    with pytest.raises(InputError, match="different labels"):
        common(first, other)


@pytest.mark.parametrize("folds", [0, 6])
def test_best_is_marked_only_where_it_beats_all_others(folds: int) -> None:
    skills = {"weak": 0.0, "strong": 6.0, "middle": 0.5}
    clear = best_of([_recipe(name, s, own=k, folds=folds) for k, (name, s) in enumerate(skills.items())], "auroc")
    assert list(clear["best"]) == [1, 1]
    assert clear["marked"].all()
    close = best_of([_recipe(str(k), 1.0, own=k, folds=folds) for k in range(3)], "auroc")
    assert not close["marked"].any()


def test_a_study_compares_the_values_of_an_axis(make_study: MakeStudy, tiny_data: Path) -> None:
    result = run_study(make_study({"utils.seed": [1, 2, 3], "model": ["mlp_visual", "linear_probe"]}, ENOUGH))
    paths = StudyPaths(Path(result["study_dir"]))
    plan = read_plan(paths)
    results = read_results(paths, plan)
    table = differences(paths, plan, results, "model")
    assert set(table["a"] + table["b"]) == {"mlp_visuallinear_probe"}
    assert (table["seeds"] == 3).all()
    known = table[table["p"].notna()]
    assert len(known) > 2
    np.testing.assert_allclose(known["p_adjusted"], benjamini_hochberg(known["p"]))
    assert (table["family"] == len(known)).all()
    assert (table["overlap"] == 1).all()  # the full training set: for these training patients
    assert set(table["question"]) == {SAME_PATIENTS}
    frame = cell_frame(paths, plan, results)
    for name, column in (("", "mean"), (ELIGIBLE, "mean")):
        cells = frame[(frame["finding"] == name) & (frame["metric"] == "auprc")].set_index("model")[column]
        row = table[(table["finding"] == name) & (table["metric"] == "auprc")]
        if len(row):
            assert row["delta"].item() == pytest.approx(cells["mlp_visual"] - cells["linear_probe"])
    with pytest.raises(ConfigError, match="no axis"):
        differences(paths, plan, results, "encoder")


def test_the_json_has_the_same_differences_as_the_inference_room(make_study: MakeStudy) -> None:
    grid = {"budget": [20], "utils.seed": [1, 2, 3], "model": ["mlp_visual", "linear_probe"]}
    result = run_study(make_study(grid, ENOUGH))
    paths = StudyPaths(Path(result["study_dir"]))
    plan = read_plan(paths)
    one, other = load_recipes(paths, plan, read_results(paths, plan)).values()
    (overlap,) = set(overlaps_of(plan).values())
    assert overlap == pytest.approx(20 / 44)
    expected = recipe_difference(
        one.targets, one.scores, other.scores, (one.seeds, other.seeds), one.patients, one.findings, overlap
    )
    rows = {(row["metric"], row["label"]): row for row in result["differences"]}
    assert {row["a"] for row in rows.values()} == {"20 · mlp_visual"}
    assert {row["axis"] for row in rows.values()} == {"model"}
    for metric, difference in expected.items():
        for place, column in enumerate(difference.columns):
            row = rows.pop((metric, column))
            values = [row[name] for name in ("delta", "lo", "hi", "p", "detectable")]
            wanted = [
                difference.delta[place],
                *difference.bounds[place],
                difference.p[place],
                difference.detectable[place],
            ]
            assert values == pytest.approx(wanted, nan_ok=True)
            assert row["reason"] == (difference.reasons[place] or "")
    assert not rows
    assert np.isfinite([row["p"] for row in result["differences"]]).any()
    assert MACRO in {row["label"] for row in result["differences"]}


def test_pairs_that_were_compared_are_not_compared_again(
    make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = run_study(make_study())
    paths = StudyPaths(Path(result["study_dir"]))
    plan = read_plan(paths)
    results = read_results(paths, plan)
    before = differences(paths, plan, results, "model")
    module = sys.modules["ctbench_core.studies.differences"]
    monkeypatch.setattr(module, "compare", lambda *_: pytest.fail("compared again"))
    pd.testing.assert_frame_equal(differences(paths, plan, results, "model"), before)
    monkeypatch.setattr(module, "RULES", 0)  # another release, with other rules
    assert not len(differences(paths, plan, results, "model", cached_only=True))


def test_two_seeds_have_a_range_and_no_interval(make_study: MakeStudy) -> None:
    result = run_study(make_study(base=ENOUGH))
    known = [row for row in result["differences"] if "two seeds" in row["reason"]]
    assert known
    assert all(np.isnan(row["p"]) and np.isnan(row["lo"]) for row in known)
    cells = [cell for cell in result["by_cell"] if "two seeds" in cell["reason"]]
    assert cells
    for cell in cells:
        assert np.isnan(cell["lo"])
        assert cell["range_lo"] <= cell["mean"] <= cell["range_hi"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"data.budget": 11}, 11 / 44),
        ({"data.budget": 10**6}, 1.0),
        ({}, 1.0),
        ({"data.budget": 11, "data.budget_seed": 3}, 1.0),
        ({"data.budget": 11, "paths.manifest_dir": "gone"}, 1.0),
    ],
)
def test_the_overlap_of_seeds_is_the_budget_among_all_patients(
    make_study: MakeStudy, changes: dict[str, Any], expected: float
) -> None:
    study = make_study({"utils.seed": [1]}, base=changes)
    (_, config), *_ = study.configs()
    assert seed_overlap(config) == pytest.approx(expected)


def test_the_budget_is_compared_only_where_it_is_the_only_axis(make_study: MakeStudy) -> None:
    grid = {"budget": [12, 24], "utils.seed": [1, 2]}
    alone = run_study(make_study(grid))
    assert {row["axis"] for row in alone["differences"]} == {"budget"}
    assert json.dumps(alone["differences"][0]["a"]) == '"12"'
