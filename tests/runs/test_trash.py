"""What was deleted is listed with its kind, name and time, restored, and deleted for good."""

from __future__ import annotations

import shutil
from datetime import datetime
from pathlib import Path

import pytest

from ctbench_core.config import Config
from ctbench_core.errors import InputError
from ctbench_core.runs import (
    PLAN,
    TRASH,
    RunPaths,
    count_deleted_runs,
    delete_alignment,
    delete_for_good,
    delete_run,
    deleted_in,
    empty_trash,
    new_status,
    now,
    open_run,
    restore,
    size_of,
    to_trash,
    write_config,
    write_status,
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a store with two runs of a job, of which one has alignment results, and a study of one run."""
    store = tmp_path / "out"
    for name, kind in (("train/one", "train"), ("align/two", "align"), ("grid/three", "train")):
        paths = RunPaths(store / name)
        write_config(paths.config, Config())
        write_status(paths.status, new_status(f"label of {name}", max_epochs=1), state="finished", kind=kind)
    for name in ("a", "b"):
        (store / "align" / "two" / "alignment" / name).mkdir(parents=True)
        (store / "align" / "two" / "alignment" / name / "metrics.json").write_text("{}")
    (store / "grid" / PLAN).write_text("{}")
    return store


def test_each_deletion_is_listed_with_kind_name_time_and_size(root: Path) -> None:
    started = now()
    places = {
        "label of train/one": delete_run(root, open_run(root / "train" / "one")),
        "a": delete_alignment(root, open_run(root / "align" / "two"), "a"),
        "grid": to_trash(root, root / "grid"),
    }
    deleted = {one.name: one for one in deleted_in(root)}
    kinds = {name: one.kind for name, one in deleted.items()}
    assert kinds == {"label of train/one": "run", "a": "alignment result", "grid": "study"}
    for name, place in places.items():
        one = deleted[name]
        assert (one.place, one.size) == (place, size_of(place))
        assert one.size > 0
        assert started <= one.deleted <= now()
        datetime.fromisoformat(one.deleted)
    assert [one.name for one in deleted_in(root)] == ["grid", "a", "label of train/one"]  # the newest first
    assert count_deleted_runs(root) == 1
    for one in deleted.values():
        assert restore(root, one.place) == one.home
        assert one.home.is_dir()
    assert deleted_in(root) == []


def test_what_an_earlier_version_deleted_is_listed_without_a_time(root: Path) -> None:
    delete_run(root, open_run(root / "train" / "one"))
    to_trash(root, root / "align" / "two" / "alignment" / "a" / "metrics.json")
    to_trash(root, root / "grid")
    (root / TRASH / "deletions.jsonl").unlink()
    found = [(one.kind, one.home.relative_to(root.resolve()).as_posix(), one.deleted) for one in deleted_in(root)]
    assert sorted(found) == [
        ("alignment result", "align/two/alignment/a", ""),
        ("run", "train/one", ""),
        ("study", "grid", ""),
    ]


def test_a_line_that_a_crash_cut_short_hides_nothing(root: Path) -> None:
    place = delete_run(root, open_run(root / "train" / "one"))
    with (root / TRASH / "deletions.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"place": "x"}\n[]\n{"pla')
    (one,) = deleted_in(root)
    assert one.place == place
    assert one.deleted


def test_a_run_of_a_study_that_was_deleted_whole_is_kept_beside_it(root: Path) -> None:
    study = to_trash(root, root / "grid")
    shutil.copytree(study, root / "grid")
    run = delete_run(root, open_run(root / "grid" / "three"))
    assert run.parent.parent.name == ".2"
    shutil.copytree(run, root / "grid" / "four")
    other = delete_run(root, open_run(root / "grid" / "four"))
    assert not other.is_relative_to(study)
    shutil.rmtree(root / "grid")
    restore(root, study)
    assert {one.name for one in deleted_in(root)} == {"label of grid/three"}
    assert len(deleted_in(root)) == 2


def test_one_is_deleted_for_good_and_the_others_stay(root: Path) -> None:
    first = delete_run(root, open_run(root / "train" / "one"))
    second = to_trash(root, root / "grid")
    size = size_of(first)
    assert delete_for_good(root, first) == size > 0
    assert not first.exists()
    assert not first.parent.exists()  # no empty folders are left
    assert [one.place for one in deleted_in(root)] == [second]
    with pytest.raises(InputError, match="not in the trash"):
        restore(root, first)


def test_nothing_outside_the_trash_is_deleted_for_good(root: Path) -> None:
    to_trash(root, root / "grid")
    for path in (root / "train" / "one", root / TRASH, root, root / TRASH / ".." / "train"):
        with pytest.raises(InputError, match="not in the trash"):
            delete_for_good(root, path)
    assert (root / "train" / "one").is_dir()
    assert len(deleted_in(root)) == 1


def test_a_damaged_part_of_a_run_is_restored_too(root: Path) -> None:
    notes = root / "train" / "one" / "annotations.json"
    notes.write_text("{")
    place = to_trash(root, notes)
    (one,) = deleted_in(root)
    assert (one.kind, one.home) == ("part of a run", notes.resolve())
    assert restore(root, place) == notes.resolve()
    assert notes.read_text() == "{"


def test_an_emptied_trash_lists_nothing(root: Path) -> None:
    delete_run(root, open_run(root / "train" / "one"))
    assert empty_trash(root) > 0
    assert deleted_in(root) == []


def test_what_is_deleted_again_comes_first(root: Path) -> None:
    place = delete_run(root, open_run(root / "train" / "one"))
    study = to_trash(root, root / "grid")
    restore(root, place)
    delete_run(root, open_run(root / "train" / "one"))
    assert [one.place for one in deleted_in(root)] == [place, study]
