"""Train one bank of a study, wherever an executor runs it: the folder holds the plan, and everything that is done."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ctbench_core.bank_runs import RunTask, queue_run, run_tasks
from ctbench_core.config import Config, differing_keys
from ctbench_core.errors import CtbenchError, InputError
from ctbench_core.progress import Progress
from ctbench_core.runs import RunPaths, read_config, read_status
from ctbench_core.stored import is_there
from ctbench_core.studies.layout import StudyPaths
from ctbench_core.studies.plan import PlannedRun, read_plan
from ctbench_core.studies.status import DAMAGED, stored_status
from ctbench_core.studies.workers import StopEvent, claim

DONE, BUSY, LEFT = "done", "busy", "left"


@dataclass(frozen=True)
class BankOutcome:
    """How a task on a bank ended.

    Attributes:
        state: done, busy (another process trains the bank), or left (stopped before its end, to be continued).
        errors: of the runs that failed, by their ids.
        refused: why the system refused a file, as a full disk does; that says nothing of the run.
    """

    state: str
    errors: dict[str, str] = field(default_factory=dict)
    refused: str = ""


def has_ended(run_dir: Path, since: str) -> bool:
    """Whether a run is finished, is damaged, or has failed since a moment: older failures are tried again."""
    status = stored_status(run_dir)
    state = status.get("state")
    return state in ("finished", DAMAGED) or (state == "failed" and status.get("updated", "") > since)


def train_planned_bank(
    folder: str, bank: int, digest: str, since: str, *, stop: threading.Event, progress: Progress
) -> BankOutcome:
    """Train what is left of a bank of a planned study, unless another process does.

    Args:
        digest: of the bank, as the plan had it when the task was made.
        since: failures before it are tried again.

    Raises:
        InputError: the folder holds no plan or another one, or a run directory holds another run.
    """
    paths = StudyPaths(Path(folder))
    plan = read_plan(paths)
    if plan.digest(bank) != digest:
        raise InputError(f"The plan of {paths.root} has changed since it was started. Start the study again.")
    stop_event = StopEvent(paths, stop)
    with claim(paths.claim(bank)) as is_mine:
        if not is_mine:
            return BankOutcome(BUSY)
        runs = [run for run in plan.banks()[bank] if not has_ended(paths.run(run.id), since)]
        errors = train_runs(paths, runs, plan.configs(runs), stop_event, progress) if runs else {}
    texts = {name: str(error) for name, error in errors.items()}
    return BankOutcome(LEFT if stop_event.is_set() else DONE, texts)


def train_runs(
    paths: StudyPaths,
    runs: Sequence[PlannedRun],
    configs: dict[str, Config],
    stop: threading.Event,
    progress: Progress,
) -> dict[str, CtbenchError]:
    """Train runs of a study in its folder."""
    folders = [paths.run(run.id) for run in runs]
    for run, folder in zip(runs, folders):
        configs[run.id].paths.run_dir = str(folder)
    return train_bank([configs[run.id] for run in runs], folders, stop, progress)


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
