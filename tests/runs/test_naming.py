"""The names of runs: given by people, or automatic; beside one another told apart by settings, else by time, never cut."""

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
    name_of,
    named_rows,
    new_status,
    open_run,
    read_annotations,
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


def test_equal_runs_are_told_apart_by_their_time_and_no_name_is_cut_or_an_id(make: Make) -> None:
    runs = [make(f"20260301-{minute}", "mlp", f"2026-03-01T10:{minute}:00+00:00") for minute in ("05", "59")]
    names = both(runs)
    assert all(name.startswith(("mlp · 2026-03-01 ", "mlp · 2026-02-28 ", "mlp · 2026-03-02 ")) for name in names)
    assert [name[-3:] for name in names] == [":05", ":59"]
    close = [make(f"s{second}", "mlp", f"2026-03-01T10:05:{second}+00:00") for second in ("01", "02")]
    assert [name[-6:] for name in both(close)] == [":05:01", ":05:02"]


def test_what_time_does_not_tell_apart_is_numbered() -> None:
    assert unique_names(["a", "b", "a"], [], ["2026-03-01T10:00:00+00:00"] * 3) == ["a (1)", "b", "a (2)"]
    times = ["2026-03-01T10:00:00+00:00", "2026-03-01T10:00:00+00:00", "2026-03-02T10:00:00+00:00"]
    first, second, third = unique_names(["a"] * 3, [], times)
    assert (first[-4:], second[-4:], third[:14]) == (" (1)", " (2)", "a · 2026-03-02")
    assert unique_names(["a", "a"], [], ["", ""]) == ["a (1)", "a (2)"]
