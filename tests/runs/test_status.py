"""A run's status as its file has it, corrected by whether its process is alive; the recorder that keeps it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

from ctbench_core.errors import DamagedFile, InputError, Interrupted, RunError
from ctbench_core.runs import (
    ACTIVE,
    ENDED,
    Recorder,
    RunPaths,
    hold_unchanged,
    new_status,
    read_status,
    stored_status,
    try_status,
    write_status,
)
from ctbench_core.runs import status as status_module
from ctbench_core.runs.status import run_lock


@pytest.fixture
def status_file(tmp_path: Path) -> Callable[..., Path]:
    """Return a writer of a status of this process, with changes."""

    def write(**changes: Any) -> Path:
        write_status(tmp_path / "status.json", new_status("a run"), **changes)
        return tmp_path / "status.json"

    return write


def test_file_holds_the_fields_of_the_contracts(status_file: Callable[..., Path]) -> None:
    content = json.loads(status_file(state="running", epoch=3).read_text())
    fields = [
        "state",
        "epoch",
        "max_epochs",
        "host",
        "pid",
        "process_started",
        "heartbeat",
        "created",
        "updated",
        "error",
        "label",
    ]
    assert set(fields) <= set(content)
    assert datetime.fromisoformat(content["created"]).utcoffset() == timedelta(0)
    assert content["pid"] == psutil.Process().pid
    assert content["process_started"] == pytest.approx(psutil.Process().create_time(), abs=0.1)


@pytest.mark.parametrize("state", [*ACTIVE, *ENDED])
def test_the_state_of_a_living_process_is_as_stored(status_file: Callable[..., Path], state: str) -> None:
    status = read_status(status_file(state=state))
    assert (status.state, status.active) == (state, state in ACTIVE)


@pytest.mark.parametrize("state", ACTIVE)
def test_an_active_run_of_a_dead_process_is_interrupted(status_file: Callable[..., Path], state: str) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    status = read_status(status_file(state=state, pid=process.pid, process_started=0.0, epoch=7))
    assert (status.state, status.epoch) == ("interrupted", 7)
    assert "Resume" in (status.error or "")


def test_a_run_that_ends_while_it_is_judged_has_its_end(
    status_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader may be stopped between the file and the lock, for longer than any limit."""
    path = status_file(state="running")
    running = stored_status(path)

    def ends(file: Path) -> bool:
        write_status(path, running, state="finished")
        os.utime(path, (0, 0))
        return False

    monkeypatch.setattr(status_module, "is_held", ends)
    os.utime(path, (0, 0))
    assert read_status(path).state == "finished"


@pytest.mark.parametrize("state", ENDED)
def test_an_ended_run_of_a_dead_process_keeps_its_end(status_file: Callable[..., Path], state: str) -> None:
    assert read_status(status_file(state=state, pid=2**22 + 1, process_started=0.0)).state == state


def test_another_process_with_the_same_number_does_not_count(status_file: Callable[..., Path]) -> None:
    assert read_status(status_file(state="running", process_token="1")).state == "interrupted"
    started = psutil.Process().create_time() - 3600  # of an older version
    changes = {"process_token": "", "process_started": started}
    assert read_status(status_file(state="running", **changes)).state == "interrupted"


@pytest.mark.parametrize("clock", [0.0, -300.0, 300.0])
@pytest.mark.parametrize(("seconds", "state"), [(5, "running"), (295, "running"), (330, "interrupted")])
def test_a_run_of_another_host_is_judged_by_the_clock_of_the_disk(
    status_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, seconds: float, state: str, clock: float
) -> None:
    path = status_file(state="running", host="elsewhere", pid=1)
    written, wall = time.time() - seconds, time.time
    os.utime(path, (written, written))
    monkeypatch.setattr(time, "time", lambda: wall() + clock)
    assert read_status(path).state == state


def test_a_waiting_run_of_another_host_waits_however_old_it_is(status_file: Callable[..., Path]) -> None:
    path = status_file(host="elsewhere", pid=1)
    os.utime(path, (0, 0))
    assert read_status(path).state == "queued"


def test_a_stopped_process_of_another_host_keeps_its_run_by_its_lock(status_file: Callable[..., Path]) -> None:
    path = status_file(state="running", host="elsewhere", pid=1)
    os.utime(path, (0, 0))
    with run_lock(path.parent):
        assert read_status(path).state == "running"
    assert read_status(path).state == "interrupted"


def test_a_clock_that_is_set_does_not_change_whose_run_it_is(
    status_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Linux counts the start of a process from the boot, so that its time of day moves with the clock."""
    queued = status_file()
    boot = psutil.boot_time()
    monkeypatch.setattr("psutil._pslinux.boot_time", lambda: boot + 3600)
    assert psutil.Process().create_time() != pytest.approx(json.loads(queued.read_text())["process_started"], abs=60)
    assert read_status(queued).state == "queued"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"3",
        b"\xff\xfe",
        b'{"state": "running", "pid": "x"}',
        b'{"state": "running", "pid": -5}',
        b'{"state": "done"}',
        b'{"kind": "unknown"}',
        b'{"epoch": true}',
        b'{"seconds": {"total": NaN}}',
        b'{"seconds": {"total": 1e400}}',
        b'{"max_epochs": 100000000000000000000}',
        b'{"created": "2026-11-28T08:00:00"}',
        b'{"heartbeat": "2026-99-28T08:00:00+00:00"}',
        b'{"a":' * 100_000,
    ],
)
def test_damage_is_one_error_that_names_the_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "status.json").write_bytes(content)
    with pytest.raises(DamagedFile, match=r"status\.json is damaged: .+ Restore the file from a copy"):
        read_status(tmp_path / "status.json")
    assert try_status(tmp_path / "status.json") is None


def test_fields_of_later_versions_are_skipped(tmp_path: Path) -> None:
    (tmp_path / "status.json").write_text('{"state": "finished", "mood": "good"}')
    assert read_status(tmp_path / "status.json").state == "finished"


def recorder_in(tmp_path: Path) -> Recorder:
    return Recorder(RunPaths(tmp_path), write_status(tmp_path / "status.json", new_status("a run")))


def state_and_error(tmp_path: Path) -> tuple[str, str | None]:
    status = read_status(tmp_path / "status.json")
    return status.state, status.error


def test_recorder_writes_running_then_how_the_run_ended(tmp_path: Path) -> None:
    with recorder_in(tmp_path) as recorder:
        assert state_and_error(tmp_path) == ("running", None)
        recorder.end("finished", epoch=4)
    assert state_and_error(tmp_path) == ("finished", None)
    assert read_status(tmp_path / "status.json").epoch == 4


@pytest.mark.parametrize(
    ("error", "state", "text"),
    [
        (RunError("The loss became nan."), "failed", "The loss became nan."),
        (InputError("No such label."), "failed", "No such label."),
        (ValueError("bad"), "failed", "ValueError: bad"),
        (KeyboardInterrupt(), "cancelled", "KeyboardInterrupt: "),
        (Interrupted("Stopped."), "cancelled", "Stopped."),
    ],
)
def test_recorder_writes_the_error_and_passes_it_on(
    tmp_path: Path, error: BaseException, state: str, text: str
) -> None:
    with pytest.raises(type(error)), recorder_in(tmp_path):
        raise error
    assert state_and_error(tmp_path) == (state, text)


def test_recorder_shows_a_requested_stop(tmp_path: Path) -> None:
    requested = False
    with recorder_in(tmp_path) as recorder:
        stop = recorder.stop_check(lambda: requested)
        assert not stop()
        assert state_and_error(tmp_path)[0] == "running"
        requested = True
        assert stop()
        assert state_and_error(tmp_path)[0] == "cancelling"


def test_two_processes_do_not_train_one_run(tmp_path: Path) -> None:
    with recorder_in(tmp_path) as first:
        with pytest.raises(InputError, match="being trained by another process"):
            Recorder(first.paths, new_status("a run")).__enter__()
        assert state_and_error(tmp_path)[0] == "running"


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"state": "cancelled"}, Interrupted, "was stopped while it waited"),
        ({"state": "finished"}, InputError, "it was changed while it waited here"),
        ({"host": "elsewhere"}, InputError, "it was changed while it waited here"),
    ],
)
def test_a_run_that_was_changed_while_it_waited_is_not_started(
    tmp_path: Path, change: dict[str, Any], error: type[Exception], text: str
) -> None:
    recorder = recorder_in(tmp_path)
    written = write_status(tmp_path / "status.json", new_status("a run"), **change)
    with pytest.raises(error, match=text), recorder:
        pass
    assert stored_status(tmp_path / "status.json") == written


def test_a_process_whose_run_was_resumed_elsewhere_writes_no_more(tmp_path: Path) -> None:
    """Where locks do not reach other hosts, a process that was stopped for long may find its run resumed."""
    with pytest.raises(RunError, match="was resumed by process 1 on elsewhere"), recorder_in(tmp_path) as recorder:
        written = write_status(tmp_path / "status.json", new_status("a run"), state="running", host="elsewhere", pid=1)
        recorder.end("finished")
    assert stored_status(tmp_path / "status.json") == written


def test_a_status_is_replaced_only_as_it_was_read(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    read = write_status(path, new_status("a run"), state="interrupted")
    write_status(path, new_status("a run"), host="elsewhere", pid=1)
    with pytest.raises(InputError, match="it is queued by process 1 on elsewhere"), hold_unchanged(path, read):
        pass


def test_a_full_disk_at_the_end_does_not_hide_the_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(RunError, match="the cause"), recorder_in(tmp_path):
        monkeypatch.setattr("ctbench_core.runs.status.write_json", full)
        raise RunError("the cause")


def test_a_status_states_the_format_of_its_run(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    write_status(path, new_status("run"))
    assert json.loads(path.read_text())["format"] == read_status(path).format == 2
    path.write_text(json.dumps({"state": "finished"}))  # of an old store
    assert read_status(path).format == 1
