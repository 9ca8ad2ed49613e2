"""The spine: one config to a trained, evaluated run on disk. Screen and command line call these functions."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ctbench_core.atomic import write_json
from ctbench_core.config import Config, get_key
from ctbench_core.errors import ConfigError, CtbenchError, InputError, RunError
from ctbench_core.evaluate.opening import Progress, named_tests, open_tests, silent, summary
from ctbench_core.manifest import write_selections
from ctbench_core.runs import (
    Recorder,
    Run,
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
from ctbench_core.train.data import Dataset, load_dataset
from ctbench_core.train.leaks import mark_leaks
from ctbench_core.train.splits import check_places, make_splits

if TYPE_CHECKING:
    from ctbench_core.train.trainer import Trainer


def load_training(config: Config, progress: Progress = silent) -> Dataset:
    """Read manifests and features of a training run.

    Raises:
        InputError: anything that the user must mend; nothing has been written.
    """
    check_places(config)
    splits = make_splits(config)
    manifests = {"train": splits.train, "val": splits.val}
    if config.evaluation.after_training:
        named_tests(config, manifests["train"].labels)  # what is wrong with a test shows before hours of training
    leaks, leak_warnings = mark_leaks(config, manifests)  # a split by exam or volume leaks, and says so
    dataset = load_dataset(config, manifests, progress)
    dataset.leaks, dataset.selection = leaks, splits.selection
    dataset.warnings = splits.warnings + leak_warnings + dataset.warnings
    return dataset


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


def run_experiment(
    config: Config,
    run_dir: Path | None = None,
    *,
    resume: bool = False,
    cancel: threading.Event | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Train one run to its end and return the `train` JSON of the contracts.

    Args:
        run_dir: a directory made by `queue_run`; by default a new one, made once the input proved good.
        resume: continue the run in ``run_dir`` from its last checkpoint.
        cancel: set it to stop after the present batch; the best checkpoint is kept.

    Raises:
        InputError: the input is at fault. Without ``run_dir``, nothing has been written.
        RunError: the training failed; the run directory says why.
    """
    started = time.monotonic()
    asked = cancel.is_set if cancel is not None else lambda: False
    prepared = None
    if run_dir is None:
        with _explained(config):
            prepared = _prepare(config, progress)
        run_dir = queue_run(config)
    run = open_run(run_dir)
    with Recorder(run.paths, run.status) as recorder, _explained(config), tracked(config, run.paths) as tracker:
        dataset, trainer = prepared or _prepare(config, progress)
        loaded = time.monotonic()
        seconds = {"load": loaded - started}
        state = _train(config, run, dataset, trainer, recorder, tracker, resume, asked, progress)
        seconds["train"] = time.monotonic() - loaded
        tests: dict[str, Any] = {}
        if config.evaluation.after_training and state == "finished":
            before = time.monotonic()
            tests = open_tests(open_run(run_dir), config, dataset.manifests, None, progress)
            seconds["evaluate"] = time.monotonic() - before
        seconds["total"] = time.monotonic() - started
        recorder.end(state, seconds=seconds)
        result = summary(open_run(run_dir), tests, dataset.warnings) | {"notes": dataset.notes}
        result["warnings"] += tracker.end(result)
    return result


# Runs whose configs agree in these keys read the same feature files through heads of the same shape.
_BANK_KEYS = (
    "paths.data_root",
    "paths.cache_dir",
    "data.columns.visual_feature",
    "data.columns.text_feature",
    "data.feature_key",
    "data.pool",
    "data.standardise",
    "data.on_bad_feature",
    "model._target_",
    "model.inputs",
    "model.prompts",
    "model.params.in_features",
    "model.params.hidden_dims",
    "training.batch_size",
    "training.optimizer",
    "training.precision",
    "utils.device",
)


def bank_key(config: Config) -> str:
    """Return a text that is equal for configs whose runs may train in one bank.

    They share feature files, head shape, batch size, optimiser, precision and device; seed, rows, labels, loss,
    learning rate, weight decay, dropout, schedule and patience are each head's own.
    """
    return repr([(name, get_key(config, name)) for name in _BANK_KEYS])


def run_bank(
    configs: Sequence[Config],
    run_dirs: Sequence[Path | None] | None = None,
    *,
    resume: bool = False,
    cancel: threading.Event | None = None,
    progress: Progress = silent,
) -> list[dict[str, Any]]:
    """Train several runs as one bank, and return the `train` JSON of each, in the order given.

    A run's result depends on its own config and seed alone, never on its company. A run that fails has the state
    ``failed`` and its cause under ``error``; the others go on.

    Args:
        configs: configs with one `bank_key`.
        run_dirs: for each config a directory made by `queue_run`, or None for a new one; by default all new.
        resume: continue every run from its last checkpoint, where it has one.
        cancel: set it to stop all runs after their present batch.

    Raises:
        ConfigError: the configs differ in their `bank_key`.
    """
    if len({bank_key(config) for config in configs}) > 1:
        raise ConfigError(f"These {len(configs)} runs cannot share a bank: group them by bank_key(config) first.")
    results = []
    for config, run_dir in zip(configs, run_dirs or [None] * len(configs), strict=True):
        try:
            results.append(run_experiment(config, run_dir, resume=resume, cancel=cancel, progress=progress))
        except CtbenchError as error:
            results.append({"run_dir": str(run_dir or ""), "state": "failed", "error": str(error)})
    return results


def _prepare(config: Config, progress: Progress) -> tuple[Dataset, Trainer]:
    """Load the data and build the trainer: whatever is wrong with the input shows here."""
    from ctbench_core.train.trainer import Trainer

    dataset = load_training(config, progress)
    return dataset, Trainer(config, dataset, [config.utils.seed])


def _train(
    config: Config,
    run: Run,
    dataset: Dataset,
    trainer: Trainer,
    recorder: Recorder,
    tracker: Tracker,
    resume: bool,
    asked: Callable[[], bool],
    progress: Progress,
) -> str:
    from ctbench_core.provenance import provenance
    from ctbench_core.train.loop import Progress as Epoch
    from ctbench_core.train.loop import TrainingLoop

    write_json(run.paths.provenance, provenance(config, dataset, trainer.device))
    if dataset.selection is not None:
        write_selections(run.paths.selection, [dataset.selection])
    loop = TrainingLoop(trainer, run.paths)
    if resume:
        loop.resume()
        write_config(run.paths.config, config)

    def watch(step: Epoch) -> None:
        recorder.epoch(step.epoch, step.best_epoch)
        tracker.epoch(step.line)
        best = f"{config.training.monitor} {step.report.monitored(config.training.monitor):.4f}, best {step.best_value:.4f} @ {step.best_epoch}"
        progress(f"training ({best})", step.epoch, step.max_epochs)

    state = loop.run(recorder.stopping(asked), watch)
    recorder.status = dataclasses.replace(recorder.status, epoch=loop.epoch, best_epoch=loop.best.epoch or None)
    return state


@contextlib.contextmanager
def _explained(config: Config) -> Iterator[None]:
    """Turn what the machine refuses into a message with a way out."""
    try:
        yield
    except OSError as error:
        raise RunError(
            f"Writing the run failed: {error}. Free space or mend the folder, then Resume continues from the last checkpoint."
        ) from error
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        batch = config.training.batch_size
        raise RunError(
            f"Out of memory at batch size {batch}. Try training.batch_size={max(1, batch // 2)}, or utils.device=cpu."
        ) from error


def _is_out_of_memory(error: Exception) -> bool:
    """Tell memory errors apart; torch raises its own kind on a GPU and a plain RuntimeError on a CPU."""
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return named or "allocate memory" in str(error)
