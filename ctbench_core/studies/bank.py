"""Train one bank of a plan: new runs from the start, begun ones from their checkpoints, finished ones not at all."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path

from ctbench_core.config import Config
from ctbench_core.errors import CtbenchError, InputError
from ctbench_core.experiment import queue_run, run_experiment
from ctbench_core.runs import RESUMABLE, RunPaths, open_run, read_config, read_status
from ctbench_core.studies.identity import identity, same_run

Progress = Callable[[str, int, int], None]


def bank_key(config: Config) -> Hashable:
    """Tell which configs may train as one bank."""
    return str(
        sorted((key, str(value)) for key, value in identity(config).items() if key.startswith(("paths.", "data.")))
    )


def train_bank(
    configs: Sequence[Config], run_dirs: Sequence[Path], cancel: threading.Event, progress: Progress
) -> list[str]:
    """Train the runs of a bank that are not finished; return the errors of those that failed.

    Raises:
        InputError: a run directory holds another run, or one that another process trains.
    """
    errors = []
    for config, run_dir in zip(configs, run_dirs):
        if cancel.is_set():
            break
        resume = _prepare(config, run_dir)
        if resume is None:
            continue
        try:
            run_experiment(config, run_dir, resume=resume, cancel=cancel, progress=progress)
        except CtbenchError as error:  # the run's status says the same; the others go on
            errors.append(f"{run_dir.name}: {error}")
    return errors


def _prepare(config: Config, run_dir: Path) -> bool | None:
    """Queue a run; return whether it resumes, None when it is finished already."""
    paths = RunPaths(run_dir)
    if not paths.status.is_file():
        queue_run(config)
        return False
    stored = read_config(paths.config)
    if not same_run(stored, config):
        raise InputError(f"{run_dir} holds a run with another config. Move it away, or give the study another name.")
    status = read_status(paths.status)
    if status.state == "finished":
        return None
    if status.state in RESUMABLE:
        queue_run(config, open_run(run_dir).paths.root, status)
    return paths.last_state.is_file()
