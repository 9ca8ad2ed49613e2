"""Drive the heads of a bank to their ends and keep every run's directory true all the while.

Everything that a crash could lose is in ``last_state.pt``: written after the first epoch, then every two seconds of
training, and at the end, and never so often that it takes more than a twentieth of the time. Epochs between two writes are repeated
on resume and give the same weights, because every random draw is keyed by its epoch.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ctbench_core.atomic import append_line, dump_json, flush_to_disk, write_json
from ctbench_core.config import Config, TrainingConfig
from ctbench_core.errors import CheckpointError, CtbenchError, InputError, RunError
from ctbench_core.runs import RunPaths, cut_history
from ctbench_core.train import checkpoint
from ctbench_core.train.epoch import EpochReport
from ctbench_core.train.failures import Guarded, OutOfMemory, explained
from ctbench_core.train.fitted import Fitter
from ctbench_core.train.trainer import Trainer

Heads = Trainer | Fitter

CHECKPOINT_EVERY_S = 2.0
CHECKPOINT_SHARE = 0.05  # of the time, at most


@dataclass(frozen=True)
class Progress:
    """What a watcher is told after each epoch of a run."""

    epoch: int
    max_epochs: int
    report: EpochReport
    line: dict[str, Any]
    best_epoch: int
    best_value: float


@dataclass
class Best:
    """The best epoch so far; ``value`` is the monitored figure, larger being better."""

    epoch: int = 0
    value: float = -math.inf
    line: dict[str, Any] | None = None
    state: dict[str, Tensor] | None = None
    stale: int = 0


@dataclass
class Pace:
    """How much of a bank's time went into checkpoints."""

    started: float = field(default_factory=time.monotonic)
    spent: float = 0.0

    def allows(self, last: float) -> bool:
        """Whether a checkpoint is due, the last one having been written at a given moment."""
        now = time.monotonic()
        return now - last >= CHECKPOINT_EVERY_S and self.spent <= CHECKPOINT_SHARE * (now - self.started)


class RunLog:
    """One run of a bank: its epochs, its best one, its patience, and its files."""

    def __init__(self, paths: RunPaths, options: TrainingConfig, seed: int) -> None:
        self.paths, self.options, self.seed = paths, options, seed
        self.epoch, self.best = 0, Best()
        self._saved_epoch, self._saved_at = -1, -math.inf

    @property
    def done(self) -> bool:
        """Whether patience or epochs have run out."""
        return self.epoch >= self.options.max_epochs or self.best.stale >= self.options.early_stopping_patience

    def resume(self, trainer: Heads, head: int) -> None:
        """Continue from ``last_state.pt``; without one, from the beginning.

        Raises:
            CheckpointError: it is damaged or of another shape.
        """
        path = self.paths.last_state
        self.epoch, self.best = 0, Best()
        if path.is_file():
            try:
                self._restore(trainer, head, checkpoint.load(path))
            except (InputError, KeyError, TypeError, ValueError, RuntimeError) as error:
                raise CheckpointError(
                    f"{path} cannot be resumed: {error} Resume with the config that the run was started with, or start a new run."
                ) from error
        cut_history(self.paths.metrics, self.epoch)

    def _restore(self, trainer: Heads, head: int, saved: dict[str, Any]) -> None:
        trainer.restore(head, saved)
        self.epoch = self._saved_epoch = int(saved["epoch"])
        self.best = Best(
            epoch=saved["best_epoch"],
            value=saved["best_primary_metric"],
            line=saved["best_line"],
            state=saved["best_model_state"],
            stale=saved["epochs_no_improve"],
        )

    def add(self, report: EpochReport, trainer: Heads, head: int) -> dict[str, Any]:
        """Note an epoch, and return its line of ``metrics.jsonl``.

        Raises:
            InputError: the monitored figure is undefined on this validation set.
        """
        self.epoch = report.epoch
        value = report.monitored(self.options.monitor)
        if math.isnan(value):
            raise InputError(
                f"Validation {self.options.monitor} is undefined: no finding has both classes among the validation rows. "
                "Use a larger validation set, or set training.monitor=loss."
            )
        self.best.stale += 1
        line = report.line()
        if value > self.best.value:
            self.best = Best(report.epoch, value, line, trainer.state_dict(head))
        line |= {"best_epoch": self.best.epoch, **_best_values(self.best.line or line)}
        append_line(self.paths.metrics, dump_json(line))
        return line

    def save(self, trainer: Heads, head: int, pace: Pace | None = None) -> bool:
        """Write the last epoch's checkpoint, then the best epoch's files, if it is time; return whether it was."""
        if self._saved_epoch == self.epoch or not self.epoch or (pace and not pace.allows(self._saved_at)):
            return False
        before, best = time.monotonic(), _best_values(self.best.line or {})
        flush_to_disk(self.paths.metrics)
        checkpoint.save(
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
                # Draws are keyed by (seed, purpose, epoch), so the seed is the whole random state.
                "rng_state": {"seed": self.seed},
            },
        )
        self.write_best()
        self._saved_epoch, self._saved_at = self.epoch, time.monotonic()
        if pace:
            pace.spent += self._saved_at - before
        return True

    def write_best(self) -> None:
        """Write the best epoch's weights and figures."""
        if self.best.state is not None and self.best.line is not None:
            checkpoint.save(self.paths.final_model, self.best.state)
            write_json(self.paths.best_metrics, self.best.line | _best_values(self.best.line))


class TrainingRun(Guarded):
    """One run at work in a bank; its end, good or bad, is kept here.

    Args:
        prepare: restores the head before its first epoch.
        stop: asked between batches of a run that is alone in its bank, else between epochs.
        watch: hears of each epoch.
        end: called once, when the run has finished, was stopped, or has failed.
    """

    def __init__(
        self,
        log: RunLog,
        config: Config,
        prepare: Callable[[Heads, int], None],
        stop: Callable[[], bool],
        watch: Callable[[Progress], None],
        end: Callable[[TrainingRun], None],
    ) -> None:
        self.log, self.config = log, config
        self.prepare, self.stop, self._watch, self.end = prepare, stop, watch, end
        self.state = "running"
        self.error: CtbenchError | None = None

    def fail(self, error: CtbenchError) -> None:
        """End the run with an error."""
        self.state, self.error = "failed", error

    def begin(self, trainer: Heads, head: int) -> None:
        """Restore the head; a run that had come to its end finishes at once."""
        with self.guarded():
            self.prepare(trainer, head)
            if self.log.done:
                self._finish(trainer, head)

    def rewind(self, trainer: Heads, head: int) -> None:
        """Go back to the last checkpoint, or to the beginning: the epochs since are repeated."""
        with self.guarded():
            self.log.resume(trainer, head)

    def hear(self, outcome: EpochReport | RunError, trainer: Heads, head: int, pace: Pace) -> None:
        """Note an epoch, and whether it was the last."""
        with self.guarded():
            if isinstance(outcome, RunError):
                raise outcome
            line, options = self.log.add(outcome, trainer, head), self.log.options
            best = self.log.best
            self._watch(Progress(self.log.epoch, options.max_epochs, outcome, line, best.epoch, best.value))
            if self.log.done:
                self._finish(trainer, head)
            else:
                self.log.save(trainer, head, pace)

    def _finish(self, trainer: Heads, head: int) -> None:
        if not self.log.save(trainer, head):
            self.log.write_best()  # a kill may have come between the last checkpoint and these files
        self.state = "finished"

    def cancel(self) -> None:
        """Keep the best epoch of a run that was told to stop; its last checkpoint stands."""
        with self.guarded():
            self.log.write_best()
            self.state = "cancelled"


def train_stack(trainer: Heads, runs: Sequence[TrainingRun]) -> None:
    """Train every run of a bank to its end; where memory runs out, the bank goes on in two halves, one by one."""
    for head, run in enumerate(runs):
        run.begin(trainer, head)
    make, pace = trainer.anew(), Pace()
    heads = {run: head for head, run in enumerate(runs)}
    halves = _to_the_end(trainer, runs, pace)
    del trainer  # its memory is what the first half needs
    while halves:
        half = halves.pop()
        smaller = make([heads[run] for run in half])
        for head, run in enumerate(half):
            run.rewind(smaller, head)
        halves += _to_the_end(smaller, half, pace)


def _to_the_end(trainer: Heads, runs: Sequence[TrainingRun], pace: Pace) -> list[list[TrainingRun]]:
    """Train runs until all have ended, which leave the bank one after another, or until memory runs out.

    Returns:
        The halves of the runs then at work, which need to be rewound; empty when all have ended.
    """
    at_work = list(runs)
    while True:
        for run in at_work:
            if run.state == "running" and run.stop():
                run.cancel()
            if run.state != "running":
                run.end(run)
        left = [head for head, run in enumerate(at_work) if run.state == "running"]
        if not left:
            return []
        if len(left) < len(at_work):
            trainer, at_work = trainer.keep(left), [at_work[head] for head in left]
        if not _one_epoch(trainer, at_work, pace):
            middle = len(at_work) // 2
            return [at_work[middle:], at_work[:middle]]


def _one_epoch(trainer: Heads, runs: Sequence[TrainingRun], pace: Pace) -> bool:
    """Train one epoch; return False when memory ran out and fewer runs may fit."""
    stops = [run.stop for run in runs]
    try:
        with explained(runs[0].config):
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
        run.hear(outcome, trainer, head, pace)
    return True


def _best_values(line: dict[str, Any]) -> dict[str, float]:
    metrics = line.get("val_metrics", {})
    return {f"best_val_{name}": metrics.get(name, math.nan) for name in ("auprc", "auroc", "f1_macro")}


def limit_threads(count: int) -> None:
    """Cap the threads of tensor work, so that a server's pages stay quick beside a training."""
    torch.set_num_threads(max(1, count))
