"""Two processes on one run store: each sees what the other trains, and can ask it to stop."""

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
from ctbench_core.jobs import JobRunner, active_runs
from ctbench_core.runs import RunStore, new_status, open_run, read_history, request_stop, write_status

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
def elsewhere(start_cli: Start, words: list[str], tmp_path: Path) -> tuple[subprocess.Popen[str], Path]:
    """Start a long run in another process; return the process and the run's folder once two epochs are done."""
    run_dir = tmp_path / "outputs" / "train" / "theirs"
    process = start_cli("train", *words, *LONG, f"paths.run_dir={run_dir}", "--json")
    deadline, pause = time.monotonic() + LIMIT_S, threading.Event()
    while len(read_history(run_dir / "metrics.jsonl")) < 2:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        pause.wait(0.01)
    return process, run_dir


def test_a_run_of_another_process_is_seen_and_stopped_in_good_order(
    elsewhere: tuple[subprocess.Popen[str], Path], runner: JobRunner, tmp_path: Path
) -> None:
    process, run_dir = elsewhere
    seen = active_runs(tmp_path / "outputs")
    assert list(seen) == [run_dir]
    assert seen[run_dir].pid == process.pid
    assert runner.active() is None
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


def test_a_run_at_work_elsewhere_is_neither_resumed_nor_settled(
    elsewhere: tuple[subprocess.Popen[str], Path], runner: JobRunner, tmp_path: Path
) -> None:
    _, run_dir = elsewhere
    with pytest.raises(InputError, match="is running"):
        runner.resume(run_dir)
    assert RunStore(tmp_path / "outputs").settle() == []
    assert open_run(run_dir).status.state == "running"


def test_a_killed_process_leaves_a_run_that_this_one_finishes(
    elsewhere: tuple[subprocess.Popen[str], Path], runner: JobRunner, tmp_path: Path
) -> None:
    """Also a request to stop that came too late does not stop the resumed run."""
    process, run_dir = elsewhere
    psutil.Process(process.pid).suspend()
    assert request_stop(run_dir)
    process.kill()
    process.wait(LIMIT_S)
    assert (run_dir / "stop_request").exists()
    assert active_runs(tmp_path / "outputs") == {}
    assert [run.paths.root for run in RunStore(tmp_path / "outputs").settle()] == [run_dir]
    config_path = run_dir / "config.yaml"
    done = len(read_history(run_dir / "metrics.jsonl"))
    config_path.write_text(config_path.read_text().replace("max_epochs: 100000", f"max_epochs: {done + 20}"))
    assert runner.resume(run_dir) == run_dir
    assert runner.wait(run_dir, LIMIT_S)
    run = open_run(run_dir)
    assert (run.status.state, run.status.epoch) == ("finished", done + 20)
    assert [line["epoch"] for line in run.history()] == list(range(1, done + 21))


def test_a_waiting_run_taken_back_from_elsewhere_is_never_begun(
    runner: JobRunner, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, begun = threading.Event(), []

    def held(config: Config, run_dir: Path, **_: object) -> None:
        begun.append(run_dir)
        assert gate.wait(LIMIT_S)

    monkeypatch.setattr(runner_module, "run_experiment", held)
    first, second = runner.submit(config), runner.submit(config)
    assert request_stop(second)  # what another process does
    assert open_run(second).status.state == "cancelled"
    assert runner.queued() == []
    gate.set()
    assert runner.wait(first, LIMIT_S)
    assert runner.wait(second, LIMIT_S)
    assert begun == [first]


def test_damaged_and_ended_runs_are_not_active(tmp_path: Path) -> None:
    (tmp_path / "train" / "torn").mkdir(parents=True)
    (tmp_path / "train" / "torn" / "status.json").write_text('{"state": "runn')
    write_status(tmp_path / "train" / "done" / "status.json", new_status("done"), state="finished")
    write_status(tmp_path / "train" / "now" / "status.json", new_status("now"), state="running")
    assert [folder.name for folder in active_runs(tmp_path)] == ["now"]
