"""A run directory that is renamed while its run trains: nothing is written where it was, and it can be resumed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from ctbench_core.errors import RunError
from ctbench_core.runs import Recorder, RunPaths, new_status, read_status, write_status
from ctbench_core.runs.status import run_lock

LONG_AGO = 1_767_225_600.0


@pytest.fixture
def paths(tmp_path: Path) -> RunPaths:
    paths = RunPaths(tmp_path / "outputs" / "train" / "run")
    paths.root.mkdir(parents=True)
    return paths


@pytest.mark.posix_files
def test_nothing_is_written_where_the_folder_was(paths: RunPaths, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="was renamed or deleted"), Recorder(paths, new_status("a run")) as recorder:
        (tmp_path / "outputs").rename(tmp_path / "moved")
        recorder.end("finished")
    assert not (tmp_path / "outputs").exists()
    assert json.loads((tmp_path / "moved" / "train" / "run" / "status.json").read_text())["state"] == "running"


@pytest.mark.posix_files
def test_a_folder_that_a_checkpoint_made_again_ends_the_run(paths: RunPaths, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="was renamed or deleted"), Recorder(paths, new_status("a run")) as recorder:
        (tmp_path / "outputs").rename(tmp_path / "moved")
        paths.last_state.parent.mkdir(parents=True)  # by a save that had begun before
        recorder.end("finished")
    assert not paths.status.exists()


@pytest.mark.parametrize(
    ("written", "locked", "state"),
    [(LONG_AGO, False, "interrupted"), (LONG_AGO, True, "running"), (None, False, "running")],
)
def test_a_living_process_has_a_heartbeat_or_the_lock(
    paths: RunPaths, written: float | None, locked: bool, state: str
) -> None:
    write_status(paths.status, new_status("a run"), state="running")
    if written is not None:
        os.utime(paths.status, (written, written))
    lock = run_lock(paths.root)
    with lock:
        pass  # the file of a lock stays behind
    if locked:
        lock.acquire()
    try:
        assert read_status(paths.status).state == state
    finally:
        lock.release()


def test_a_waiting_run_needs_neither(paths: RunPaths) -> None:
    write_status(paths.status, new_status("a run"))
    os.utime(paths.status, (LONG_AGO, LONG_AGO))
    assert read_status(paths.status).state == "queued"
