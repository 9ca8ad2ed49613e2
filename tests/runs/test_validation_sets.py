"""A validation set is called by its file and by what chose it there, in every list of the store; else by its number."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from ctbench_core.config import Config
from ctbench_core.runs import (
    RunPaths,
    joint_set_names,
    new_status,
    numbered_sets,
    open_run,
    run_row,
    validation_mean,
    validation_set_names,
    write_config,
    write_status,
)


def row(
    run_id: str, of_set: str, file: str = "valid.csv", auprc: float | None = 0.5, **settings: Any
) -> dict[str, Any]:
    return {
        "run_id": run_id,
        "created": run_id,
        "validation_set": of_set,
        "validation_file": file,
        "val_auprc": auprc,
        "settings": {name.replace("__", "."): value for name, value in settings.items()},
    }


ROWS = [row("4", "new"), row("3", "other", "fold.csv"), row("2", "old"), row("1", "old")]
NAMES = {"old": "valid.csv", "other": "fold.csv", "new": "valid.csv (2)"}


def test_sets_of_one_file_that_no_setting_tells_apart_are_numbered_by_age_whatever_the_order() -> None:
    assert validation_set_names(ROWS) == validation_set_names(ROWS[::-1]) == NAMES == numbered_sets(ROWS)


def test_sets_of_one_file_are_told_apart_by_what_chose_them() -> None:
    rows = [
        row("1", "few", data__budget=20, utils__seed=1),
        row("2", "other draw", data__budget=20, utils__seed=2),
        row("3", "all", utils__seed=1, training__learning_rate=0.1),
        row("4", "all", utils__seed=2),
        row("5", "elsewhere", paths__manifest_dir="lab/two"),
        row("6", "edited", utils__seed=7),
        row("7", "alone", "one.csv", data__budget=20),
    ]
    names = {
        "few": "valid.csv, budget 20, seed 1",
        "other draw": "valid.csv, budget 20, seed 2",
        "all": "valid.csv",
        "elsewhere": "valid.csv, folder two",
        "edited": "valid.csv, seed 7",
        "alone": "one.csv",
    }
    assert validation_set_names(rows) == names
    again = [*rows, row("8", "once more", paths__manifest_dir="lab/two")]
    assert validation_set_names(again) == names | {
        "elsewhere": "valid.csv, folder two (4)",
        "once more": "valid.csv, folder two (6)",
    }


def test_a_later_set_renames_none() -> None:
    assert validation_set_names([*ROWS, row("5", "newest")]) == NAMES | {"newest": "valid.csv (3)"}


def test_a_run_without_a_metric_names_no_set() -> None:
    assert validation_set_names([row("0", "settings-1", auprc=None), *ROWS]) == NAMES


def test_several_sets_of_a_recipe_are_counted_and_told_apart() -> None:
    seeds = [("a", "valid.csv"), ("b", "valid.csv (2)")]
    others = [("a", "valid.csv"), ("c", "valid.csv (3)")]
    named = joint_set_names([seeds, seeds[::-1], others, seeds[:1], []])
    assert named == ["valid.csv (1, 2)"] * 2 + ["valid.csv (1, 3)", "valid.csv", ""]
    assert joint_set_names([[*seeds, ("d", "fold.csv")]]) == ["fold.csv (1), valid.csv (1, 2)"]
    words = [[("a", "valid.csv, budget 20, seed 1"), ("b", "valid.csv, budget 20, seed 2")]]
    assert joint_set_names(words) == ["valid.csv, budget 20 (2 sets)"]
    assert joint_set_names([[*words[0], ("c", "valid.csv")]]) == ["valid.csv (3 sets)"]
    many = [[(f"{letter}{number}", f"valid.csv ({number})") for number in range(2, 9)] for letter in "ab"]
    assert joint_set_names(many) == ["valid.csv (7 sets)", "valid.csv (7 sets) (2)"]


def test_the_file_is_that_of_the_provenance_else_of_the_config(tmp_path: Path) -> None:
    config = Config()
    config.data.val_manifest = "dev.csv"
    write_config(tmp_path / "config.yaml", config)
    write_status(tmp_path / "status.json", new_status("a"))
    assert run_row(open_run(tmp_path))["validation_file"] == "dev.csv"
    RunPaths(tmp_path).provenance.write_text('{"manifests": {"val": {"file": "C:\\\\lab\\\\train.csv", "volumes": 3}}}')
    assert run_row(open_run(tmp_path))["validation_file"] == "train.csv"


def test_metrics_of_one_validation_set_alone_have_a_mean() -> None:
    assert validation_mean([0.4, None, 0.6, math.nan], {"a"}) == (0.5, pytest.approx(0.02**0.5))
    mean, deviation = validation_mean([0.4], {"a"})
    assert (mean, math.isnan(deviation)) == (0.4, True)
    assert all(map(math.isnan, validation_mean([0.4, 0.6], {"a", "b"})))
    assert all(map(math.isnan, validation_mean([None], {"a"})))
