"""Train the heads of a stack to their ends, and keep every run's directory up to date.

Everything that a crash could lose is in ``last_state.pt``. It is written after the first epoch, then every two seconds
of training and at the end, but takes at most a twentieth of the time. Epochs after the last write are repeated on
resume and give the same weights, because every random draw is keyed by its epoch.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ctbench_core.atomic import append_line, dump_json, flush_to_disk, write_json
from ctbench_core.config import Config, TrainingConfig
from ctbench_core.declared import macro_keys
from ctbench_core.errors import CheckpointError, CtbenchError, InputError, OutOfMemory, RunError
from ctbench_core.runs import (
    Convergence,
    RunPaths,
    follow_history,
    gone,
    require_directory,
    segment_start,
    truncate_history,
)
from ctbench_core.stored import is_there
from ctbench_core.train import checkpoint
from ctbench_core.train.convergence import RECENT
from ctbench_core.train.epoch_report import EpochReport
from ctbench_core.train.fitted import Fitter
from ctbench_core.train.run_errors import ErrorIsolation, as_run_error
from ctbench_core.train.trainer import Trainer

AnyTrainer = Trainer | Fitter

CHECKPOINT_EVERY_S = 2.0
CHECKPOINT_SHARE = 0.05  # of the time, at most


@dataclass(frozen=True)
class EpochProgress:
    """Progress of a run after an epoch."""

    epoch: int
    max_epochs: int
    report: EpochReport
    line: dict[str, Any]
    best_epoch: int
    best_value: float


@dataclass
class Best:
    """The best epoch so far: ``value`` of the monitored metric, larger is better; ``stale`` epochs since."""

    epoch: int = 0
    value: float = -math.inf
    line: dict[str, Any] | None = None
    state: dict[str, Tensor] | None = None
    stale: int = 0


@dataclass
class SaveSchedule:
    """Time that a stack has spent on checkpoints."""

    started: float = field(default_factory=time.monotonic)
    spent: float = 0.0

    def allows(self, last: float) -> bool:
        """Whether a checkpoint is due, given the time of the last one."""
        now = time.monotonic()
        return now - last >= CHECKPOINT_EVERY_S and self.spent <= CHECKPOINT_SHARE * (now - self.started)


class RunLog:
    """The epochs of one run: the last, the best, the patience that is left, and the files."""

    def __init__(self, paths: RunPaths, options: TrainingConfig, seed: int) -> None:
        self.paths, self.options, self.seed = paths, options, seed
        self.epoch, self.best = 0, Best()
        self.convergence: Convergence | None = None  # known at the end
        self.losses: deque[float] = deque(maxlen=2 * RECENT)  # of training, the last epochs
        self.segments: list[dict[str, Any]] = []  # of a run that was resumed with changes: first epoch, and changes
        self._saved_epoch, self._saved_at = -1, -math.inf

    @property
    def done(self) -> bool:
        """Whether patience or epochs have run out."""
        return self.epoch >= self.options.max_epochs or self.best.stale >= self.options.early_stopping_patience

    def resume(self, trainer: AnyTrainer, head: int) -> None:
        """Continue from ``last_state.pt``, else from the beginning; refuse a damaged file and a head of another shape."""
        path = self.paths.last_state
        self.epoch, self.best = 0, Best()
        self.losses.clear()
        if is_there(path):
            try:
                self._restore(trainer, head, checkpoint.load(path))
            except (InputError, KeyError, TypeError, ValueError, RuntimeError) as error:
                raise CheckpointError(
                    f"{path} cannot be resumed: {error} Resume with the config that the run was started with, or "
                    "start a new run."
                ) from error
        truncate_history(self.paths.metrics, self.epoch)
        self.losses.extend(follow_history(self.paths.metrics).columns["train_loss"][-2 * RECENT :])

    def _restore(self, trainer: AnyTrainer, head: int, saved: dict[str, Any]) -> None:
        trainer.restore(head, saved)
        self.epoch = self._saved_epoch = int(saved["epoch"])
        self.best = Best(
            epoch=saved["best_epoch"],
            value=saved["best_primary_metric"],
            line=saved["best_line"],
            state=saved["best_model_state"],
            stale=saved["epochs_no_improve"],
        )

    def add(self, report: EpochReport, trainer: AnyTrainer, head: int) -> dict[str, Any]:
        """Record an epoch, and return its line of ``metrics.jsonl``; refuse an undefined monitored metric."""
        self.epoch = report.epoch
        value = report.monitored(self.options.monitor)
        if math.isnan(value):
            raise InputError(
                f"Validation {self.options.monitor} is undefined: no finding has both classes among the validation rows. "
                "Use a larger validation set, or set training.monitor=loss."
            )
        self.losses.append(report.train_loss)
        self.best.stale += 1
        line = report.line()
        if value > self.best.value:
            self.best = Best(report.epoch, value, line, trainer.state_dict(head))
        line |= {"best_epoch": self.best.epoch, **_best_values(self.best.line or line)}
        require_directory(self.paths)
        append_line(self.paths.metrics, dump_json(line | segment_start(self.segments, self.epoch)))
        return line

    def save(self, trainer: AnyTrainer, head: int, schedule: SaveSchedule | None = None) -> bool:
        """Write the last epoch's checkpoint, then the best epoch's files, if due; return whether it was."""
        if self._saved_epoch == self.epoch or not self.epoch or (schedule and not schedule.allows(self._saved_at)):
            return False
        before, best = time.monotonic(), _best_values(self.best.line or {})
        require_directory(self.paths)
        flush_to_disk(self.paths.metrics)
        self._save(
            self.paths.last_state,
            {
                "epoch": self.epoch,
                **trainer.snapshot(head),
                "best_val_auprc": best["best_val_auprc"],
                "best_val_auroc": best["best_val_auroc"],
                "best_primary_metric": self.best.value,
                "best_epoch": self.best.epoch,
                "epochs_no_improve": self.best.stale,
                "best_model_state": self.best.state,
                "best_line": self.best.line,
                # Draws are keyed by (seed, purpose, epoch): the seed is the whole random state.
                "rng_state": {"seed": self.seed},
            },
        )
        self.write_best()
        self._saved_epoch, self._saved_at = self.epoch, time.monotonic()
        if schedule:
            schedule.spent += self._saved_at - before
        return True

    def _save(self, path: Path, content: Mapping[str, Any]) -> None:
        try:
            checkpoint.save(path, content)
        except FileNotFoundError as error:  # the folder was renamed while the content was made ready
            raise gone(self.paths) from error

    def write_best(self) -> None:
        """Write the best epoch's weights and metrics."""
        if self.best.state is not None and self.best.line is not None:
            self._save(self.paths.final_model, self.best.state)
            record = {} if self.convergence is None else {"convergence": self.convergence.to_json()}
            require_directory(self.paths)  # the write below would make a folder
            write_json(self.paths.best_metrics, self.best.line | _best_values(self.best.line) | record)


@dataclass(eq=False)
class TrainingRun(ErrorIsolation):
    """One run in training: ``state`` is running, finished, cancelled or failed, the last with its ``error``.

    Attributes:
        prepare: restores the head before its first epoch.
        stop: whether a stop is requested; called between batches of a run alone in its stack, else between epochs.
        watch: called after each epoch.
        end: called once, when the run has finished, was stopped, or has failed.
    """

    log: RunLog
    config: Config
    prepare: Callable[[AnyTrainer, int], None]
    stop: Callable[[], bool]
    watch: Callable[[EpochProgress], None]
    end: Callable[[TrainingRun], None]
    state: str = "running"
    error: CtbenchError | None = None

    def fail(self, error: CtbenchError) -> None:
        """End the run with an error."""
        self.state, self.error = "failed", error

    def begin(self, trainer: AnyTrainer, head: int) -> None:
        """Restore the head; a run that is complete already finishes at once."""
        with self.isolate_errors():
            self.prepare(trainer, head)
            if self.log.done:
                self._finish(trainer, head)

    def rewind(self, trainer: AnyTrainer, head: int) -> None:
        """Go back to the last checkpoint, or to the beginning; the epochs since are repeated."""
        with self.isolate_errors():
            self.log.resume(trainer, head)

    def record(self, outcome: EpochReport | RunError, trainer: AnyTrainer, head: int, schedule: SaveSchedule) -> None:
        """Record an epoch, and finish the run if it was the last."""
        with self.isolate_errors():
            if isinstance(outcome, RunError):
                raise outcome
            line, options = self.log.add(outcome, trainer, head), self.log.options
            best = self.log.best
            self.watch(EpochProgress(self.log.epoch, options.max_epochs, outcome, line, best.epoch, best.value))
            if self.log.done:
                self._finish(trainer, head)
            else:
                self.log.save(trainer, head, schedule)

    def _finish(self, trainer: AnyTrainer, head: int) -> None:
        self.log.convergence = self._compare_with_optimum(trainer, head)
        if not self.log.save(trainer, head):
            self.log.write_best()  # the process may have been killed between the last checkpoint and these files
        self.state = "finished"

    def _compare_with_optimum(self, trainer: AnyTrainer, head: int) -> Convergence | None:
        """Compare a head with its optimum; where memory runs out, the run keeps its results and says so."""
        by_finding = (self.log.best.line or {})["val_metrics"]["per_class"]
        auprc = {label: values["auprc"] for label, values in by_finding.items()}
        try:
            with as_run_error(self.config):
                return trainer.convergence(head, auprc, list(self.log.losses), lambda: not self.stop())
        except OutOfMemory:
            return Convergence(reason="memory ran out while its optimum was computed")

    def cancel(self) -> None:
        """Stop the run: write its best epoch, and leave its last checkpoint as it is."""
        with self.isolate_errors():
            self.log.write_best()
            self.state = "cancelled"


def train_stack(trainer: AnyTrainer, runs: Sequence[TrainingRun]) -> None:
    """Train every run of a stack to its end; where memory runs out, continue with one half after the other."""
    for head, run in enumerate(runs):
        run.begin(trainer, head)
    start, schedule = trainer.starter(), SaveSchedule()
    heads = {run: head for head, run in enumerate(runs)}
    halves = _train_to_end(trainer, runs, schedule)
    del trainer  # the first half needs its memory
    while halves:
        half = halves.pop()
        smaller = start([heads[run] for run in half])
        for head, run in enumerate(half):
            run.rewind(smaller, head)
        halves += _train_to_end(smaller, half, schedule)


def _train_to_end(trainer: AnyTrainer, runs: Sequence[TrainingRun], schedule: SaveSchedule) -> list[list[TrainingRun]]:
    """Train runs until all have ended, or until memory runs out; a run that ends leaves the stack.

    Returns:
        Empty when all have ended; else the halves of the running ones, which must be rewound.
    """
    running = list(runs)
    while True:
        for run in running:
            if run.state == "running" and run.stop():
                run.cancel()
            if run.state != "running":
                run.end(run)
        left = [head for head, run in enumerate(running) if run.state == "running"]
        if not left:
            return []
        if len(left) < len(running):
            trainer, running = trainer.subset(left), [running[head] for head in left]
        if not _train_epoch(trainer, running, schedule):
            middle = len(running) // 2
            return [running[middle:], running[:middle]]


def _train_epoch(trainer: AnyTrainer, runs: Sequence[TrainingRun], schedule: SaveSchedule) -> bool:
    """Train one epoch; return False when memory ran out and fewer runs may fit."""
    stops = [run.stop for run in runs]
    try:
        with as_run_error(runs[0].config):
            outcomes = trainer.run_epoch([run.log.epoch + 1 for run in runs], lambda: not all(stop() for stop in stops))
    except RunError as error:
        if isinstance(error, OutOfMemory) and len(runs) > 1:
            return False
        for run in runs:
            run.fail(error)
        return True
    if outcomes is None:
        for run in runs:
            run.cancel()
        return True
    for head, (run, outcome) in enumerate(zip(runs, outcomes)):
        run.record(outcome, trainer, head, schedule)
    return True


def _best_values(line: dict[str, Any]) -> dict[str, float]:
    metrics = line.get("val_metrics", {})
    return {f"best_val_{name}": metrics.get(name, math.nan) for name in macro_keys()}


def gpu_count() -> int:
    """Return the number of GPUs that this process sees."""
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def use_gpu(place: int) -> None:
    """Let ``utils.device`` auto and cuda mean one of the GPUs in this thread."""
    if count := gpu_count():
        torch.cuda.set_device(place % count)


def limit_threads(count: int) -> None:
    """Limit the threads of tensor work, so that a server's pages stay fast during a training."""
    torch.set_num_threads(max(1, count))


@contextlib.contextmanager
def use_threads(count: int | None) -> Iterator[None]:
    """Use a number of threads for tensor work inside the block; None leaves it as it is."""
    before = torch.get_num_threads()
    try:
        if count is not None:
            limit_threads(count)
        yield
    finally:
        limit_threads(before)
