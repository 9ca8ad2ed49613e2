"""Run a study: plan it, train bank after bank until every run has ended, and write its tables.

Any number of processes do this side by side on one folder, also those of a cluster's job array. Finished runs stay
finished; when a process dies, the next one claims its bank and continues the runs from their checkpoints.
"""

from __future__ import annotations

import os
import shlex
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ctbench_core.atomic import write_text
from ctbench_core.bank_runs import RunTask, queue_run, run_tasks
from ctbench_core.config import Config, differing_keys
from ctbench_core.errors import ConfigError, CtbenchError, InputError
from ctbench_core.experiment import bank_key
from ctbench_core.progress import Progress, silent
from ctbench_core.runs import RunPaths, now, read_config, read_status
from ctbench_core.stored import is_there
from ctbench_core.studies.cells import cell_frame, cell_records, write_cells
from ctbench_core.studies.differences import compared_axes, difference_records, differences, pairs_along
from ctbench_core.studies.grid_edges import edge_warnings
from ctbench_core.studies.layout import StudyPaths, study_paths
from ctbench_core.studies.plan import Plan, PlannedRun, expand_grid, make_plan, read_plan
from ctbench_core.studies.recipe_scores import cell_axes, cells_of
from ctbench_core.studies.results import read_results, write_table
from ctbench_core.studies.status import DAMAGED, run_state, stored_status
from ctbench_core.studies.study import Study
from ctbench_core.studies.workers import RUN, StopEvent, claim, request_state

_POLL_EVERY_S = 0.5
MOST_PAIRS = 200  # of cells, along one axis, that are compared when a study ends: some minutes


@dataclass
class Outcome:
    """How a call of `train_plan` ended: run counts of the whole study, and the errors of this process."""

    runs: int
    finished: int
    reused: int
    failed: int
    stopped: bool
    errors: list[str]

    def counts(self) -> dict[str, int]:
        """Return everything but the errors."""
        return {name: value for name, value in vars(self).items() if name != "errors"}


def plan_study(study: Study) -> StudyPaths:
    """Check a study's input, write its plan (or extend the existing one), and return its folder.

    Raises:
        InputError: a key, a value or a manifest is at fault; nothing has been written.
    """
    from ctbench_core.dataset import check_paths, read_training_manifests
    from ctbench_core.train.refusals import check_training

    configs = [config for _, config in expand_grid(study).values()]
    for config in configs:
        check_training(config)
    for config in {bank_key(config): config for config in configs}.values():
        check_paths(config)
        read_training_manifests(config)  # a faulty manifest must show before anything is planned
    paths = study_paths(configs[0])
    make_plan(study, paths, bank_key)
    return paths


def run_study(
    study: Study | Path,
    *,
    shard: tuple[int, int] = (0, 1),
    cancel: threading.Event | None = None,
    progress: Progress = silent,
    with_intervals: bool = True,
) -> dict[str, Any]:
    """Run a study, or continue the one in a folder, and return the `study` JSON of the contracts.

    Args:
        with_intervals: compute the intervals of every cell too, and the differences of its pairs: about a second each.

    Raises:
        InputError: the input is at fault.
    """
    started = time.monotonic()
    paths = StudyPaths(study) if isinstance(study, Path) else plan_study(study)
    outcome = train_plan(paths, shard=shard, cancel=cancel, progress=progress)
    content = summary(paths, outcome, progress, with_intervals)
    return content | {"seconds": {"total": time.monotonic() - started}}


def summary(
    paths: StudyPaths, outcome: Outcome, progress: Progress = silent, with_intervals: bool = True
) -> dict[str, Any]:
    """Write the tables of a study and return its JSON."""
    plan = read_plan(paths)
    results = read_results(paths, plan)
    table, cells, warnings = None, [], list(plan.warnings)
    compared: list[dict[str, Any]] = []
    if len(results):
        table = write_table(paths, plan, results)
        frame = cell_frame(paths, plan, results, progress, cached_only=not with_intervals)
        write_cells(paths, frame)
        cells = cell_records(frame, cell_axes(plan))
        warnings += edge_warnings(plan, results)
        compared, left_out = _differences(paths, plan, results, progress, with_intervals)
        warnings += left_out
    extensions = [{key: part[key] for key in ("when", "runs", "seeds")} for part in plan.extensions[1:]]
    tables = {"table": str(table) if table else None, "by_cell": cells, "differences": compared}
    return {
        "study_dir": str(paths.root),
        **outcome.counts(),
        **tables,
        "extensions": extensions,
        "errors": outcome.errors,
        "warnings": warnings,
    }


def _differences(
    paths: StudyPaths, plan: Plan, results: pd.DataFrame, progress: Progress, with_intervals: bool
) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the differences along every axis as JSON, and what was left out."""
    rows: list[dict[str, Any]] = []
    warnings = []
    for axis in compared_axes(plan):
        pairs = len(pairs_along(plan, cells_of(plan), axis))
        is_small = pairs <= MOST_PAIRS
        if not is_small:
            warnings.append(f"{pairs:,} pairs along {axis} are too many to compare here: see the page Studies.")
        frame = differences(paths, plan, results, axis, progress, cached_only=not (with_intervals and is_small))
        rows += difference_records(plan, frame, axis)
    return rows, warnings


def read_shard(text: str | None) -> tuple[int, int]:
    """Read ``i/n``, counted from 0 or from 1: each shard starts at another bank, and helps the others at its end.

    Raises:
        ConfigError: the text is not such a pair.
    """
    if not text:
        return 0, 1
    part, _, count = text.partition("/")
    if not (part.isdigit() and count.isdigit() and int(count) > 0 and int(part) <= int(count)):
        raise ConfigError(f"--shard is {text!r}; expected i/n, such as 1/3.")
    return int(part) % int(count), int(count)


def train_plan(
    paths: StudyPaths,
    *,
    shard: tuple[int, int] = (0, 1),
    cancel: threading.Event | None = None,
    progress: Progress = silent,
) -> Outcome:
    """Train every unfinished run of a planned study, together with all other processes that do.

    Args:
        cancel: set it to stop after the present batch; `request_state` does the same from any process.

    Raises:
        InputError: the folder holds no plan, or a run directory holds another run.
    """
    plan = read_plan(paths)
    request_state(paths, RUN)
    worker = _Worker(paths, plan, StopEvent(paths, cancel), progress)
    reused = worker.count_states()["finished"]
    order = sorted(plan.banks(), key=lambda bank: ((bank - shard[0]) % shard[1], bank))
    while (banks := worker.unfinished(order)) and not worker.stop.is_set():
        if not any(worker.try_bank(bank) for bank in banks):
            time.sleep(_POLL_EVERY_S)  # other processes have them; should one die, its bank is free
    counts = worker.count_states()
    stopped = worker.stop.is_set() and counts["finished"] + counts["failed"] + counts[DAMAGED] < len(plan.runs)
    return Outcome(
        len(plan.runs), counts["finished"], reused, counts["failed"] + counts[DAMAGED], stopped, worker.errors
    )


class _Worker:
    def __init__(self, paths: StudyPaths, plan: Plan, stop: StopEvent, progress: Progress) -> None:
        self.paths, self.plan, self.stop = paths, plan, stop
        states = [stored_status(paths.run(run.id)) for run in plan.runs]
        self.errors = [str(status["error"]) for status in states if status.get("state") == DAMAGED]
        self._banks, self._configs = plan.banks(), plan.configs()
        self._progress, self._started = progress, now()
        self._ended, self._counted_at = 0, 0.0

    def count_states(self) -> Counter[str]:
        """Count the runs by state."""
        return Counter(run_state(self.paths.run(run.id)) for run in self.plan.runs)

    def unfinished(self, order: list[int]) -> list[int]:
        """Return the banks that still have something to train, in order."""
        return [bank for bank in order if not all(self._has_ended(run) for run in self._banks[bank])]

    def _has_ended(self, run: PlannedRun) -> bool:
        """Whether a run is finished, is damaged, or has failed since this worker started: older failures are tried again."""
        status = stored_status(self.paths.run(run.id))
        state = status.get("state")
        return state in ("finished", DAMAGED) or (state == "failed" and status.get("updated", "") > self._started)

    def try_bank(self, bank: int) -> bool:
        """Train a bank unless another process has it; return whether this one had."""
        if self.stop.is_set():
            return True
        with claim(self.paths.claim(bank)) as is_mine:
            if is_mine:
                self._train(bank)
        return is_mine

    def _train(self, bank: int) -> None:
        runs = [run for run in self._banks[bank] if not self._has_ended(run)]
        folders = [self.paths.run(run.id) for run in runs]
        configs = [self._configs[run.id].copy() for run in runs]
        for config, folder in zip(configs, folders):
            config.paths.run_dir = str(folder)

        def report(phase: str, done: int, total: int) -> None:
            if time.monotonic() - self._counted_at > _POLL_EVERY_S:
                self._ended, self._counted_at = sum(map(self._has_ended, self.plan.runs)), time.monotonic()
            where = f"bank {bank + 1} of {len(self._banks)}, {phase} {done}/{total}"
            self._progress(f"study ({where})", self._ended, len(self.plan.runs))

        errors = train_bank(configs, folders, self.stop, report)
        self.errors += [f"{name}: {error}" for name, error in errors.items()]


def train_bank(
    configs: Sequence[Config], run_dirs: Sequence[Path], cancel: threading.Event, progress: Progress
) -> dict[str, CtbenchError]:
    """Train the runs of a bank that are not finished; return the errors of those that failed, by run.

    New runs start, begun ones continue from their checkpoints.

    Raises:
        InputError: a run directory holds another run, or one that another process trains.
    """
    left = [RunTask(config, run_dir) for config, run_dir in zip(configs, run_dirs) if _queue(config, run_dir)]
    tasks = run_tasks(left, True, cancel, progress) if left else []
    return {task.run_dir.name: task.error for task in tasks if task.error is not None and task.run_dir is not None}


def _queue(config: Config, run_dir: Path) -> bool:
    """Queue a run; return whether there is something left to train."""
    paths = RunPaths(run_dir)
    if not is_there(paths.status):
        queue_run(config)
        return True
    if differing := differing_keys(read_config(paths.config), config):
        raise InputError(
            f"{run_dir} holds a run with other {', '.join(differing)}. Move it away, or give the study another name."
        )
    status = read_status(paths.status)
    if status.state == "finished":
        return False
    queue_run(config, run_dir, status)  # also one that a worker of another host left queued: the bank is claimed here
    return True


_SBATCH = """#!/bin/bash
# Trains the study {name} as {shards} shards that share one folder; submit it again to continue where it stopped.
#SBATCH --job-name={name}
#SBATCH --array=1-{shards}
#SBATCH --cpus-per-task=2
#SBATCH --mem=8G
#SBATCH --time=04:00:00
#SBATCH --output={logs}/%A_%a.log
# For a GPU, uncomment: #SBATCH --gres=gpu:1

cd {working}
export OMP_NUM_THREADS=${{SLURM_CPUS_PER_TASK:-1}}
exec {python} -m ctbench_core study {folder} --shard ${{SLURM_ARRAY_TASK_ID:-1}}/{shards}
"""


def write_sbatch(paths: StudyPaths, shards: int) -> Path:
    """Write the script of a job array that runs a planned study, and return its path.

    Raises:
        ConfigError: fewer than one shard, or Windows, which no such cluster has.
    """
    if shards < 1:
        raise ConfigError(f"The number of shards is {shards}; expected at least 1.")
    if os.name == "nt":
        raise ConfigError(
            "--sbatch writes the script of a Slurm cluster with this machine's paths: use it on the cluster."
        )
    folder = paths.root.resolve()
    logs = folder / "logs"
    logs.mkdir(exist_ok=True)
    text = _SBATCH.format(
        name=folder.name,
        shards=shards,
        logs=logs,
        working=shlex.quote(str(Path.cwd())),
        python=shlex.quote(sys.executable),
        folder=shlex.quote(str(folder)),
    )
    write_text(paths.sbatch, text)
    return paths.sbatch
