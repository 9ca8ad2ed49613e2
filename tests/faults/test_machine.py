"""A full disk or memory: the run reports it, keeps its epochs, and can be resumed."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import ctbench_core.train.loop as loop
from ctbench_core.config import Config
from ctbench_core.errors import InputError, RunError
from ctbench_core.experiment import run_bank, run_experiment
from ctbench_core.runs import RunStore, open_run, read_history
from ctbench_core.train.trainer import Trainer

Build = Callable[..., Config]


def only_run(config: Config) -> Any:
    (run,) = RunStore(config.paths.outputs_root).runs()
    return run


def fail_at(call: int, error: BaseException, real: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a function to fail at its n-th call."""
    calls = []

    def wrapped(*arguments: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == call:
            raise error
        return real(*arguments, **options)

    return wrapped


@pytest.mark.parametrize("name", ["append_line", "write_json", "flush_to_disk"])
@pytest.mark.parametrize("call", [1, 2, 4])
def test_a_run_that_failed_on_a_full_disk_resumes_to_the_same_result(
    make_config: Build, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, call: int
) -> None:
    changes = {"training.max_epochs": 6, "paths.run_dir": str(tmp_path / "whole")}
    whole = open_run(run_experiment(make_config(tiny_data, changes))["run_dir"])
    config = make_config(tiny_data, {**changes, "paths.run_dir": str(tmp_path / "parts")})
    monkeypatch.setattr(loop, "CHECKPOINT_EVERY_S", 0.0)
    monkeypatch.setattr(loop, "CHECKPOINT_SHARE", math.inf)
    full = OSError(28, "No space left on device")
    with monkeypatch.context() as patch, pytest.raises(RunError, match=r"No space left.*Free space.*Resume"):
        patch.setattr(loop, name, fail_at(call, full, getattr(loop, name)))
        run_experiment(config)
    parts = open_run(tmp_path / "parts")
    assert parts.status.state == "failed"
    assert "No space left" in (parts.status.error or "")
    assert run_experiment(config, parts.paths.root, resume=True)["state"] == "finished"
    assert parts.paths.metrics.read_bytes() == whole.paths.metrics.read_bytes()
    for path in ("checkpoints/final_model.pt", "best_metrics.json"):
        one, other = whole.paths.root / path, parts.paths.root / path
        if path.endswith("json"):
            assert one.read_bytes() == other.read_bytes()
        else:
            states = [torch.load(p, weights_only=True) for p in (one, other)]
            assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_a_checkpoint_that_cannot_be_written_leaves_the_last_one(
    make_config: Build, tiny_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config(tiny_data, {"training.max_epochs": 6})
    monkeypatch.setattr(loop, "CHECKPOINT_EVERY_S", 0.0)
    monkeypatch.setattr(loop, "CHECKPOINT_SHARE", math.inf)
    real = torch.save

    def write_half(content: Any, file: Any) -> None:
        if content.get("epoch") == 4:
            file.write(b"half of a checkpoint")
            raise OSError(28, "No space left on device")
        real(content, file)

    monkeypatch.setattr(torch, "save", write_half)
    with pytest.raises(RunError, match="No space left"):
        run_experiment(config)
    run = only_run(config)
    assert torch.load(run.paths.last_state, weights_only=True)["epoch"] == 3
    assert len(read_history(run.paths.metrics)) == 4
    assert [path.name for path in run.paths.checkpoints.iterdir() if path.name.endswith(".tmp")] == []


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory")])
def test_no_memory_names_a_smaller_batch(config: Config, monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    monkeypatch.setattr(Trainer, "run_epoch", fail_at(2, error, Trainer.run_epoch))
    with pytest.raises(RunError, match=r"Out of memory at batch size 16. Try training.batch_size=8"):
        run_experiment(config)
    assert "batch_size=8" in only_run(config).status.error


@pytest.mark.parametrize(("capacity", "stacks"), [(3, [4, 2, 2]), (1, [4, 2, 1, 1, 2, 1, 1])])
def test_a_stack_that_does_not_fit_in_memory_is_halved(
    make_config: Build, tiny_data: Path, monkeypatch: pytest.MonkeyPatch, capacity: int, stacks: list[int]
) -> None:
    """Memory runs out in the third epoch; every run ends as it does alone, with each epoch once in its history."""
    configs = [
        make_config(tiny_data, {"utils.seed": seed, "training.precision": "float64", "training.max_epochs": 4})
        for seed in range(4)
    ]
    alone = [run_experiment(config) for config in configs]
    real, sizes = Trainer.run_epoch, []

    def crowded(trainer: Trainer, epochs: list[int], *rest: Any) -> Any:
        if len(epochs) > capacity and epochs[0] >= 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(trainer, epochs, *rest)

    monkeypatch.setattr(Trainer, "run_epoch", crowded)
    monkeypatch.setattr(
        loop, "_train_to_end", lambda t, runs, p, f=loop._train_to_end: sizes.append(len(runs)) or f(t, runs, p)
    )
    for one, other in zip(run_bank(configs), alone):
        assert other["state"] == one["state"] == "finished"
        histories = [read_history(open_run(result["run_dir"]).paths.metrics) for result in (one, other)]
        for lines in zip(*histories, strict=True):
            assert lines[0]["epoch"] == lines[1]["epoch"]
            assert lines[0]["val_loss"] == pytest.approx(lines[1]["val_loss"], abs=1e-8)
    assert sizes == stacks


def test_only_the_runs_that_never_fit_in_memory_fail(
    make_config: Build, tiny_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configs = [make_config(tiny_data, {"utils.seed": seed}) for seed in range(3)]
    real = Trainer.run_epoch

    def crowded(trainer: Trainer, *rest: Any) -> Any:
        if 1 in trainer.seeds:
            raise MemoryError
        return real(trainer, *rest)

    monkeypatch.setattr(Trainer, "run_epoch", crowded)
    results = run_bank(configs)
    assert [result["state"] for result in results] == ["finished", "failed", "finished"]
    assert "training.batch_size=8" in results[1]["error"]


def test_a_loss_that_is_not_finite_keeps_the_epochs_before(make_config: Build, tiny_data: Path) -> None:
    config = make_config(tiny_data, {"training.learning_rate": 1e30, "training.optimizer": "sgd"})
    with pytest.raises(RunError, match="loss became"):
        run_experiment(config)
    run = only_run(config)
    assert run.status.state == "failed"
    assert "Lower training.learning_rate" in run.status.error


def test_a_store_on_a_full_disk_is_an_input_error(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ctbench_core.bank_runs.write_config", full)
    with pytest.raises(InputError, match=r"cannot be written to .*No space left.*paths.outputs_root"):
        run_experiment(config)


def test_features_deleted_after_the_check_fail_the_queued_run(make_config: Build, data: Path) -> None:
    from ctbench_core.experiment import queue_run

    config = make_config(data)
    run_dir = queue_run(config)
    (data / "features" / "image" / "train_3_a.npz").unlink()
    with pytest.raises(InputError, match=r"train_3_a\.npz"):
        run_experiment(config, run_dir)
    assert open_run(run_dir).status.state == "failed"
    assert "train_3_a.npz" in (open_run(run_dir).status.error or "")
