"""Work off a study: claim bank after bank, train it, and go on until every run has ended.

Any number of processes do this side by side on one folder. What is finished stays finished; a bank whose process
died is claimed by the next one, and its runs go on from their checkpoints.

MERGED: Train one bank of a plan: new runs from the start, begun ones from their checkpoints, finished ones not at all.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ctbench_core.config import Config
from ctbench_core.errors import ConfigError, InputError
from ctbench_core.experiment import queue_run, run_bank
from ctbench_core.progress import Progress, silent
from ctbench_core.runs import RESUMABLE, RunPaths, now, parsed, read_config, read_status
from ctbench_core.studies.claims import claim
from ctbench_core.studies.control import RUN, Stop, want
from ctbench_core.studies.layout import StudyPaths
from ctbench_core.studies.plan import Plan, PlannedRun, read_plan, same_run

LOOK_EVERY_S = 0.5


@dataclass
class Worked:
    """How a call of `work_off` ended: run counts of the whole study, and what went wrong."""

    runs: int
    finished: int
    reused: int
    failed: int
    stopped: bool
    errors: list[str] = field(default_factory=list)


def read_shard(text: str | None) -> tuple[int, int]:
    """Read ``i/n``, counted from 0 or from 1: a shard begins elsewhere in the plan, and helps the others at its end.

    Raises:
        ConfigError: it is no such pair.
    """
    if not text:
        return 0, 1
    part, _, count = text.partition("/")
    if not (part.isdigit() and count.isdigit() and int(count) > 0 and int(part) <= int(count)):
        raise ConfigError(f"--shard is {text!r}; expected i/n, such as 1/3.")
    return int(part) % int(count), int(count)


def work_off(
    paths: StudyPaths,
    *,
    shard: tuple[int, int] = (0, 1),
    cancel: threading.Event | None = None,
    progress: Progress = silent,
) -> Worked:
    """Train every run of a planned study that is not finished, beside whoever else does.

    Args:
        cancel: set it to stop in good order; so does `control.want` from anywhere.

    Raises:
        InputError: the folder holds no plan, or a run directory holds another run.
    """
    plan = read_plan(paths)
    want(paths, RUN)
    worker = _Worker(paths, plan, Stop(paths, cancel), progress)
    reused = worker.count()["finished"]
    banks = plan.banks()
    order = sorted(banks, key=lambda bank: ((bank - shard[0]) % shard[1], bank))
    while (left := worker.open_banks(order)) and not worker.stop.is_set():
        if not any(worker.take(bank) for bank in left):
            time.sleep(LOOK_EVERY_S)  # others have them; should one die, its bank is free
    counts = worker.count()
    stopped = worker.stop.is_set() and counts["finished"] + counts["failed"] < len(plan.runs)
    return Worked(len(plan.runs), counts["finished"], reused, counts["failed"], stopped, worker.errors)


class _Worker:
    def __init__(self, paths: StudyPaths, plan: Plan, stop: Stop, progress: Progress) -> None:
        self.paths, self.plan, self.stop = paths, plan, stop
        self.errors: list[str] = []
        self._banks, self._configs = plan.banks(), plan.configs()
        self._progress, self._started = progress, now()
        self._ended, self._counted_at = 0, 0.0

    def count(self) -> Counter[str]:
        """Count the runs by state."""
        return Counter(state_of(self.paths.run(run.id)) for run in self.plan.runs)

    def open_banks(self, order: list[int]) -> list[int]:
        """Return the banks that still have something to train, in order."""
        return [bank for bank in order if not all(self._has_ended(run) for run in self._banks[bank])]

    def _has_ended(self, run: PlannedRun) -> bool:
        """Whether a run is finished, or has failed since this worker began: an older failure is tried again."""
        status = _status_file(self.paths.run(run.id))
        state = status.get("state")
        return state == "finished" or (state == "failed" and status.get("updated", "") > self._started)

    def take(self, bank: int) -> bool:
        """Train a bank if no other process has it; return whether this one had."""
        if self.stop.is_set():
            return True
        with claim(self.paths.claim(bank)) as mine:
            if mine:
                self._train(bank)
        return mine

    def _train(self, bank: int) -> None:
        runs = [run for run in self._banks[bank] if not self._has_ended(run)]
        configs = [self._placed(run) for run in runs]
        folders = [self.paths.run(run.id) for run in runs]

        def watch(phase: str, done: int, total: int) -> None:
            if time.monotonic() - self._counted_at > LOOK_EVERY_S:
                self._ended, self._counted_at = sum(map(self._has_ended, self.plan.runs)), time.monotonic()
            where = f"bank {bank + 1} of {len(self._banks)}, {phase} {done}/{total}"
            self._progress(f"study ({where})", self._ended, len(self.plan.runs))

        self.errors += train_stack(configs, folders, self.stop, watch)

    def _placed(self, run: PlannedRun) -> Config:
        config = self._configs[run.id].copy()
        config.paths.run_dir = str(self.paths.run(run.id))
        return config


def _status_file(run_dir: Path) -> dict[str, Any]:
    """Return what a run's status file says, parsed once a change; empty without one."""
    try:
        found = parsed(RunPaths(run_dir).status, json.loads)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def state_of(run_dir: Path) -> str:
    """Return a run's state as its file says it, ``waiting`` before it has one."""
    return str(_status_file(run_dir).get("state", "waiting"))


def train_stack(
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
