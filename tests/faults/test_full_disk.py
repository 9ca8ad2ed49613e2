"""A disk that is really full or read-only, few open files, and no memory: named, and nothing is lost."""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ctbench_core.alignment.job as alignment_job
from benchmarks.full_disk import fill, small_disk
from benchmarks.works import Ground, wait
from ctbench_core.alignment import run_alignment
from ctbench_core.config import Config
from ctbench_core.errors import StorageError
from ctbench_core.features import load_features
from ctbench_core.file_limit import file_limit, raise_file_limit
from ctbench_core.jobs import JobRunner
from ctbench_core.runs import annotate, open_run, read_annotations
from ctbench_core.train import checkpoint

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="works in forks")
Build = Callable[..., Config]


@pytest.fixture(scope="module")
def disk() -> Iterator[Path]:
    """Mount a small disk, or skip."""
    try:
        with small_disk() as place:
            yield place
    except PermissionError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def ground(disk: Path) -> Ground:
    return Ground(disk.parent, disk)


def test_a_training_on_a_full_disk_fails_with_the_cause_and_resumes(ground: Ground) -> None:
    ground.reset()
    ballast = ground.work / "ballast"
    with ballast.open("wb") as file:
        fill(file.fileno(), room=24_576)  # for the first small files, not for a checkpoint
        assert wait(ground.start("train")) == 1
        assert "Traceback" not in ground.log.read_text()
        assert "the disk is full (No space left on device). Free space there" in ground.log.read_text()
        with pytest.raises(StorageError, match=r"large\.pt: the disk is full"):
            checkpoint.save(ground.work / "large.pt", {"weights": torch.zeros(500_000)})
    run = open_run(ground.work / "outputs/train/new")
    assert run.status.state == "failed"
    assert "the disk is full" in (run.status.error or "")
    ballast.unlink()
    assert wait(ground.start("train")) == 0
    assert open_run(run.paths.root).status.state == "finished"


def test_a_read_only_disk_is_named_and_the_notes_stay(ground: Ground) -> None:
    ground.reset()
    run = ground.work / "outputs/train/run1"
    annotate(run, notes="kept")
    try:
        subprocess.run(["mount", "-o", "remount,ro", str(ground.work)], check=True)
        with pytest.raises(StorageError, match=r"annotations\.json: the disk is read-only .*choose another folder"):
            annotate(run, notes="lost")
        for name in ("evaluate", "export"):
            assert wait(ground.start(name)) in (1, 2)
    finally:
        subprocess.run(["mount", "-o", "remount,rw", str(ground.work)], check=True)
    log = ground.log.read_text()
    assert "Traceback" not in log
    assert log.count("the disk is read-only") >= 2
    assert read_annotations(run).notes == "kept"


def no_memory(*arguments: Any, **options: Any) -> Any:
    raise RuntimeError("[enforce fail at alloc_cpu.cpp] . DefaultCPUAllocator: can't allocate memory: you tried 1 TB")


@pytest.mark.parametrize("error", [no_memory, lambda *arguments, **options: bytearray(2**62)])
def test_no_memory_is_named_and_the_queue_goes_on(
    cli: Callable[..., Any],
    config: Config,
    overrides: list[str],
    monkeypatch: pytest.MonkeyPatch,
    error: Callable[..., Any],
) -> None:
    monkeypatch.setattr(alignment_job, "align", error)
    ended = cli("align", *overrides)
    assert ended.code == 1
    assert "Memory ran out. Close other programs" in ended.json["error"]
    runner, folders = JobRunner(), [alignment_job.queue_alignment(config) for _ in range(2)]
    for folder in folders:
        runner.submit_work(folder, lambda cancel, folder=folder: run_alignment(config, run_dir=folder, cancel=cancel))
    assert all(runner.wait(folder, 60) for folder in folders)
    runner.stop()
    assert {open_run(folder).status.state for folder in folders} == {"failed"}
    assert "Memory ran out" in (open_run(folders[1]).status.error or "")


def test_the_limit_of_open_files_is_raised_to_what_is_allowed() -> None:
    resource = pytest.importorskip("resource")
    soft, hard = before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        assert file_limit() == 256
        raise_file_limit()
        assert (file_limit() or soft) >= min(soft, 65_536)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_features_hold_no_file_once_they_are_dropped(tmp_path: Path) -> None:
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("no list of open files")
    np.save(tmp_path / "a.npy", np.ones(8, np.float32))
    open_files = [len(list(Path("/proc/self/fd").iterdir()))]
    for number in range(3):
        load_features(tmp_path, ["a.npy"], cache=tmp_path / f"cache{number}", mode="always")
        open_files.append(len(list(Path("/proc/self/fd").iterdir())))
    assert Counter(open_files).most_common(1)[0][1] == 4
