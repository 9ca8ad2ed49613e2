"""What people do to stored runs: write on them, delete and restore them, export them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ctbench_core.config import Config
from ctbench_core.errors import InputError
from ctbench_core.experiment import queue_run
from ctbench_core.runs import (
    RunStore,
    annotate,
    delete_run,
    empty_trash,
    open_run,
    read_annotations,
    restore_run,
    write_status,
)


@pytest.fixture
def ended(tmp_path: Path) -> Path:
    """Return a finished run in the store tmp_path/out."""
    config = Config()
    config.paths.outputs_root = str(tmp_path / "out")
    run_dir = queue_run(config)
    run = open_run(run_dir)
    write_status(run.paths.status, run.status, state="finished")
    return run_dir


def test_annotations_change_one_at_a_time_and_survive_damage(ended: Path) -> None:
    annotate(ended, tags=["paper"], notes="läuft")
    annotate(ended, pinned=True)
    assert read_annotations(ended) == open_run(ended).annotations()
    assert (read_annotations(ended).tags, read_annotations(ended).notes) == (["paper"], "läuft")
    (ended / "annotations.json").write_text("{torn")
    assert read_annotations(ended).tags == []


def test_a_changed_file_is_read_again(ended: Path) -> None:
    best = open_run(ended).paths.best_metrics
    best.write_text(json.dumps({"epoch": 1}))
    assert open_run(ended).best()["epoch"] == 1
    best.write_text(json.dumps({"epoch": 12}))
    assert open_run(ended).best()["epoch"] == 12


def test_a_deleted_run_comes_back_whole(ended: Path, tmp_path: Path) -> None:
    store = RunStore(tmp_path / "out")
    annotate(ended, notes="keep me")
    trashed = delete_run(store.root, open_run(ended))
    assert store.runs() == []
    restored = restore_run(store.root, trashed)
    assert restored.annotations().notes == "keep me"
    assert [run.run_id for run in store.runs()] == [ended.name]


def test_a_run_at_work_is_not_deleted(ended: Path, tmp_path: Path) -> None:
    run = open_run(ended)
    write_status(run.paths.status, run.status, state="running")
    with pytest.raises(InputError, match=r"is running\. Stop it"):
        delete_run(tmp_path / "out", open_run(ended))
    assert ended.is_dir()


def test_runs_outside_the_store_are_not_deleted(ended: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="outside the run store"):
        delete_run(tmp_path / "other", open_run(ended))


def test_emptying_the_trash_frees_what_was_deleted(ended: Path, tmp_path: Path) -> None:
    trashed = delete_run(tmp_path / "out", open_run(ended))
    assert empty_trash(tmp_path / "out") > 0
    with pytest.raises(InputError, match="not in the trash"):
        restore_run(tmp_path / "out", trashed)


def test_the_ledger_counts_other_runs_once(ended: Path, tmp_path: Path) -> None:
    store = RunStore(tmp_path / "out")
    first, second = tmp_path / "a", tmp_path / "b"
    assert store.record_opening(first, "train", "test.csv") == 0
    assert store.record_opening(first, "train", "test.csv") == 0
    assert store.record_opening(second, "train", "test.csv") == 1
    assert store.record_opening(second, "train", "other.csv") == 0
