"""Check the run store: unreadable folders, unfinished runs, damaged checkpoints, and temporary files left behind."""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Sequence
from pathlib import Path

from ctbench_core.atomic import leftovers as leftovers_in
from ctbench_core.config import Config
from ctbench_core.doctor.diagnosis import ERROR, OK, WARNING, CheckOutcome
from ctbench_core.errors import CheckpointError
from ctbench_core.formatting import format_bytes, plural
from ctbench_core.runs import HEARTBEAT_LIMIT_S, RESUMABLE, Run, RunStore, damaged_runs, run_folders, seconds_silent
from ctbench_core.stored import is_there

_NAMED = 3


def readable(config: Config) -> CheckOutcome:
    """Read the files and tables of every run folder."""
    folders = [*run_folders(config.paths.outputs_root), *_without_status(Path(config.paths.outputs_root))]
    errors = {run.run_id: run.reason for run in damaged_runs(folders, thorough=True)}
    if not errors:
        return CheckOutcome(OK, f"{plural(len(folders), 'run folder')}, all readable")
    first = next(iter(errors.values()))
    return CheckOutcome(
        ERROR,
        f"{len(errors)} of {plural(len(folders), 'run folder')} cannot be read ({_some(list(errors))}). First: {first}",
        "Tables show them as damaged. Restore the file from a copy, or set the run aside on the System page.",
    )


def _without_status(root: Path) -> list[str]:
    """Return folders with a config and checkpoints but no status: the run store overlooks their runs."""
    return [
        str(path.parent)
        for path in root.glob("*/*/config.yaml")
        if not path.parent.parent.name.startswith(".")
        and (path.parent / "checkpoints").is_dir()
        and not (path.parent / "status.json").exists()
    ]


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more}"


def unfinished(config: Config) -> CheckOutcome:
    """Find runs whose process has ended, and runs whose process lives but no longer writes its heartbeat; count failed ones."""
    runs = RunStore(config.paths.outputs_root).runs(kind=None)
    silent = [run.run_id for run in runs if run.status.state in ("running", "cancelling") and _is_silent(run)]
    interrupted = [run.run_id for run in runs if run.status.state == "interrupted"]
    if silent:
        limit = f"{HEARTBEAT_LIMIT_S / 60:.0f} minutes"
        return CheckOutcome(
            WARNING,
            f"{_some(silent)}: no heartbeat for over {limit}, though the process is alive",
            "It may wait for a disk or be suspended. Stop it on the Runs page or end its process, then resume it.",
        )
    if interrupted:
        observation = f"{len(interrupted)} interrupted: {_some(interrupted)}"
        advice = "Resume on the Runs page or with training.resume.enabled=true, or delete."
        return CheckOutcome(WARNING, observation, advice)
    failed = sum(run.status.state == "failed" for run in runs)
    more = f"; {plural(failed, 'failed run')}, each with its cause on the Runs page" if failed else ""
    return CheckOutcome(OK, f"no unfinished run{more}")


def _is_silent(run: Run) -> bool:
    return seconds_silent(run.paths.status) > HEARTBEAT_LIMIT_S


def checkpoints(config: Config) -> CheckOutcome:
    """Check every checkpoint; one that a run can resume from is read completely."""
    runs = [run for run in RunStore(config.paths.outputs_root).runs() if not run.status.active]
    files = [(run, path) for run in runs for path in (run.paths.final_model, run.paths.last_state) if is_there(path)]
    damaged = [f"{run.run_id}/{path.name}" for run, path in files if _is_damaged(run, path)]
    count = plural(len(files), "checkpoint")
    if damaged:
        advice = "Resume and Evaluate refuse them. Train again (Clone on the Runs page), or restore a copy."
        return CheckOutcome(ERROR, f"{len(damaged)} of {count} cannot be read: {_some(damaged)}", advice)
    return CheckOutcome(OK, f"{count}, all readable")


def _is_damaged(run: Run, path: Path) -> bool:
    """Return whether a checkpoint cannot be read. A zip with its directory at the end, as torch writes, is complete."""
    if zipfile.is_zipfile(path) and not (path == run.paths.last_state and run.status.state in RESUMABLE):
        return False
    from ctbench_core.train.checkpoint import load

    try:
        load(path, snapshot=True)
    except CheckpointError:
        return True
    return False


def leftovers(config: Config) -> CheckOutcome:
    """Find temporary files of processes that were killed."""
    files: dict[str, int] = {}
    for path in leftovers_in(Path(config.paths.outputs_root)):
        with contextlib.suppress(OSError):  # another process may just have removed it
            files[str(path)] = path.stat().st_size
    if not files:
        return CheckOutcome(OK, "no temporary file left behind")
    size = format_bytes(sum(files.values()))
    return CheckOutcome(
        WARNING,
        f"{plural(len(files), 'temporary file')} of killed processes, {size}: {_some(list(files))}",
        "They are harmless. The app removes them when it starts, and a run when it continues.",
    )
