"""Two processes on one run store: each sees the other's runs, and can ask it to stop them."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

import ctbench_core.jobs.runner as runner_module
from ctbench_core.config import Config
from ctbench_core.errors import InputError
from ctbench_core.jobs import JobRunner
from ctbench_core.runs import (
    RunStore,
    active_runs,
    new_status,
    open_run,
    read_history,
    request_stop,
    store,
    write_status,
)

Start = Callable[..., "subprocess.Popen[str]"]
LIMIT_S = 60.0
LONG = ["training.max_epochs=100000", "training.early_stopping_patience=100000"]


@pytest.fixture
def runner() -> Iterator[JobRunner]:
    """Return a runner of this process, stopped at the end."""
    runner = JobRunner()
    yield runner
    runner.stop()


@pytest.fixture
def other_process(start_cli: Start, overrides: list[str], tmp_path: Path) -> tuple[subprocess.Popen[str], Path]:
    """Start a long run in another process; return the process and the run's folder once two epochs are done."""
    run_dir = tmp_path / "outputs" / "train" / "theirs"
    process = start_cli("train", *overrides, *LONG, f"paths.run_dir={run_dir}", "--json")
    deadline, pause = time.monotonic() + LIMIT_S, threading.Event()
    while len(read_history(run_dir / "metrics.jsonl")) < 2:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        pause.wait(0.01)
    return process, run_dir


def test_a_run_of_another_process_is_seen_and_stopped(
    other_process: tuple[subprocess.Popen[str], Path], runner: JobRunner, tmp_path: Path
) -> None:
    process, run_dir = other_process
    active = active_runs(tmp_path / "outputs")
    assert list(active) == [run_dir]
    assert active[run_dir].pid == process.pid
    assert runner.active() == []
    assert runner.cancel(run_dir)
    out, err = process.communicate(timeout=LIMIT_S)
    assert "Traceback" not in err
    run = open_run(run_dir)
    assert run.status.state == json.loads(out.splitlines()[-1])["state"] == "cancelled"
    assert run.paths.final_model.is_file()
    assert run.status.epoch == len(run.history())
    assert not (run_dir / "stop_request").exists()
    assert active_runs(tmp_path / "outputs") == {}
    assert not runner.cancel(run_dir)


def test_a_run_of_another_process_is_neither_resumed_nor_marked_interrupted(
    other_process: tuple[subprocess.Popen[str], Path], runner: JobRunner, tmp_path: Path
) -> None:
    _, run_dir = other_process
    with pytest.raises(InputError, match="is running"):
        runner.resume(run_dir)
    assert RunStore(tmp_path / "outputs").mark_interrupted() == []
    assert open_run(run_dir).status.state == "running"


def test_a_killed_process_leaves_a_run_that_this_one_finishes(
    other_process: tuple[subprocess.Popen[str], Path], runner: JobRunner, tmp_path: Path
) -> None:
    """A stop request that came too late does not stop the resumed run either."""
    process, run_dir = other_process
    psutil.Process(process.pid).suspend()
    assert request_stop(run_dir)
    process.kill()
    process.wait(LIMIT_S)
    assert (run_dir / "stop_request").exists()
    assert active_runs(tmp_path / "outputs") == {}
    assert [run.paths.root for run in RunStore(tmp_path / "outputs").mark_interrupted()] == [run_dir]
    config_path = run_dir / "config.yaml"
    done = len(read_history(run_dir / "metrics.jsonl"))
    config_path.write_text(config_path.read_text().replace("max_epochs: 100000", f"max_epochs: {done + 20}"))
    assert runner.resume(run_dir) == run_dir
    assert runner.wait(run_dir, LIMIT_S)
    run = open_run(run_dir)
    assert (run.status.state, run.status.epoch) == ("finished", done + 20)
    assert [line["epoch"] for line in run.history()] == list(range(1, done + 21))


def test_a_waiting_run_stopped_by_another_process_never_starts(
    runner: JobRunner, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, started = threading.Event(), []

    def hold(config: Config, run_dir: Path, **_: object) -> None:
        started.append(run_dir)
        assert gate.wait(LIMIT_S)

    monkeypatch.setattr(runner_module, "run_experiment", hold)
    first, second = runner.submit(config), runner.submit(config)
    assert request_stop(second)  # as another process does
    assert open_run(second).status.state == "cancelled"
    assert runner.queued() == []
    gate.set()
    assert runner.wait(first, LIMIT_S)
    assert runner.wait(second, LIMIT_S)
    assert started == [first]


def test_damaged_and_ended_runs_are_not_active(tmp_path: Path) -> None:
    (tmp_path / "train" / "cut").mkdir(parents=True)
    (tmp_path / "train" / "cut" / "status.json").write_text('{"state": "runn')
    write_status(tmp_path / "train" / "done" / "status.json", new_status("done"), state="finished")
    write_status(tmp_path / "train" / "now" / "status.json", new_status("now"), state="running")
    assert [folder.name for folder in active_runs(tmp_path)] == ["now"]


def test_of_many_runs_those_that_have_ended_are_looked_at_only_now_and_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "MANY", 1)
    for name in ("first", "second"):
        write_status(tmp_path / "train" / name / "status.json", new_status(name), state="finished")
    assert active_runs(tmp_path, is_quick=True) == {}
    write_status(tmp_path / "train" / "first" / "status.json", new_status("first"), state="running")
    write_status(tmp_path / "train" / "new" / "status.json", new_status("new"), state="running")
    assert [folder.name for folder in active_runs(tmp_path, is_quick=True)] == ["new"]
    later = time.monotonic() + 10.0
    with monkeypatch.context() as clock:  # what others resume is seen after ten seconds at the latest
        clock.setattr(store.time, "monotonic", lambda: later)
        assert {folder.name for folder in active_runs(tmp_path, is_quick=True)} == {"first", "new"}
    monkeypatch.setattr(store, "RECHECK_S", 3600.0)
    write_status(tmp_path / "train" / "second" / "status.json", new_status("second"), state="running")
    assert len(active_runs(tmp_path, is_quick=True)) == 2
    assert len(active_runs(tmp_path)) == 3
