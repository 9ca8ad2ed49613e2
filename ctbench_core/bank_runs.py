"""Runs on their way through a bank: loaded together, trained in stacks, each ending by itself and saying so on disk."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ctbench_core.atomic import write_json
from ctbench_core.config import Config
from ctbench_core.dataset import Dataset, SharedData, check_places
from ctbench_core.errors import CtbenchError, InputError
from ctbench_core.evaluate import named_tests, open_tests, summary
from ctbench_core.manifest import write_selections
from ctbench_core.progress import Progress
from ctbench_core.runs import (
    Recorder,
    Status,
    Tracker,
    new_status,
    open_run,
    run_paths,
    tracked,
    write_config,
    write_latest,
    write_status,
)
from ctbench_core.train.failures import Guarded, explained
from ctbench_core.train.stacks import stacks

if TYPE_CHECKING:
    from ctbench_core.train.loop import Heads, TrainingRun
    from ctbench_core.train.loop import Progress as Epoch


def queue_run(config: Config, run_dir: Path | None = None, previous: Status | None = None) -> Path:
    """Make a run directory that waits its turn, and return it; a resumed run keeps its own.

    Raises:
        InputError: the directory already holds a run that is not to be resumed.
    """
    check_places(config)
    paths = run_paths(config) if run_dir is None else open_run(run_dir).paths
    if previous is None and paths.status.is_file():
        raise InputError(
            f"{paths.root} already holds a run. Choose another paths.run_dir, or resume it (training.resume.enabled=true)."
        )
    status = new_status(_label(config), max_epochs=config.training.max_epochs)
    if previous is not None:
        status = dataclasses.replace(status, created=previous.created, label=previous.label, epoch=previous.epoch)
    try:
        if previous is None:  # a resumed run keeps its config until the new one has proved to fit
            write_config(paths.config, config)
        write_status(paths.status, status)
        write_latest(config, paths.root)
    except OSError as error:
        raise InputError(
            f"The run cannot be written to {paths.root}: {error}. Set paths.outputs_root to a folder that you may write."
        ) from error
    return paths.root


def _label(config: Config) -> str:
    if config.logging.run_name:
        return config.logging.run_name
    widths = (
        "-".join(map(str, config.model.params.hidden_dims))
        if config.model._target_ not in ("linear", "linear_probe")
        else ""
    )
    return " · ".join(
        part for part in (config.model.model_name, widths, config.model.inputs, f"seed {config.utils.seed}") if part
    )


@dataclass
class RunTask(Guarded):
    """One run of a bank, from config to figures.

    An error ends this run alone: it is kept in ``error`` and told by the run's status.
    """

    config: Config
    run_dir: Path | None = None
    dataset: Dataset | None = None
    error: CtbenchError | None = None
    tests: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._held = contextlib.ExitStack()
        self._recorder: Recorder | None = None
        self._tracker: Tracker | None = None
        self._started = 0.0

    def fail(self, error: CtbenchError) -> None:
        """End the run with an error."""
        self.error = error
        if self.run_dir is not None and self._recorder is None:
            with contextlib.suppress(CtbenchError, OSError):
                self._enter(self.run_dir)
        self.leave(type(error), error, error.__traceback__)

    def leave(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> bool:
        """Let go of the run directory; an error not yet told marks the run."""
        self._held.pop_all().__exit__(kind, error, trace)
        return False

    def abandon(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        """Mark a run that had not begun when an error of our own, or the user, ended the work."""
        if error is not None and self.error is None and self.run_dir is not None and self._recorder is None:
            with contextlib.suppress(CtbenchError, OSError):
                self._enter(self.run_dir)
            self.leave(kind, error, trace)
        return False

    def load(self, shared: SharedData) -> None:
        """Make the dataset: whatever is wrong with the input shows here."""
        dataset = shared.dataset(self.config)
        if self.config.evaluation.after_training:  # what is wrong with a test shows before hours of training
            named_tests(self.config, dataset.manifests["train"].labels)
        self.dataset = dataset

    def start(self, device: str) -> Recorder:
        """Mark the run running, and write what it is made of."""
        from ctbench_core.provenance import provenance

        assert self.dataset is not None
        self._started = time.monotonic()
        self.run_dir = self.run_dir or queue_run(self.config)
        recorder = self._enter(self.run_dir)
        self._tracker = self._held.enter_context(tracked(self.config, recorder.paths))
        write_json(recorder.paths.provenance, provenance(self.config, self.dataset, device))
        if self.dataset.selection is not None:
            write_selections(recorder.paths.selection, [self.dataset.selection])
        return recorder

    def _enter(self, run_dir: Path) -> Recorder:
        run = open_run(run_dir)
        self._recorder = self._held.enter_context(Recorder(run.paths, run.status))
        return self._recorder

    def bank_run(self, trainer: Heads, resume: bool, asked: Callable[[], bool], progress: Progress) -> TrainingRun:
        """Start the run; the answer is what a bank trains."""
        from ctbench_core.train.loop import RunLog, TrainingRun

        recorder = self.start(trainer.device)
        options = trainer.limits(self.config.training)
        recorder.status = dataclasses.replace(recorder.status, max_epochs=options.max_epochs)
        log = RunLog(recorder.paths, options, self.config.utils.seed)

        def prepare(trainer: Heads, head: int) -> None:
            if resume:
                log.resume(trainer, head)
                write_config(recorder.paths.config, self.config)

        def watch(step: Epoch) -> None:
            assert self._tracker is not None
            recorder.epoch(step.epoch, step.best_epoch)
            self._tracker.epoch(step.line)
            monitor = self.config.training.monitor
            best = f"{monitor} {step.report.monitored(monitor):.4f}, best {step.best_value:.4f} @ {step.best_epoch}"
            progress(f"training ({best})", step.epoch, step.max_epochs)

        return TrainingRun(
            log, self.config, prepare, recorder.stopping(asked), watch, lambda run: self.end(run, progress)
        )

    def end(self, run: TrainingRun, progress: Progress) -> None:
        """Open the tests if the config says so, and write the final state."""
        recorder = self._recorder
        assert recorder is not None and self.run_dir is not None and self.dataset is not None
        if run.error is not None:
            self.fail(run.error)
            return
        with self.guarded():
            self.seconds["train"] = time.monotonic() - self._started
            best = run.log.best.epoch or None
            recorder.status = dataclasses.replace(recorder.status, epoch=run.log.epoch, best_epoch=best)
            if self.config.evaluation.after_training and run.state == "finished":
                before = time.monotonic()
                self.tests = open_tests(open_run(self.run_dir), self.config, self.dataset.manifests, None, progress)
                self.seconds["evaluate"] = time.monotonic() - before
            self.seconds["total"] = sum(self.seconds.values())
            recorder.end(run.state, seconds=self.seconds)
            assert self._tracker is not None
            self.warnings += self._tracker.end(self.result())
            self.leave(None, None, None)

    def result(self) -> dict[str, Any]:
        """Return the `train` JSON of the contracts; a failed run has its cause under ``error``."""
        if self.error is not None:
            return {"run_dir": str(self.run_dir or ""), "state": "failed", "error": str(self.error)}
        assert self.run_dir is not None and self.dataset is not None
        found = summary(open_run(self.run_dir), self.tests, self.dataset.warnings + self.warnings)
        return found | {"notes": self.dataset.notes}


def run_tasks(
    members: Sequence[RunTask], resume: bool, cancel: threading.Event | None, progress: Progress
) -> Sequence[RunTask]:
    """Load the features once, and train every member to its end."""
    with contextlib.ExitStack() as unfinished:
        for member in members:
            unfinished.push(member.abandon)
        _load(members, progress)
        ready = [member for member in members if member.error is None]
        datasets = [member.dataset for member in ready if member.dataset is not None]
        asked = cancel.is_set if cancel is not None else lambda: False
        left = len(ready)
        for stack in stacks([member.config for member in ready], datasets):
            many = f"training ({left} runs to go, " if len(members) > 1 else "training ("
            _train_stack([ready[k] for k in stack], resume, asked, _renamed(progress, "training (", many))
            left -= len(stack)
    return members


def _renamed(progress: Progress, words: str, others: str) -> Progress:
    return lambda phase, done, total: progress(phase.replace(words, others, 1), done, total)


def _load(members: Sequence[RunTask], progress: Progress) -> None:
    """Make all datasets on one matrix; where one run's input is at fault, each is loaded by itself."""
    started = time.monotonic()
    try:
        with explained(members[0].config):
            shared = SharedData([member.config for member in members], progress)
    except CtbenchError as error:
        if len(members) == 1:
            members[0].fail(error)
        else:
            for member in members:
                _load([member], progress)
        return
    for member in members:
        with member.guarded():
            member.load(shared)
        member.seconds["load"] = time.monotonic() - started


def _train_stack(members: Sequence[RunTask], resume: bool, asked: Callable[[], bool], progress: Progress) -> None:
    """Train runs that step together; whatever stops the process marks those still at work."""
    from ctbench_core.train.loop import train_stack
    from ctbench_core.train.trainer import make_trainer

    try:
        with explained(members[0].config):
            data = [member.dataset for member in members if member.dataset is not None]
            held = [make_trainer([member.config for member in members], data)]
    except CtbenchError as error:
        if len(members) == 1:
            members[0].fail(error)
        else:  # whichever is at fault, the others go on
            for member in members:
                _train_stack([member], resume, asked, progress)
        return
    with contextlib.ExitStack() as at_work:
        runs = []
        for member in members:
            at_work.push(member.leave)
            with member.guarded():
                runs.append(member.bank_run(held[0], resume, asked, progress))
        heads = [k for k, member in enumerate(members) if member.error is None]
        if heads:  # the bank is handed over, not kept: where memory runs out, it must be free to go
            train_stack(held.pop() if len(heads) == len(members) else held.pop().keep(heads), runs)
