"""Compare begins with the best runs of two recipes, and takes a repeat with results in place of a run without."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from ctbench_core.compare import (
    are_repeats,
    can_compare,
    default_runs,
    repeats_on,
    repeats_without,
    run_choice,
    run_for_recipe,
    seeds_text,
)


def _row(run_id: str, value: float | None, tests: Sequence[str] = ("test",), **cells: Any) -> dict[str, Any]:
    """Return a row of the run table; the first letter of its id is the recipe, the second its place in time."""
    row = {"run_id": run_id, "recipe": run_id[0], "created": run_id[1:], "val_auprc": value, "kind": "train", "seed": 1}
    return row | {"tests": dict.fromkeys(tests, 0.5), "validation_set": "v", "run_dir": run_id} | cells


@pytest.fixture(autouse=True)
def scored_on_validation(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Return the ids of the runs that have scores on validation, to be filled."""
    ids: set[str] = set()
    monkeypatch.setattr(run_choice, "open_run", lambda folder: folder)
    monkeypatch.setattr(run_choice, "common_sets", lambda runs: {"validation": runs} if runs[0] in ids else {})
    return ids


def test_two_recipes_come_first_by_their_best_runs() -> None:
    rows = [_row("a4", 0.8), _row("a3", 0.9), _row("b2", 0.5), _row("c1", 0.7)]
    assert default_runs(rows) == ["a3", "c1"]
    assert not are_repeats(rows[0], rows[2]) and are_repeats(rows[0], rows[1])


def test_one_recipe_is_compared_by_its_two_best_seeds() -> None:
    assert default_runs([_row("a3", 0.5), _row("a2", 0.9), _row("a1", 0.8)]) == ["a2", "a1"]


def test_runs_of_one_validation_set_come_before_better_ones_of_another() -> None:
    other = {"validation_set": "w"}
    rows = [_row("d5", 0.95, **other), _row("a4", 0.8), _row("b3", 0.5), _row("c2", 0.6), _row("e1", 0.9, **other)]
    assert default_runs(rows) == ["a4", "c2"]
    assert default_runs([rows[0], rows[1]]) == ["d5", "a4"]
    seeds = [_row("a5", 0.7), _row("a4", 0.8), _row("a3", 0.9)]  # one recipe has the most runs, of a set of its own
    assert default_runs([*seeds, _row("b2", 0.5, **other), _row("c1", 0.6, **other)]) == ["c1", "b2"]


def test_the_second_recipe_was_tested_with_a_seed_of_the_first_where_any_was() -> None:
    rows = [
        _row("a6", 0.9, seed=3),
        _row("a5", 0.8, seed=4),
        _row("b4", 0.85),
        _row("c3", 0.6, seed=5),
        _row("c2", 0.5, seed=4),
    ]
    assert default_runs(rows) == ["a5", "c2"]  # and both have that seed
    assert default_runs(rows[:3]) == ["a6", "b4"]
    elsewhere = _row("c2", 0.5, ["other"], seed=4)  # of a set that the first was not tested on
    assert default_runs([*rows[:4], elsewhere]) == ["a6", "b4"]
    assert default_runs([*rows[:2], _row("p1", 0.85, kind="score"), *rows[3:]]) == ["a6", "p1"]


def test_a_test_set_in_common_comes_before_a_better_run() -> None:
    rows = [_row("a3", 0.9, ["other"]), _row("b2", 0.8), _row("c1", 0.7)]
    assert default_runs(rows) == ["b2", "c1"]
    rows = [_row("a3", 0.9, []), _row("b2", 0.8), _row("c1", 0.7)]
    assert default_runs(rows) == ["b2", "c1"]
    assert default_runs([_row("a2", 0.8, []), _row("b1", 0.9, [])]) == ["b1", "a2"]
    validated = [_row("a5", 0.9, []), _row("b4", 0.9, []), _row("c3", 0.9, [])]
    tested = [_row("d2", 0.5, validation_set="w"), _row("e1", 0.4, validation_set="w")]
    assert default_runs([*validated, *tested]) == ["d2", "e1"]


def test_a_repeat_with_test_results_stands_for_a_better_one_without() -> None:
    rows = [_row("a3", 0.9, []), _row("a2", 0.8), _row("b1", 0.7)]
    assert default_runs(rows) == ["a2", "b1"]


def test_predictions_are_compared_though_their_settings_are_the_same() -> None:
    rows = [_row("a2", None, kind="score"), _row("a1", None, kind="score")]
    assert default_runs(rows) == ["a2", "a1"]
    assert not are_repeats(*rows)


def test_runs_without_a_common_set_are_still_two_runs() -> None:
    assert default_runs([_row("a2", 0.5, ["one"]), _row("b1", 0.6, ["other"])]) == ["a2", "b1"]


def test_a_run_stands_for_its_recipe_unless_a_repeat_alone_has_results(scored_on_validation: set[str]) -> None:
    best, repeat, worst, other = _row("a4", 0.9, []), _row("a3", 0.8), _row("a2", 0.7), _row("b1", 0.95)
    ranked = [other, best, repeat, worst]
    assert run_for_recipe(best, ranked) is repeat
    assert run_for_recipe(worst, ranked) is worst
    assert run_for_recipe(best, [other, best]) is None
    scored_on_validation.add("a4")
    assert run_for_recipe(best, [other, best]) is best
    assert run_for_recipe(best, ranked) is repeat


def test_runs_with_a_test_set_or_scores_on_validation_can_be_compared(scored_on_validation: set[str]) -> None:
    scored_on_validation.add("a1")
    assert can_compare(_row("b1", 0.5)) and can_compare(_row("a1", 0.5, []))
    assert not can_compare(_row("b1", 0.5, []))
    assert not can_compare(_row("a1", 0.5, ["test"], kind="align"))


def test_repeats_without_results_are_listed_once_a_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(run_id: str, seed: int, *tests: str, **cells: Any) -> dict[str, Any]:
        return _row(run_id, 0.5, tests, seed=seed, fold=None, state="finished") | cells

    rows = [
        run("a9", 1, "test"),
        run("a8", 2),
        run("a7", 2),
        run("a6", 1),  # another run of its seed is compared
        run("a5", 3, "test"),
        run("a4", 4, state="failed"),
        run("b4", 1),  # the run of its seed that was stopped is compared
        run("b3", 1, "test", state="stopped"),
        run("b2", 2, "other"),
        run("c1", 5),
    ]
    tested = {row["run_dir"]: row["tests"] for row in rows}
    monkeypatch.setattr(run_choice, "common_sets", lambda runs: set.intersection(*(set(tested[one]) for one in runs)))
    chosen = [rows[0], rows[7]]
    assert repeats_on(chosen, rows, "test") == {"a9": ["a9", "a5"], "b3": ["b3"]}
    assert [row["seed"] for row in repeats_without(chosen, rows, "test")] == [2, 2]
    assert [row["run_id"][0] for row in repeats_without(chosen, rows, "test")] == ["a", "b"]


@pytest.mark.parametrize(
    ("seeds", "text"),
    [
        ([3], "seed 3"),
        ([2, 1], "seeds 1, 2"),
        ([3, 1, 2], "seeds 1 to 3"),
        ([1, 3, 9], "seeds 1, 3, 9"),
        ([1, 3, 9, 11, 12], "5 seeds"),
    ],
)
def test_seeds_are_written_as_short_as_they_can_be(seeds: list[int], text: str) -> None:
    assert seeds_text(seeds) == text
