"""Train the runs of a bank: load their data together, train them in stacks, and end each run on disk by itself.

A bank is a group of runs that are trained together on shared features; a stack is the part of it whose heads step
together.
"""

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
from ctbench_core.config import Config, ResumeConfig
from ctbench_core.dataset import (
    NOT_VERIFIABLE,
    Dataset,
    SharedData,
    SharedTests,
    check_paths,
    input_changes,
    write_inputs,
)
from ctbench_core.errors import CtbenchError, InputError, explained
from ctbench_core.evaluate import evaluate_on_tests, require_test_manifests, run_summary
from ctbench_core.manifest import write_selections
from ctbench_core.progress import Progress
from ctbench_core.runs import (
    Recorder,
    RunPaths,
    Status,
    Tracker,
    advice_on_changes,
    automatic_label,
    check_settings,
    describe_changes,
    hold,
    hold_unchanged,
    new_status,
    open_run,
    open_tracker,
    read_json,
    read_provenance,
    record_segment,
    run_paths,
    write_config,
    write_latest,
    write_status,
)
from ctbench_core.stored import is_there
from ctbench_core.train.planning import divide_into_stacks
from ctbench_core.train.refusals import check_training
from ctbench_core.train.run_errors import ErrorIsolation, as_run_error

if TYPE_CHECKING:
    from ctbench_core.train.loop import AnyTrainer, EpochProgress, TrainingRun

ErrorType = type[BaseException] | None


def queue_run(
    config: Config, run_dir: Path | None = None, previous: Status | None = None, started_by: str = ""
) -> Path:
    """Create the directory of a waiting run and return it; a resumed run (with ``previous``) keeps its own.

    Raises:
        InputError: the directory already holds a run that is not being resumed, or another process has changed the run.
    """
    check_paths(config)
    check_training(config)
    paths = run_paths(config) if run_dir is None else open_run(run_dir).paths
    if previous is None and paths.status.is_file():
        raise _already_there(paths)
    status = dataclasses.replace(
        new_status(_label(config), max_epochs=config.training.max_epochs), started_by=started_by
    )
    if previous is not None:
        check_settings(paths, config)
        status = dataclasses.replace(status, created=previous.created, label=previous.label, epoch=previous.epoch)
    try:
        paths.root.mkdir(parents=True, exist_ok=True)
        with hold_unchanged(paths.status, previous) if previous is not None else hold(paths.status) as stored:
            if stored is not None:
                raise _already_there(paths)
            if previous is None:  # a resumed run keeps its config until its checkpoint has proved to fit the new one
                write_config(paths.config, config)
            write_status(paths.status, status)
        write_latest(config, paths.root)
    except OSError as error:
        raise InputError(
            f"The run cannot be written to {paths.root}: {explained(error)} Or set paths.outputs_root to another folder."
        ) from error
    return paths.root


def _already_there(paths: RunPaths) -> InputError:
    return InputError(
        f"{paths.root} already holds a run. Choose another paths.run_dir, or resume it (training.resume.enabled=true)."
    )


def _label(config: Config) -> str:
    return config.logging.run_name or automatic_label(config)


@dataclass
class RunTask(ErrorIsolation):
    """One run of a bank, from its config to its metrics.

    An error ends this run alone: ``error`` and the run's status hold it.
    """

    config: Config
    run_dir: Path | None = None
    dataset: Dataset | None = None
    error: CtbenchError | None = None
    tests: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._contexts = contextlib.ExitStack()
        self._recorder: Recorder | None = None
        self._tracker: Tracker | None = None
        self._shared_tests = SharedTests()
        self._started = 0.0

    def fail(self, error: CtbenchError) -> None:
        """End the run with an error."""
        self.error = error
        self._record_failure(type(error), error, error.__traceback__)

    def abandon(self, kind: ErrorType, error: BaseException | None, trace: TracebackType | None) -> bool:
        """Mark a run that has not started, when an error outside it or the user ends the work."""
        if error is not None and self.error is None and self._recorder is None:
            self._record_failure(kind, error, trace)
        return False

    def _record_failure(self, kind: ErrorType, error: BaseException, trace: TracebackType | None) -> None:
        if self.run_dir is not None and self._recorder is None:
            with contextlib.suppress(CtbenchError, OSError):
                self._open_recorder(self.run_dir)
        self.close(kind, error, trace)

    def close(self, kind: ErrorType, error: BaseException | None, trace: TracebackType | None) -> bool:
        """Release the run directory; an error that is not recorded yet marks the run."""
        self._contexts.pop_all().__exit__(kind, error, trace)
        return False

    def load(self, shared: SharedData, tests: SharedTests) -> None:
        """Load the dataset; faulty input raises here, test manifests included."""
        self._shared_tests, dataset = tests, shared.dataset(self.config)
        if self.config.evaluation.after_training:
            require_test_manifests(self.config, dataset.manifests["train"].labels)
        self.dataset = dataset

    def start(self) -> Recorder:
        """Mark the run running."""
        assert self.dataset is not None
        self._started = time.monotonic()
        self.run_dir = self.run_dir or queue_run(self.config)
        recorder = self._open_recorder(self.run_dir)
        self._tracker = self._contexts.enter_context(open_tracker(self.config, recorder.paths))
        return recorder

    def write_origin(self, paths: RunPaths, device: str) -> None:
        """Write what the run is made from; a resumed run keeps its segments and its origin."""
        from ctbench_core.provenance import provenance

        assert self.dataset is not None
        known = read_json(paths.provenance) or {}
        write_json(paths.provenance, known | provenance(self.config, self.dataset, device))
        write_inputs(paths.inputs, self.dataset)
        if self.dataset.selection is not None:
            write_selections(paths.selection, [self.dataset.selection])

    def _open_recorder(self, run_dir: Path) -> Recorder:
        run = open_run(run_dir)
        status = dataclasses.replace(run.status, seconds=dict(self.seconds))  # not those before a resume
        self._recorder = self._contexts.enter_context(Recorder(run.paths, status))
        return self._recorder

    def training_run(
        self, trainer: AnyTrainer, resume: bool, stop_requested: Callable[[], bool], progress: Progress
    ) -> TrainingRun:
        """Start the run and return what a stack trains."""
        from ctbench_core.train.loop import RunLog, TrainingRun

        before = read_provenance(open_run(self.run_dir).paths).inputs if self.run_dir else {}
        changes = self._changes() if resume else {}
        if resume:
            self._queue_again()
        recorder = self.start()
        if not resume:
            self.write_origin(recorder.paths, trainer.device)
        options = trainer.limits(self.config.training)
        recorder.status = dataclasses.replace(recorder.status, max_epochs=options.max_epochs)
        log = RunLog(recorder.paths, options, self.config.utils.seed)

        def prepare(trainer: AnyTrainer, head: int) -> None:
            if resume:
                log.resume(trainer, head)  # a checkpoint that does not fit leaves the run's files as they were
                self.write_origin(recorder.paths, trainer.device)
                first, digests = log.epoch + 1, self.dataset.digests if self.dataset else {}
                log.segments = record_segment(recorder.paths, changes, first, before, digests)
                self.warnings += describe_changes(changes, first)
                config = self.config.copy()
                config.training.resume = ResumeConfig()  # what was allowed once is not allowed for ever
                write_config(recorder.paths.config, config)

        def watch(step: EpochProgress) -> None:
            assert self._tracker is not None
            training_s = time.monotonic() - self._started
            recorder.epoch(step.epoch, step.best_epoch, self.seconds | {"train": training_s})
            self._tracker.epoch(step.line)
            monitor = self.config.training.monitor
            best = f"{monitor} {step.report.monitored(monitor):.4f}, best {step.best_value:.4f} @ {step.best_epoch}"
            progress(f"training ({best})", step.epoch, step.max_epochs)

        stop = recorder.stop_check(stop_requested)
        return TrainingRun(log, self.config, prepare, stop, watch, lambda run: self.end(run, progress))

    def _queue_again(self) -> None:
        """Queue a run that has ended, for callers that have not."""
        assert self.run_dir is not None
        status = open_run(self.run_dir).status
        if not status.active:
            queue_run(self.config, self.run_dir, status, status.started_by)

    def _changes(self) -> dict[str, Any]:
        """Return what has changed since the run was stopped: settings by key, and sentences about data under ``data``.

        Raises:
            InputError: something has, and changes are not allowed.
        """
        assert self.run_dir is not None and self.dataset is not None
        paths = open_run(self.run_dir).paths
        if not is_there(paths.last_state):
            return {}  # the run begins
        changes: dict[str, Any] = check_settings(paths, self.config)
        inputs = input_changes(paths, self.dataset)
        if inputs == [NOT_VERIFIABLE]:
            self.warnings.append(NOT_VERIFIABLE)
        elif inputs:
            if not self.config.training.resume.allow_changes:
                raise InputError(f"{self.run_dir.name} cannot be resumed: {' '.join(inputs)} {advice_on_changes()}")
            changes["data"] = inputs
        return changes

    def end(self, run: TrainingRun, progress: Progress) -> None:
        """Evaluate on the test sets if the config says so, and write the final state."""
        recorder, tracker = self._recorder, self._tracker
        assert recorder is not None and tracker is not None and self.run_dir is not None and self.dataset is not None
        if run.error is not None:
            self.fail(run.error)
            return
        with self.isolate_errors():
            self.seconds["train"] = time.monotonic() - self._started
            best = run.log.best.epoch or None
            if run.log.convergence is not None and run.log.convergence.mark:
                self.warnings.append(run.log.convergence.sentence())
            recorder.status = dataclasses.replace(recorder.status, epoch=run.log.epoch, best_epoch=best)
            if self.config.evaluation.after_training and run.state == "finished":
                before = time.monotonic()
                stored = open_run(self.run_dir)
                self.tests = evaluate_on_tests(
                    stored,
                    self.config,
                    self.dataset.manifests,
                    None,
                    progress,
                    training=self.dataset,
                    shared=self._shared_tests,
                )
                self.seconds["evaluate"] = time.monotonic() - before
            self.seconds["total"] = sum(self.seconds.values())
            recorder.end(run.state, seconds=self.seconds)
            self.warnings += tracker.end(self.result())
            self.close(None, None, None)

    def result(self) -> dict[str, Any]:
        """Return the `train` JSON of the contracts; a failed run has its cause under ``error``."""
        if self.error is not None:
            return {"run_dir": str(self.run_dir or ""), "state": "failed", "error": str(self.error)}
        assert self.run_dir is not None and self.dataset is not None
        summary = run_summary(open_run(self.run_dir), self.tests, self.dataset.warnings + self.warnings)
        return summary | {"notes": self.dataset.notes}


def run_tasks(
    tasks: Sequence[RunTask], resume: bool, cancel: threading.Event | None, progress: Progress
) -> Sequence[RunTask]:
    """Load the features once, and train every run to its end."""
    with contextlib.ExitStack() as unfinished:
        for task in tasks:
            unfinished.push(task.abandon)
            with task.isolate_errors():  # before any feature is read
                check_training(task.config)
        if possible := [task for task in tasks if task.error is None]:
            _load(possible, progress)
        ready = [task for task in tasks if task.error is None]
        if ready:
            from ctbench_core.train.loop import use_threads

            unfinished.enter_context(use_threads(ready[0].config.training.threads))
        datasets = [task.dataset for task in ready if task.dataset is not None]
        stop_requested = cancel.is_set if cancel is not None else lambda: False
        left = len(ready)
        for stack in divide_into_stacks([task.config for task in ready], datasets):
            prefix = f"training ({left} runs to go, " if len(tasks) > 1 else "training ("
            _train_stack([ready[k] for k in stack], resume, stop_requested, _with_prefix(progress, prefix))
            left -= len(stack)
    return tasks


def _with_prefix(progress: Progress, prefix: str) -> Progress:
    return lambda phase, done, total: progress(phase.replace("training (", prefix, 1), done, total)


def _load(tasks: Sequence[RunTask], progress: Progress) -> None:
    """Load all datasets on one matrix; where a run's input is at fault, load each by itself."""
    started = time.monotonic()
    try:
        with as_run_error(tasks[0].config):
            shared = SharedData([task.config for task in tasks], progress)
    except CtbenchError as error:
        if len(tasks) == 1:
            tasks[0].fail(error)
        else:
            for task in tasks:
                _load([task], progress)
        return
    tests = SharedTests()
    for task in tasks:
        with task.isolate_errors():
            task.load(shared, tests)
        task.seconds["load"] = time.monotonic() - started


def _train_stack(
    tasks: Sequence[RunTask], resume: bool, stop_requested: Callable[[], bool], progress: Progress
) -> None:
    """Train runs that step together; an error that ends the process marks the running ones."""
    from ctbench_core.train.loop import train_stack
    from ctbench_core.train.trainer import make_trainer

    try:
        with as_run_error(tasks[0].config):
            datasets = [task.dataset for task in tasks if task.dataset is not None]
            trainers = [make_trainer([task.config for task in tasks], datasets)]
    except CtbenchError as error:
        if len(tasks) == 1:
            tasks[0].fail(error)
        else:  # only one may be at fault
            for task in tasks:
                _train_stack([task], resume, stop_requested, progress)
        return
    with contextlib.ExitStack() as running:
        runs = []
        for task in tasks:
            running.push(task.close)
            with task.isolate_errors():
                runs.append(task.training_run(trainers[0], resume, stop_requested, progress))
        heads = [k for k, task in enumerate(tasks) if task.error is None]
        if heads:  # no reference is kept here, so that the trainer's memory can be freed when it runs out
            train_stack(trainers.pop() if len(heads) == len(tasks) else trainers.pop().subset(heads), runs)
