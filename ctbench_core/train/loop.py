"""Drive a trainer to its end and keep the run directory true all the while.

Everything that a crash could lose is in ``last_state.pt``: written after the first epoch, then every
two seconds of training, and at the end. Epochs between two writes are repeated on resume and give
the same weights, because every random draw is keyed by its epoch.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ctbench_core.atomic import append_line, dump_json, flush_to_disk, write_json
from ctbench_core.errors import CheckpointError, InputError
from ctbench_core.runs import RunPaths, cut_history
from ctbench_core.train import checkpoint
from ctbench_core.train.trainer import EpochReport, Trainer

CHECKPOINT_EVERY_S = 2.0


@dataclass(frozen=True)
class Progress:
    """What a watcher is told after each epoch."""

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


class TrainingLoop:
    """One run: a trainer with one head, its best epoch, and its files."""

    def __init__(self, trainer: Trainer, paths: RunPaths) -> None:
        self.trainer, self.paths, self.options = trainer, paths, trainer.options
        self.epoch, self.best = 0, Best()
        self._saved_epoch, self._saved_at = -1, -math.inf

    def resume(self) -> None:
        """Continue from ``last_state.pt``; without one, from the beginning.

        Raises:
            CheckpointError: it is damaged or of another shape.
        """
        path = self.paths.last_state
        if path.is_file():
            try:
                self._restore(checkpoint.load(path))
            except (CheckpointError, KeyError, TypeError, ValueError, RuntimeError) as error:
                raise CheckpointError(
                    f"{path} cannot be resumed: {error} Resume with the config that the run was started with, or start a new run."
                ) from error
        cut_history(self.paths.metrics, self.epoch)

    def run(self, stop: Callable[[], bool], watch: Callable[[Progress], None]) -> str:
        """Train until patience or epochs run out, or ``stop`` turns true.

        Returns:
            ``finished`` or ``cancelled``; the files are written in either case.

        Raises:
            RunError: the loss is not finite.
            InputError: the monitored figure is undefined on this validation set.
        """
        state = "finished"
        while self.epoch < self.options.max_epochs and self.best.stale < self.options.early_stopping_patience:
            reports = None if stop() else self.trainer.run_epoch(self.epoch + 1, lambda: not stop())
            if reports is None:
                state = "cancelled"
                break
            line = self._after_epoch(reports[0])
            watch(Progress(self.epoch, self.options.max_epochs, reports[0], line, self.best.epoch, self.best.value))
        if state == "finished":
            self._save()
        self._write_best()
        return state

    def _after_epoch(self, report: EpochReport) -> dict[str, Any]:
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
            self.best = Best(report.epoch, value, line, self.trainer.state_dict(0))
        best = self.best.line or line
        line |= {"best_epoch": self.best.epoch, **_best_values(best)}
        append_line(self.paths.metrics, dump_json(line))
        if time.monotonic() - self._saved_at >= CHECKPOINT_EVERY_S:
            self._save()
        return line

    def _save(self) -> None:
        """Write the checkpoint of the epoch just ended, and the best epoch's files."""
        if self._saved_epoch == self.epoch or not self.epoch:
            return
        best = _best_values(self.best.line or {})
        flush_to_disk(self.paths.metrics)
        checkpoint.save(
            self.paths.last_state,
            {
                "epoch": self.epoch,
                "model": self.trainer.bank.state_dict(0),
                "optimizer": self.trainer.optimizer.state_dict(),
                "best_val_auprc": best["best_val_auprc"],
                "best_val_auroc": best["best_val_auroc"],
                "best_primary_metric": self.best.value,
                "best_epoch": self.best.epoch,
                "epochs_no_improve": self.best.stale,
                "best_model_state": self.best.state,
                "best_line": self.best.line,
                # Draws are keyed by (seed, purpose, epoch), so the seed is the whole random state.
                "rng_state": {"seed": self.trainer.seeds[0]},
            },
        )
        self._write_best()
        self._saved_epoch, self._saved_at = self.epoch, time.monotonic()

    def _write_best(self) -> None:
        if self.best.state is not None and self.best.line is not None:
            checkpoint.save(self.paths.final_model, self.best.state)
            write_json(self.paths.best_metrics, self.best.line | _best_values(self.best.line))

    def _restore(self, saved: dict[str, Any]) -> None:
        self.trainer.bank.load_state_dict(0, saved["model"])
        optimizer = self.trainer.optimizer
        if optimizer.state_dict()["param_groups"][0].keys() != saved["optimizer"]["param_groups"][0].keys():
            raise CheckpointError("It was made with another optimiser.")
        optimizer.load_state_dict(saved["optimizer"])
        self.epoch = self._saved_epoch = int(saved["epoch"])
        self.best = Best(
            epoch=saved["best_epoch"],
            value=saved["best_primary_metric"],
            line=saved["best_line"],
            state=saved["best_model_state"],
            stale=saved["epochs_no_improve"],
        )


def _best_values(line: dict[str, Any]) -> dict[str, float]:
    metrics = line.get("val_metrics", {})
    return {f"best_val_{name}": metrics.get(name, math.nan) for name in ("auprc", "auroc", "f1_macro")}


def limit_threads(count: int) -> None:
    """Cap the threads of tensor work, so that a server's pages stay quick beside a training."""
    torch.set_num_threads(max(1, count))
