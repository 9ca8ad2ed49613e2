"""The store: run directories are listed, opened, resumed, annotated, deleted and restored; the ledger counts evaluations."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.damage import unpack
from ctbench_core.atomic import temporary_path
from ctbench_core.config import Config
from ctbench_core.errors import DamagedFile, InputError
from ctbench_core.experiment import queue_run
from ctbench_core.runs import (
    RunPaths,
    RunStore,
    annotate,
    delete_alignment,
    delete_run,
    empty_trash,
    identity,
    new_status,
    newest_resumable,
    open_run,
    read_annotations,
    read_frame,
    read_status,
    restore,
    restore_run,
    run_folders,
    volumes_digest_of,
    write_config,
    write_latest,
    write_status,
)

DEAD = {"pid": 2**22 + 1, "process_started": 0.0}


@pytest.fixture
def put(tmp_path: Path) -> Callable[..., Path]:
    """Return a writer of run directories under outputs/."""

    def write(name: str, **changes: Any) -> Path:
        paths = RunPaths(tmp_path / "outputs" / name)
        write_config(paths.config, Config())
        write_status(paths.status, new_status(name), **changes)
        return paths.root

    return write


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    """Return the store of outputs/."""
    return RunStore(tmp_path / "outputs")


def test_an_absent_store_is_empty(store: RunStore) -> None:
    assert store.runs() == []
    assert store.mark_interrupted() == []
    assert not store.root.exists()


def test_runs_come_newest_first_in_jobs_and_alone(store: RunStore, put: Callable[..., Path]) -> None:
    put("train/one", created="2026-01-01T00:00:00+00:00")
    put("sweep/two", created="2026-03-01T00:00:00+00:00")
    put("three", created="2026-02-01T00:00:00+00:00")
    put("train/aligned", kind="align")
    put(".trash/train/gone")
    assert [run.paths.root.name for run in store.runs()] == ["two", "three", "one"]
    assert [run.name for run in store.runs()] == ["sweep/two", "three", "train/one"]
    assert [run.run_id for run in store.runs(kind="align")] == ["aligned"]
    assert len(store.runs(kind=None)) == 4


@pytest.mark.parametrize("name", ["status.json", "config.yaml"])
@pytest.mark.parametrize("content", [b"", b"{", b"[1, 2]", b"\xff\xfe\x00", b"a: [", b"training: {batch_size: -1}"])
def test_a_damaged_run_does_not_hide_the_others(
    store: RunStore, put: Callable[..., Path], name: str, content: bytes
) -> None:
    (put("train/bad") / name).write_bytes(content)
    put("train/good")
    assert "good" in [run.run_id for run in store.runs()]


def test_interrupted_runs_are_marked_on_disk(store: RunStore, put: Callable[..., Path]) -> None:
    dead = put("train/dead", state="running", **DEAD)
    alive = put("train/alive", state="running")
    ended = put("train/ended", state="finished", **DEAD)
    assert [run.run_id for run in store.mark_interrupted()] == ["dead"]
    written = json.loads((dead / "status.json").read_text())
    assert (written["state"], written["pid"]) == ("interrupted", DEAD["pid"])
    assert read_status(alive / "status.json").state == "running"
    assert read_status(ended / "status.json").state == "finished"
    assert store.mark_interrupted() == []


def test_a_folder_that_is_not_a_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is not a run directory: it has no config.yaml and no status.json"):
        open_run(tmp_path)


def test_the_newest_resumable_run_of_the_job(store: RunStore, put: Callable[..., Path], tmp_path: Path) -> None:
    config = Config()
    config.paths.outputs_root = str(store.root)
    with pytest.raises(InputError, match=r"No run to resume in .*: no run found"):
        newest_resumable(config)
    put("train/a", state="cancelled", created="2026-01-01T00:00:00+00:00")
    put("train/b", state="running", created="2026-01-02T00:00:00+00:00", **DEAD)
    put("train/c", state="running", created="2026-01-03T00:00:00+00:00")
    put("train/d", state="finished", created="2026-01-04T00:00:00+00:00")
    put("train/e", state="failed", kind="align", created="2026-01-05T00:00:00+00:00")
    put("other/f", state="failed", created="2026-01-06T00:00:00+00:00")
    assert newest_resumable(config).run_id == "b"
    assert newest_resumable(config, store.root / "other" / "f").run_id == "f"
    with pytest.raises(InputError, match=r"d is finished. Only cancelled, failed, interrupted"):
        newest_resumable(config, store.root / "train" / "d")


def test_the_pointer_names_the_newest_run(store: RunStore) -> None:
    config = Config()
    config.paths.outputs_root = str(store.root)
    write_latest(config, store.root / "train" / "x")
    assert json.loads((store.root / "train" / "latest_run.json").read_text())["run_dir"].endswith("x")


def test_a_new_run_removes_what_killed_writers_left_in_its_job(
    put: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    killed, new = put("train/killed"), put("train/new")
    left, live = (temporary_path(killed / "evaluation" / f"{name}.csv") for name in ("left", "live"))
    left.parent.mkdir()
    left.touch(), live.touch()
    os.utime(left, (1.0, 1.0))  # written before this process began
    write_latest(Config(), new)
    assert [path.name for path in left.parent.iterdir()] == [live.name]


def test_a_config_is_read_back_from_its_run(
    store: RunStore, make_config: Callable[..., Config], tmp_path: Path
) -> None:
    changes = {
        "training.target_labels": ["Lung nodule", "yes", "01"],
        "job_name": "001",
        "training.learning_rate": 1e-5,
    }
    config = make_config(tmp_path, changes)
    paths = RunPaths(tmp_path / "run")
    write_config(paths.config, config)
    write_status(paths.status, new_status("x"))
    assert open_run(paths.root).config == config


def test_status_changes_are_seen_at_once(put: Callable[..., Path]) -> None:
    """However fast they follow each other, and although the file keeps its size."""
    root = put("train/quick")
    status = read_status(root / "status.json")
    for epoch in range(10, 40):
        status = write_status(root / "status.json", status, epoch=epoch)
        assert open_run(root).status.epoch == epoch


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
    with pytest.raises(DamagedFile, match=r"annotations\.json is damaged"):
        annotate(ended, notes="new")
    assert (ended / "annotations.json").read_text() == "{torn"


def test_a_changed_file_is_read_again(ended: Path) -> None:
    best = open_run(ended).paths.best_metrics
    best.write_text(json.dumps({"epoch": 1}))
    assert open_run(ended).best()["epoch"] == 1
    best.write_text(json.dumps({"epoch": 12}))
    assert open_run(ended).best()["epoch"] == 12


def test_a_deleted_run_is_restored_completely(ended: Path, tmp_path: Path) -> None:
    store = RunStore(tmp_path / "out")
    annotate(ended, notes="keep me")
    trashed = delete_run(store.root, open_run(ended))
    assert store.runs() == []
    restored = restore_run(store.root, trashed)
    assert restored.annotations().notes == "keep me"
    assert [run.run_id for run in store.runs()] == [ended.name]


def test_a_running_run_is_not_deleted(ended: Path, tmp_path: Path) -> None:
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


def test_a_result_is_deleted_alone_unless_it_is_all_that_its_run_has(ended: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (ended / "alignment" / name).mkdir(parents=True)
        (ended / "alignment" / name / "metrics.json").write_text('{"samples_analyzed": 1}')
    write_status(RunPaths(ended).status, open_run(ended).status, kind="align")
    first = delete_alignment(tmp_path / "out", open_run(ended), "a")
    assert open_run(ended).alignments() == ["b"]
    second = delete_alignment(tmp_path / "out", open_run(ended), "b")
    assert not ended.exists()
    assert restore(tmp_path / "out", second) == ended
    restore(tmp_path / "out", first)
    assert open_run(ended).alignments() == ["a", "b"]


def test_a_run_that_is_deleted_while_its_scores_are_read_has_no_identity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not damaged: what the pages would then ask to be restored is gone."""
    run = open_run(next(one for one in map(Path, run_folders(unpack(tmp_path))) if (one / "evaluation").is_dir()))
    name = next(iter(run.evaluations()))
    assert volumes_digest_of(run, name)

    def read_late(path: Path, *args: Any, **options: Any) -> Any:
        shutil.rmtree(run.paths.root)
        return read_frame(path, *args, **options)

    os.utime(run.paths.evaluation(name).scores, (1, 1))  # read again
    monkeypatch.setattr(identity, "read_frame", read_late)
    assert volumes_digest_of(run, name) is None
