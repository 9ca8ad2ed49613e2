"""The queue of runs: order, cancel, failure, resume, checked by what is on disk."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import ctbench_core.jobs.runner as runner_module
from ctbench_core.config import Config
from ctbench_core.errors import InputError
from ctbench_core.jobs import JobRunner, get_runner
from ctbench_core.runs import open_run, read_status
from ctbench_core.train import checkpoint
from ctbench_core.train.loop import use_gpu

Build = Callable[..., Config]
LIMIT_S = 60.0
LONG = {"training.max_epochs": 100_000, "training.early_stopping_patience": 100_000}


@pytest.fixture
def runner() -> Iterator[JobRunner]:
    """Return a new runner, stopped after the test."""
    runner = JobRunner()
    yield runner
    runner.stop()
    assert not any(thread.is_alive() for thread in runner._threads.values())


class Gate:
    """Wraps `run_experiment`: signals that a run has started, and holds it until the gate is opened."""

    def __init__(self, real: Callable[..., Any]) -> None:
        self.real = real
        self.started: list[Path] = []
        self.entered, self.open = threading.Semaphore(0), threading.Semaphore(0)

    def __call__(self, config: Config, **options: Any) -> Any:
        self.started.append(options["run_dir"])
        self.entered.release()
        assert self.open.acquire(timeout=LIMIT_S)
        return self.real(config, **options)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    """Put a gate before every training."""
    gate = Gate(runner_module.run_experiment)
    monkeypatch.setattr(runner_module, "run_experiment", gate)
    yield gate
    for _ in range(20):
        gate.open.release()


def state(run_dir: Path) -> str:
    return read_status(run_dir / "status.json").state


def test_a_submitted_run_is_queued_on_disk_then_trained(runner: JobRunner, gate: Gate, config: Config) -> None:
    run_dir = runner.submit(config, "ann@hospital.example")
    assert open_run(run_dir).status.started_by == "ann@hospital.example"
    assert open_run(run_dir).config == config
    assert gate.entered.acquire(timeout=LIMIT_S)
    assert state(run_dir) == "queued"
    assert runner.active() == [run_dir]
    gate.open.release()
    assert runner.wait(run_dir, LIMIT_S)
    assert state(run_dir) == "finished"
    assert len(open_run(run_dir).history()) == 3
    assert runner.active() == []
    assert runner.queued() == []


def test_runs_are_trained_in_the_order_of_submission(
    runner: JobRunner, gate: Gate, make_config: Build, tiny_data: Path
) -> None:
    runs = [runner.submit(make_config(tiny_data, {"utils.seed": seed, "training.max_epochs": 1})) for seed in (1, 2, 3)]
    assert gate.entered.acquire(timeout=LIMIT_S)
    assert runner.queued() == runs[1:]
    for _ in runs:
        gate.open.release()
    assert all(runner.wait(run_dir, LIMIT_S) for run_dir in runs)
    assert gate.started == runs
    assert [state(run_dir) for run_dir in runs] == ["finished"] * 3


def test_a_queued_run_can_be_cancelled_before_it_starts(runner: JobRunner, gate: Gate, config: Config) -> None:
    first, second, third = (runner.submit(config) for _ in range(3))
    assert gate.entered.acquire(timeout=LIMIT_S)
    assert runner.cancel(second)
    assert runner.queued() == [third]
    assert state(second) == "cancelled"
    assert runner.wait(second, 0)
    for _ in range(2):
        gate.open.release()
    assert runner.wait(first, LIMIT_S)
    assert runner.wait(third, LIMIT_S)
    assert gate.started == [first, third]
    assert not (second / "metrics.jsonl").exists()
    assert not runner.cancel(second)


@pytest.fixture
def epochs_seen(monkeypatch: pytest.MonkeyPatch) -> threading.Semaphore:
    """Return a semaphore that every trained epoch releases."""
    seen = threading.Semaphore(0)
    real = runner_module.run_experiment

    def counted(config: Config, **options: Any) -> Any:
        return real(
            config, **options, progress=lambda phase, done, total: phase.startswith("training") and seen.release()
        )

    monkeypatch.setattr(runner_module, "run_experiment", counted)
    return seen


def wait_for_epochs(seen: threading.Semaphore, count: int) -> None:
    for _ in range(count):
        assert seen.acquire(timeout=LIMIT_S)


def test_cancelling_the_active_run_keeps_its_best_and_starts_the_next(
    runner: JobRunner, epochs_seen: threading.Semaphore, make_config: Build, tiny_data: Path
) -> None:
    long = runner.submit(make_config(tiny_data, LONG))
    short = runner.submit(make_config(tiny_data))
    wait_for_epochs(epochs_seen, 3)
    assert runner.cancel(long)
    assert runner.wait(long, LIMIT_S)
    run = open_run(long)
    assert run.status.state == "cancelled"
    assert run.status.epoch == len(run.history()) >= 3
    assert run.best()["epoch"] <= run.status.epoch
    assert checkpoint.load_model_state(run.paths.final_model)
    assert runner.wait(short, LIMIT_S)
    assert state(short) == "finished"


def test_a_cancelled_run_is_resumed_where_it_stopped(
    runner: JobRunner, epochs_seen: threading.Semaphore, make_config: Build, tiny_data: Path
) -> None:
    run_dir = runner.submit(make_config(tiny_data, LONG))
    with pytest.raises(InputError, match="only cancelled, failed, interrupted runs can be resumed"):
        runner.resume(run_dir)
    wait_for_epochs(epochs_seen, 2)
    runner.cancel(run_dir)
    assert runner.wait(run_dir, LIMIT_S)
    created, before = open_run(run_dir).status.created, open_run(run_dir).history()
    assert runner.resume(run_dir) == run_dir
    wait_for_epochs(epochs_seen, 3)
    runner.cancel(run_dir)
    assert runner.wait(run_dir, LIMIT_S)
    after = open_run(run_dir)
    assert after.status.created == created
    shared = min(len(before), len(after.history()))
    assert after.history()[:shared] == before[:shared]
    assert [line["epoch"] for line in after.history()] == list(range(1, len(after.history()) + 1))


def test_a_failed_run_has_its_error_and_the_next_one_runs(runner: JobRunner, make_config: Build, data: Path) -> None:
    bad = runner.submit(make_config(data, {"training.target_labels": ["No such finding"]}))
    good = runner.submit(make_config(data))
    assert runner.wait(bad, LIMIT_S)
    assert runner.wait(good, LIMIT_S)
    status = open_run(bad).status
    assert status.state == "failed"
    assert "'No such finding'" in (status.error or "")
    assert state(good) == "finished"


@pytest.mark.parametrize("error", [ValueError, KeyError, AttributeError, ZeroDivisionError, MemoryError, OSError])
def test_an_unexpected_error_ends_its_run_and_nothing_else(
    runner: JobRunner, config: Config, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    import ctbench_core.bank_runs as bank_runs

    real, calls = bank_runs.SharedData, []

    def broken_once(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            raise error("a bug")
        return real(*arguments)

    monkeypatch.setattr(bank_runs, "SharedData", broken_once)
    bad, good = runner.submit(config), runner.submit(config)
    assert runner.wait(bad, LIMIT_S)
    assert runner.wait(good, LIMIT_S)
    assert open_run(bad).status.state == "failed"
    assert open_run(bad).status.error
    assert state(good) == "finished"


def test_stopping_cancels_the_active_run_and_leaves_the_queue(
    runner: JobRunner, epochs_seen: threading.Semaphore, make_config: Build, tiny_data: Path
) -> None:
    active, waiting = runner.submit(make_config(tiny_data, LONG)), runner.submit(make_config(tiny_data))
    wait_for_epochs(epochs_seen, 1)
    runner.stop()
    assert state(active) == "cancelled"
    assert state(waiting) == "queued"
    assert runner.queued() == [waiting]
    runner.start()
    assert runner.wait(waiting, LIMIT_S)
    assert state(waiting) == "finished"


def test_a_run_directory_is_not_queued_twice(
    runner: JobRunner, gate: Gate, make_config: Build, tiny_data: Path, tmp_path: Path
) -> None:
    config = make_config(tiny_data, {"paths.run_dir": str(tmp_path / "mine")})
    assert runner.submit(config) == tmp_path / "mine"
    with pytest.raises(InputError, match="already holds a run"):
        runner.submit(config)
    gate.open.release()
    assert runner.wait(tmp_path / "mine", LIMIT_S)


def test_a_full_queue_refuses_jobs_and_says_what_to_do(
    runner: JobRunner, gate: Gate, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner_module, "MOST_WAITING", 1)
    active = runner.submit(config)
    assert gate.entered.acquire(timeout=LIMIT_S)
    waiting = runner.submit(config)
    folders = set(waiting.parent.iterdir())
    for add in (lambda: runner.submit(config), lambda: runner.submit_work(active / "study", lambda cancel: None)):
        with pytest.raises(InputError, match=r"The queue is full: 1 job\..+or train many runs as one study"):
            add()
    assert set(waiting.parent.iterdir()) == folders
    assert runner.submit_work(active, lambda cancel: None) == active


def test_unknown_runs_cannot_be_cancelled_or_waited_for(runner: JobRunner, tmp_path: Path) -> None:
    assert not runner.cancel(tmp_path)
    assert runner.wait(tmp_path, 0)
    assert runner.active() == []


def test_there_is_one_runner_a_process() -> None:
    assert get_runner() is get_runner()


def test_as_many_jobs_run_side_by_side_as_asked_for(
    runner: JobRunner, gate: Gate, make_config: Build, tiny_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CTBENCH_JOBS", "2")
    runs = [runner.submit(make_config(tiny_data, {"utils.seed": seed, "training.max_epochs": 1})) for seed in (1, 2, 3)]
    assert gate.entered.acquire(timeout=LIMIT_S) and gate.entered.acquire(timeout=LIMIT_S)
    assert sorted(runner.active()) == sorted(runs[:2])
    assert runner.queued() == runs[2:]
    assert not runner.has_place()
    for _ in runs:
        gate.open.release()
    assert all(runner.wait(run_dir, LIMIT_S) for run_dir in runs)
    assert [state(run_dir) for run_dir in runs] == ["finished"] * 3
    assert runner.has_place()


def test_each_gpu_has_a_job_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctbench_core.train.loop.gpu_count", lambda: 3)
    chosen: list[int] = []
    monkeypatch.setattr("torch.cuda.set_device", chosen.append)
    assert runner_module.most_at_once() == 3
    for place in (0, 1, 2):
        use_gpu(place)
    assert chosen == [0, 1, 2]
    monkeypatch.setenv("CTBENCH_JOBS", "1")
    assert runner_module.most_at_once() == 1


def test_what_workers_do_begins_beside_a_training(
    runner: JobRunner, gate: Gate, config: Config, tmp_path: Path
) -> None:
    training = runner.submit(config)
    assert gate.entered.acquire(timeout=LIMIT_S)
    begun, ended = threading.Event(), threading.Event()

    def lead(cancel: threading.Event) -> None:
        begun.set()
        assert cancel.wait(LIMIT_S)
        ended.set()

    study = runner.submit_work(tmp_path, lead, elsewhere=True)
    assert begun.wait(LIMIT_S)
    assert runner.active() == [training, study]
    assert runner.cancel(study)
    assert runner.wait(study, LIMIT_S)
    assert ended.is_set()
    assert runner.active() == [training]
    gate.open.release()
    assert runner.wait(training, LIMIT_S)


def test_memory_is_given_back_after_each_job(
    runner: JobRunner, tiny_data: Path, make_config: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    trims: list[list[Path]] = []
    monkeypatch.setattr(runner_module, "trim_heap", lambda: trims.append(runner.active()))
    for _ in range(2):
        assert runner.wait(runner.submit(make_config(tiny_data, {"training.max_epochs": 1})), LIMIT_S)
    assert trims == [[], []]  # when the job has ended
