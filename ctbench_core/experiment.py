"""Turn configs into trained and evaluated runs on disk. Pages and command line call these functions."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ctbench_core.bank_runs import RunTask, queue_run, run_tasks
from ctbench_core.config import Config
from ctbench_core.dataset import Dataset, check_paths, find_leaks, load_dataset, make_splits
from ctbench_core.errors import ConfigError
from ctbench_core.evaluate import require_test_manifests
from ctbench_core.progress import Progress, silent
from ctbench_core.train.planning import bank_key

__all__ = ["bank_key", "load_training", "queue_run", "run_bank", "run_experiment"]


def load_training(config: Config, progress: Progress = silent) -> Dataset:
    """Read manifests and features of a training run.

    Raises:
        InputError: the input is at fault; nothing has been written.
    """
    check_paths(config)
    splits = make_splits(config)
    manifests = {"train": splits.train, "val": splits.val}
    if config.evaluation.after_training:
        require_test_manifests(config, manifests["train"].labels)
    leaks, leak_warnings = find_leaks(config, manifests)  # a split by exam or volume may leak
    dataset = load_dataset(config, manifests, progress)
    dataset.leaks, dataset.selection = leaks, splits.selection
    dataset.warnings = splits.warnings + leak_warnings + dataset.warnings
    return dataset


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
        run_dir: a directory made by `queue_run`; by default a new one, created once the input has been checked.
        resume: continue the run in ``run_dir`` from its last checkpoint.
        cancel: set it to stop after the present batch; the best checkpoint is kept.

    Raises:
        InputError: the input is at fault. Without ``run_dir``, nothing has been written.
        RunError: the training failed; the run directory says why.
    """
    (task,) = run_tasks([RunTask(config, run_dir)], resume, cancel, progress)
    if task.error is not None:
        raise task.error
    return task.result()


def run_bank(
    configs: Sequence[Config],
    run_dirs: Sequence[Path | None] | None = None,
    *,
    resume: bool = False,
    cancel: threading.Event | None = None,
    progress: Progress = silent,
) -> list[dict[str, Any]]:
    """Train several runs as one bank, and return the `train` JSON of each, in order.

    A run's result depends on its own config and seed, not on the runs it trains with. A run that fails has the state
    ``failed`` and its cause under ``error``; the others continue.

    Args:
        configs: configs with one `bank_key`.
        run_dirs: for each config a directory made by `queue_run`, or None for a new one; by default all new.
        resume: continue every run from its last checkpoint, where it has one.
        cancel: set it to stop all runs after their present batch.

    Raises:
        ConfigError: the configs differ in their `bank_key`.
    """
    if len({bank_key(config) for config in configs}) > 1:
        raise ConfigError(f"These {len(configs)} runs cannot train as one bank: group them by bank_key(config) first.")
    tasks = [RunTask(*pair) for pair in zip(configs, run_dirs or [None] * len(configs), strict=True)]
    return [task.result() for task in run_tasks(tasks, resume, cancel, progress)]
