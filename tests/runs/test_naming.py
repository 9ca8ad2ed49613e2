"""The names of runs: given by people, or automatic and short; told apart by settings, else by time, never cut."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ctbench_core.config import Config, set_keys
from ctbench_core.errors import InputError
from ctbench_core.runs import (
    LONGEST_NAME,
    Run,
    automatic_label,
    is_named,
    name_of,
    named_rows,
    new_status,
    open_run,
    read_annotations,
    recipe_names,
    rename_run,
    run_names,
    run_row,
    run_rows,
    unique_names,
    write_config,
    write_status,
)

Make = Callable[..., Run]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Return a function that writes a run: its folder's name, label and settings, and when it was made."""

    def make_run(folder: str, label: str, created: str = "2026-03-01T10:00:00+00:00", **keys: Any) -> Run:
        root = tmp_path / "train" / folder
        write_config(root / "config.yaml", set_keys(Config(), {key.replace("__", "."): keys[key] for key in keys}))
        write_status(root / "status.json", new_status(label), state="finished", created=created)
        return open_run(root)

    return make_run


def both(runs: list[Run]) -> list[str]:
    """Return the names of runs, which are those of their rows."""
    names = run_names(runs)
    rows = named_rows([run_row(run) for run in runs])
    assert [row["name"] for row in rows] == names
    assert [row["own_name"] for row in rows] == [run.name for run in runs]
    return names


def test_a_given_name_replaces_the_automatic_one_until_it_is_emptied(make: Make, tmp_path: Path) -> None:
    run = make("a", "linear · seed 1")
    rename_run(run.paths.root, "  the run\nof table 2 ")
    assert (run.name, run.automatic_name) == ("the run of table 2", "linear · seed 1")
    assert name_of(run.paths.root, run.status) == "the run of table 2"
    assert [row["name"] for row in run_rows(tmp_path)] == ["the run of table 2"]
    rename_run(run.paths.root, " ")
    assert run.name == "linear · seed 1"
    assert [row["name"] for row in run_rows(tmp_path)] == ["linear · seed 1"]


def test_a_name_is_kept_beside_tags_and_an_older_file_has_none(make: Make) -> None:
    run = make("a", "automatic")
    (run.paths.root / "annotations.json").write_text('{"pinned": true, "tags": ["paper"], "notes": ""}')
    assert run.name == "automatic"
    rename_run(run.paths.root, "new")
    assert (read_annotations(run.paths.root).tags, run.name) == (["paper"], "new")


def test_a_name_that_is_too_long_is_refused(make: Make) -> None:
    run = make("a", "automatic")
    with pytest.raises(InputError, match=f"{LONGEST_NAME + 1} characters, at most {LONGEST_NAME}"):
        rename_run(run.paths.root, "x" * (LONGEST_NAME + 1))
    assert run.name == "automatic"


def test_a_damaged_file_of_notes_leaves_the_automatic_name(make: Make) -> None:
    run = make("a", "automatic")
    (run.paths.root / "annotations.json").write_text("{torn")
    assert run.name == "automatic"


def test_runs_of_one_name_have_the_settings_in_which_they_differ(make: Make) -> None:
    runs = [make("a", "mlp"), make("b", "mlp", data__budget=20), make("c", "linear", data__budget=20)]
    assert both(runs) == ["mlp · budget all", "mlp · budget 20", "linear"]
    assert both([make("d", "same", utils__seed=1), make("e", "same", utils__seed=2)]) == [
        "same · seed 1",
        "same · seed 2",
    ]


def make_automatic(make: Make, folder: str, created: str = "2026-03-01T10:00:00+00:00", **keys: Any) -> Run:
    """Write a run with the label that it gets when it starts."""
    config = set_keys(Config(), {key.replace("__", "."): value for key, value in keys.items()})
    return make(folder, automatic_label(config), created, **keys)


LINEAR = {"model___target_": "linear", "model__model_name": "linear"}


def test_an_automatic_name_begins_with_what_differs_and_leaves_out_what_does_not(make: Make) -> None:
    settings: list[dict[str, Any]] = [
        *({"utils__seed": seed} for seed in (1, 42)),
        *(LINEAR | {"utils__seed": seed, "data__budget": 40} for seed in (1, 2)),
        LINEAR | {"utils__seed": 1, "training__learning_rate": 0.01},
        LINEAR | {"utils__seed": 1},
        {"model__params__hidden_dims": [512, 256], "data__standardise": "zscore"},
        {"model__inputs": "text", "training__batch_size": 32},
    ]
    runs = [make_automatic(make, str(number), training__max_epochs=7, **one) for number, one in enumerate(settings)]
    names = both(runs)
    assert names == [
        *("mlp · seed 1", "mlp · seed 42", "budget 40 · linear · seed 1", "budget 40 · linear · seed 2"),
        *("lr 0.01 · linear", "linear", "mlp 512-256", "text · mlp"),
    ]
    assert max(map(len, names)) <= 30


def test_widths_that_all_runs_have_are_in_no_name(make: Make) -> None:
    runs = [make_automatic(make, str(seed), model__params__hidden_dims=[8], utils__seed=seed) for seed in (1, 2)]
    assert both(runs) == ["mlp · seed 1", "mlp · seed 2"]


def test_encoders_are_named_where_runs_differ_in_them(make: Make) -> None:
    roots = ("lab/CT-CLIP", "lab/CT-CLIP", "lab/another/features")
    settings = [
        {"paths__data_root": root, "data__standardise": scaling}
        for root, scaling in zip(roots, ("zscore", "none", "none"))
    ]
    runs = [make_automatic(make, str(number), **one) for number, one in enumerate(settings)]
    assert both(runs) == ["zscore · CT-CLIP · mlp", "CT-CLIP · mlp", "another · mlp"]


def test_a_setting_without_effect_is_in_no_name(make: Make) -> None:
    runs = [
        make_automatic(make, "a", **LINEAR, model__params__hidden_dims=[8], utils__seed=1),
        make_automatic(make, "b", **LINEAR, model__params__hidden_dims=[], model__params__dropout=0.1, utils__seed=2),
    ]
    assert both(runs) == ["linear · seed 1", "linear · seed 2"]


def test_runs_that_people_named_and_imported_ones_keep_their_names(make: Make) -> None:
    runs = [
        *(make_automatic(make, str(seed), utils__seed=seed) for seed in (1, 2)),
        make("imported", "2024-05-01_run"),
        make("named", "baseline", logging__run_name="baseline", utils__seed=3),
        make_automatic(make, "renamed", utils__seed=4),
    ]
    rename_run(runs[-1].paths.root, "table 2")
    assert both(runs) == ["mlp · seed 1", "mlp · seed 2", "2024-05-01_run", "baseline", "table 2"]


@pytest.mark.parametrize("label", ["mlp · 1024 · visual · seed 1", "mlp · visual · seed 1", "mlp · seed 1"])
def test_labels_of_earlier_releases_are_automatic(make: Make, label: str) -> None:
    runs = [make("a", label, utils__seed=1), make_automatic(make, "b", utils__seed=2)]
    assert both(runs) == ["mlp · seed 1", "mlp · seed 2"]
    assert is_named(make("c", "mlp · seed 5", utils__seed=1))


def test_a_run_alone_is_named_by_its_head_and_seed_and_by_what_is_no_default(make: Make) -> None:
    assert automatic_label(Config()) == "mlp · seed 42"
    changes = {"data.budget": 40, "model.inputs": "text", "model.params.hidden_dims": [8, 4], "utils.seed": 1}
    assert automatic_label(set_keys(Config(), changes)) == "budget 40 · text · mlp 8-4 · seed 1"
    assert both([make_automatic(make, "a")]) == ["mlp"]


def test_recipes_are_named_as_runs_are_without_what_repeats_them() -> None:
    changes: list[dict[str, Any]] = [{"utils.seed": 1}, {"utils.seed": 2, "data.budget": 40}]
    assert recipe_names([set_keys(Config(), one) for one in changes]) == ["mlp", "budget 40 · mlp"]


def test_equal_runs_are_told_apart_by_their_time_as_short_as_does(make: Make) -> None:
    def names(*times: str) -> list[str]:
        return both([make(time.translate({58: None}), "mlp", f"2026-{time}+00:00") for time in times])

    hours = names("03-01T12:05:00", "03-01T12:59:00")
    assert [len(name) for name in hours] == [len("mlp · 10:05")] * 2
    assert [name[-3:] for name in hours] == [":05", ":59"]
    assert [name[:11] for name in names("03-05T12:00:00", "03-07T12:00:00")] == ["mlp · 5 Mar", "mlp · 7 Mar"]
    assert [name[-6:] for name in names("03-01T10:05:01", "03-01T10:05:02")] == [":05:01", ":05:02"]
    years = unique_names(["a", "a"], [], ["2025-03-05T12:00:00+00:00", "2026-03-05T12:00:00+00:00"])
    assert [name[:14] for name in years] == ["a · 5 Mar 2025", "a · 5 Mar 2026"]


def test_what_time_does_not_tell_apart_is_numbered() -> None:
    assert unique_names(["a", "b", "a"], [], ["2026-03-01T10:00:00+00:00"] * 3) == ["a (1)", "b", "a (2)"]
    times = ["2026-03-01T12:00:00+00:00", "2026-03-01T12:00:00+00:00", "2026-03-02T12:00:00+00:00"]
    first, second, third = unique_names(["a"] * 3, [], times)
    assert (first[-4:], second[-4:], third[:9]) == (" (1)", " (2)", "a · 2 Mar")
    assert unique_names(["a", "a"], [], ["", ""]) == ["a (1)", "a (2)"]
