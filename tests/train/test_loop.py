"""One run to its end: the best epoch, patience, what lies on disk, and resume as if never stopped."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import ctbench_core.train.loop as loop_module
from ctbench_core.config import Config
from ctbench_core.errors import CheckpointError, InputError, RunError
from ctbench_core.experiment import load_training, run_experiment
from ctbench_core.runs import RunPaths, open_run, read_history
from ctbench_core.train import checkpoint
from ctbench_core.train.loop import RunLog, TrainingRun, train_stack
from ctbench_core.train.trainer import Trainer

Build = Callable[..., Config]


def same_tensors(one: Any, other: Any) -> bool:
    """Compare nested dicts and lists of tensors bit by bit."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same_tensors(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same_tensors, one, other))
    return one == other or (one != one and other != other)


class Loop:
    """A run alone in its stack."""

    def __init__(self, config: Config, paths: RunPaths) -> None:
        self.paths = paths
        self.trainer = Trainer([config], [load_training(config)])
        self.log = RunLog(paths, config.training, config.utils.seed)
        self.config, self.resuming = config, False

    @property
    def best(self) -> loop_module.Best:
        return self.log.best

    @property
    def epoch(self) -> int:
        return self.log.epoch

    def resume(self) -> None:
        self.log.resume(self.trainer, 0)

    def run(self, stop: Callable[[], bool], watch: Callable[[Any], None]) -> str:
        run = TrainingRun(self.log, self.config, lambda trainer, head: None, stop, watch, lambda run: None)
        train_stack(self.trainer, [run])
        if run.error is not None:
            raise run.error
        return run.state


@pytest.fixture
def make_loop(make_config: Build, tiny_data: Path, tmp_path: Path) -> Callable[..., Loop]:
    """Return a builder of runs in a named folder."""

    def build(changes: dict[str, Any] | None = None, name: str = "run") -> Loop:
        paths = RunPaths(tmp_path / name)
        paths.root.mkdir(exist_ok=True)
        return Loop(make_config(tiny_data, {"training.learning_rate": 0.01, **(changes or {})}), paths)

    return build


def never() -> bool:
    return False


def silent(progress: object) -> None:
    return None


@pytest.mark.parametrize("monitor", ["auprc", "auroc", "f1_macro", "loss"])
def test_patience_and_best_epoch_follow_the_monitored_metric(make_loop: Callable[..., Loop], monitor: str) -> None:
    changes = {
        "training.max_epochs": 200,
        "training.early_stopping_patience": 4,
        "training.monitor": monitor,
        "training.learning_rate": 0.05,
    }
    loop = make_loop(changes)
    assert loop.run(never, silent) == "finished"
    history = read_history(loop.paths.metrics)
    assert [line["epoch"] for line in history] == list(range(1, len(history) + 1))
    values = [-line["val_loss"] if monitor == "loss" else line["val_metrics"][monitor] for line in history]
    best = max(range(len(values)), key=lambda i: (values[i], -i))
    assert len(history) == best + 1 + 4 < 200
    assert loop.best.epoch == best + 1
    record = json.loads(loop.paths.best_metrics.read_text())
    assert record["epoch"] == best + 1
    assert record["val_metrics"] == history[best]["val_metrics"]
    for i, line in enumerate(history):
        so_far = max(range(i + 1), key=lambda j: (values[j], -j))
        assert line["best_epoch"] == so_far + 1
        for name in ("auprc", "auroc", "f1_macro"):
            assert line[f"best_val_{name}"] == history[so_far]["val_metrics"][name]


def test_final_model_is_the_best_epoch_not_the_last(make_loop: Callable[..., Loop]) -> None:
    changes = {"training.max_epochs": 60, "training.early_stopping_patience": 5, "training.learning_rate": 0.1}
    loop = make_loop(changes)
    loop.run(never, silent)
    best = loop.best.epoch
    assert best < loop.epoch
    again = make_loop({**changes, "training.max_epochs": best}, "again")
    again.run(never, silent)
    final = checkpoint.load(loop.paths.final_model)
    assert same_tensors(final, again.trainer.state_dict(0))
    assert not same_tensors(final, loop.trainer.state_dict(0))
    assert same_tensors(torch.load(loop.paths.final_model, weights_only=True), final)


def test_snapshot_holds_what_the_contracts_name(make_loop: Callable[..., Loop]) -> None:
    loop = make_loop()
    loop.run(never, silent)
    named = "epoch model optimizer best_val_auprc best_val_auroc best_primary_metric epochs_no_improve best_model_state rng_state"
    assert set(named.split()) <= set(torch.load(loop.paths.last_state, weights_only=True))


def test_an_undefined_monitor_says_what_to_do(make_config: Build, data: Path) -> None:
    path = data / "manifests" / "valid.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], *(line[:-5] + "0,0,0" for line in lines[1:])]))
    with pytest.raises(InputError, match=r"Validation auprc is undefined.*training.monitor=loss"):
        run_experiment(make_config(data))
    assert run_experiment(make_config(data, {"training.monitor": "loss"}))["state"] == "finished"


class StopAfter:
    """Stop in the middle of the epoch that follows ``epochs`` whole ones: called before it, then at its first block."""

    def __init__(self, epochs: int) -> None:
        self.left = epochs * 2 + 1

    def __call__(self) -> bool:
        self.left -= 1
        return self.left < 0


RESUMED: list[dict[str, Any]] = [
    {},
    {"model.params.hidden_dims": []},
    {"model.params.hidden_dims": [8, 6], "training.precision": "float64"},
    {"training.optimizer": "sgd"},
    {"training.optimizer": "adamw", "training.weight_decay": 0.1},
    {"training.scheduler": "cosine", "training.warmup_epochs": 3},
    {"data.standardise": "zscore"},
    {"training.loss._target_": "focal"},
]


@pytest.mark.parametrize("changes", RESUMED, ids=lambda c: ",".join(f"{k.split('.')[-1]}={v}" for k, v in c.items()))
@pytest.mark.parametrize("every_s", [0.0, math.inf], ids=["each-epoch-saved", "never-saved"])
def test_stopped_and_resumed_equals_never_stopped(
    make_loop: Callable[..., Loop], monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], every_s: float
) -> None:
    changes = {"training.max_epochs": 9, **changes}
    whole = make_loop(changes, "whole")
    assert whole.run(never, silent) == "finished"
    monkeypatch.setattr(loop_module, "CHECKPOINT_EVERY_S", every_s)
    monkeypatch.setattr(loop_module, "CHECKPOINT_SHARE", math.inf)
    for stop in (StopAfter(4), StopAfter(2)):
        parts = make_loop(changes, "parts")
        parts.resume()
        assert parts.run(stop, silent) == "cancelled"
    last = make_loop(changes, "parts")
    last.resume()
    assert last.run(never, silent) == "finished"
    assert last.paths.metrics.read_bytes() == whole.paths.metrics.read_bytes()
    assert last.paths.best_metrics.read_bytes() == whole.paths.best_metrics.read_bytes()
    for name in ("final_model", "last_state"):
        assert same_tensors(checkpoint.load(getattr(last.paths, name)), checkpoint.load(getattr(whole.paths, name)))


@pytest.mark.parametrize("killed", [False, True])
def test_the_end_writes_the_best_weights_once_and_repairs_a_kill_before_them(
    make_loop: Callable[..., Loop], monkeypatch: pytest.MonkeyPatch, killed: bool
) -> None:
    if killed:
        first = make_loop()
        first.run(never, silent)
        first.paths.final_model.unlink()
        first.paths.best_metrics.unlink()
    monkeypatch.setattr(loop_module.SaveSchedule, "allows", lambda schedule, last: False)
    written: list[Path] = []
    real = checkpoint.save
    monkeypatch.setattr(checkpoint, "save", lambda path, content: (written.append(path), real(path, content))[1])
    loop = make_loop()
    loop.resume()
    assert loop.run(never, silent) == "finished"
    assert written == ([] if killed else [loop.paths.last_state]) + [loop.paths.final_model]
    assert same_tensors(checkpoint.load(loop.paths.final_model), loop.best.state)
    assert json.loads(loop.paths.best_metrics.read_text())["epoch"] == loop.best.epoch


def test_a_stopped_run_keeps_its_best_model(make_loop: Callable[..., Loop]) -> None:
    loop = make_loop({"training.max_epochs": 50})
    loop.run(StopAfter(3), silent)
    assert json.loads(loop.paths.best_metrics.read_text())["epoch"] == loop.best.epoch
    assert same_tensors(checkpoint.load(loop.paths.final_model), loop.best.state)


@pytest.mark.parametrize("tail", ['{"epoch": 3, "train_lo', '\n{"epoch"', "\x00\x00\x00"])
def test_torn_and_surplus_lines_are_cut_back_to_the_checkpoint(
    make_loop: Callable[..., Loop], monkeypatch: pytest.MonkeyPatch, tail: str
) -> None:
    changes = {"training.max_epochs": 6}
    whole = make_loop(changes, "whole")
    whole.run(never, silent)
    monkeypatch.setattr(
        loop_module.SaveSchedule, "allows", lambda schedule, last: last == -math.inf
    )  # the first epoch alone
    parts = make_loop(changes, "parts")
    parts.run(StopAfter(4), silent)
    assert checkpoint.load(parts.paths.last_state)["epoch"] == 1
    assert len(read_history(parts.paths.metrics)) == 4
    with parts.paths.metrics.open("a") as file:
        file.write(tail)
    assert len(read_history(parts.paths.metrics)) == 4
    last = make_loop(changes, "parts")
    last.resume()
    assert last.epoch == 1
    last.run(never, silent)
    assert last.paths.metrics.read_bytes() == whole.paths.metrics.read_bytes()


def test_patience_goes_on_where_it_was(make_loop: Callable[..., Loop], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_module, "CHECKPOINT_EVERY_S", 0.0)
    monkeypatch.setattr(loop_module, "CHECKPOINT_SHARE", math.inf)
    changes = {"training.max_epochs": 60, "training.learning_rate": 1e-9, "training.early_stopping_patience": 5}
    whole = make_loop(changes, "whole")
    whole.run(never, silent)
    assert whole.epoch < 60
    parts = make_loop(changes, "parts")
    parts.run(StopAfter(whole.epoch - 1), silent)
    last = make_loop(changes, "parts")
    last.resume()
    assert last.epoch == whole.epoch - 1
    last.run(never, silent)
    assert last.epoch == whole.epoch


def test_resume_without_a_checkpoint_starts_from_the_beginning(make_loop: Callable[..., Loop]) -> None:
    loop = make_loop()
    loop.paths.root.mkdir(exist_ok=True)
    loop.paths.metrics.write_text('{"epoch": 1}\n')
    loop.resume()
    assert loop.epoch == 0
    loop.run(never, silent)
    assert [line["epoch"] for line in read_history(loop.paths.metrics)] == [1, 2, 3]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model.params.hidden_dims": [9]}, r"network.0.weight needs shape \(9, 16\), found shape \(8, 16\)"),
        ({"model.params.hidden_dims": [8, 8]}, r"network.3.weight needs shape \(8, 8\), found shape \(3, 8\)"),
        ({"training.target_labels": ["Emphysema"]}, r"network.3.weight needs shape \(1, 8\)"),
        ({"model.inputs": "concat"}, r"network.0.weight needs shape \(8, 32\)"),
        ({"training.optimizer": "sgd"}, r"another optimiser"),
    ],
)
def test_a_checkpoint_of_another_shape_is_refused_and_the_run_keeps_its_config(
    make_config: Build, tiny_data: Path, changes: dict[str, Any], message: str
) -> None:
    cancel = threading.Event()
    config = make_config(tiny_data, {"training.max_epochs": 50})

    def stop_after_two(phase: str, done: int, total: int) -> None:
        if phase.startswith("training") and done == 2:
            cancel.set()

    run_dir = Path(run_experiment(config, cancel=cancel, progress=stop_after_two)["run_dir"])
    run = open_run(run_dir)
    assert run.status.state == "cancelled"
    before = run.paths.config.read_bytes()
    other = make_config(tiny_data, {"training.max_epochs": 50, "training.resume.allow_changes": True, **changes})
    with pytest.raises(CheckpointError, match=rf"last_state.pt cannot be resumed: (.|\n)*{message}"):
        run_experiment(other, run_dir, resume=True)
    assert open_run(run_dir).status.state == "failed"
    assert run.paths.config.read_bytes() == before
    config.training.max_epochs = 4
    assert run_experiment(config, run_dir, resume=True)["epochs"] == 4


@pytest.mark.parametrize("content", [b"", b"torn", bytes(100)])
def test_a_damaged_checkpoint_is_named(make_loop: Callable[..., Loop], content: bytes) -> None:
    loop = make_loop()
    loop.paths.last_state.parent.mkdir(parents=True)
    loop.paths.last_state.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"last_state\.pt"):
        loop.resume()


def test_a_checkpoint_that_is_of_another_program_is_named(make_loop: Callable[..., Loop]) -> None:
    loop = make_loop()
    checkpoint.save(loop.paths.last_state, {"epoch": 3})
    with pytest.raises(CheckpointError, match=r"last_state\.pt cannot be resumed"):
        loop.resume()


@pytest.mark.posix_files
def test_a_renamed_folder_is_not_made_again(make_loop: Callable[..., Loop], tmp_path: Path) -> None:
    loop = make_loop({"training.max_epochs": 5})

    def rename(progress: object) -> None:
        if loop.paths.root.exists():
            loop.paths.root.rename(tmp_path / "moved")

    with pytest.raises(RunError, match="was renamed or deleted"):
        loop.run(never, rename)
    assert not loop.paths.root.exists()


@pytest.mark.posix_files
def test_a_save_ends_where_its_folder_was_renamed(
    make_loop: Callable[..., Loop], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = make_loop({"training.max_epochs": 5})
    save = checkpoint.save

    def save_then_rename(path: Path, content: Any) -> None:
        save(path, content)
        loop.paths.root.rename(tmp_path / "moved")

    monkeypatch.setattr(checkpoint, "save", save_then_rename)
    with pytest.raises(RunError, match="was renamed or deleted"):
        loop.run(never, silent)
    assert not loop.paths.root.exists()


@pytest.mark.posix_files
def test_a_save_does_not_make_a_folder_again_that_was_renamed_meanwhile(
    make_loop: Callable[..., Loop], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = make_loop({"training.max_epochs": 5})
    serialise = torch.save

    def rename_then_serialise(*content: Any) -> None:
        if loop.paths.root.exists():
            loop.paths.root.rename(tmp_path / "moved")
        serialise(*content)

    monkeypatch.setattr(torch, "save", rename_then_serialise)
    with pytest.raises(RunError, match="was renamed or deleted"):
        loop.run(never, silent)
    assert not loop.paths.root.exists()
