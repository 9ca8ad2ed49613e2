"""Train one bank of a plan: new runs from the start, begun ones from their checkpoints, finished ones not at all."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from ctbench_core.config import Config
from ctbench_core.errors import InputError
from ctbench_core.experiment import queue_run, run_bank
from ctbench_core.runs import RESUMABLE, RunPaths, read_config, read_status
from ctbench_core.studies.identity import same_run



def train_bank(
    configs: Sequence[Config], run_dirs: Sequence[Path], cancel: threading.Event, progress: Progress
) -> list[str]:
    """Train the runs of a bank that are not finished; return the errors of those that failed.

    Raises:
        InputError: a run directory holds another run, or one that another process trains.
    """
    left = [(config, run_dir) for config, run_dir in zip(configs, run_dirs) if _prepare(config, run_dir)]
    if not left:
        return []
    results = run_bank(
        [config for config, _ in left],
        [run_dir for _, run_dir in left],
        resume=True,  # from the checkpoint where there is one
        cancel=cancel,
        progress=progress,
    )
    return [
        f"{run_dir.name}: {result['error']}"
        for (_, run_dir), result in zip(left, results)
        if result["state"] == "failed"
    ]


def _prepare(config: Config, run_dir: Path) -> bool:
    """Queue a run; return whether there is something left to train."""
    paths = RunPaths(run_dir)
    if not paths.status.is_file():
        queue_run(config)
        return True
    stored = read_config(paths.config)
    if not same_run(stored, config):
        raise InputError(f"{run_dir} holds a run with another config. Move it away, or give the study another name.")
    status = read_status(paths.status)
    if status.state in RESUMABLE:
        queue_run(config, run_dir, status)
    return status.state != "finished"
