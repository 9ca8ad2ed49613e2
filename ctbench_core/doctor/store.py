"""The run store: folders that cannot be read, runs that were left, torn checkpoints, and what killed writers left."""

from __future__ import annotations

import os
import time
import zipfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from ctbench_core.config import Config
from ctbench_core.doctor.diagnosis import ERROR, OK, WARNING, Finding, counted, sized
from ctbench_core.errors import CheckpointError, CtbenchError
from ctbench_core.runs import HEARTBEAT_LIMIT_S, RESUMABLE, Run, RunStore, open_run, run_folders

_NAMED = 3
_STALE_S = 3600.0


def readable(config: Config) -> Finding:
    """Open every run folder."""
    folders = [*run_folders(config.paths.outputs_root), *_without_status(Path(config.paths.outputs_root))]
    damaged = {}
    for folder in folders:
        try:
            open_run(folder)
        except CtbenchError as error:
            damaged[Path(folder).name] = str(error)
    if damaged:
        first = next(iter(damaged.values()))
        return Finding(
            ERROR,
            f"{len(damaged)} of {len(folders)} run folders cannot be read ({_some(list(damaged))}), as: {first}",
            "They are left out of every table. Put the file back from a copy, or move the folder out of the run store.",
        )
    return Finding(OK, f"{counted(len(folders), 'run folder')}, all readable")


def _without_status(root: Path) -> list[str]:
    """Return folders that hold a config and checkpoints, but no status: their runs would be overlooked."""
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


def unfinished(config: Config) -> Finding:
    """Name runs whose process is gone, and runs whose process lives but has long been silent."""
    runs = RunStore(config.paths.outputs_root).runs(kind=None)
    silent = [run.run_id for run in runs if run.status.state in ("running", "cancelling") and _silent(run)]
    left = [run.run_id for run in runs if run.status.state == "interrupted"]
    if silent:
        return Finding(
            WARNING,
            f"{_some(silent)}: no heartbeat for over {HEARTBEAT_LIMIT_S / 60:.0f} minutes, though the process lives",
            "It may hang on a disk or be suspended. Stop it on the Runs page, or end its process; Resume goes on.",
        )
    if left:
        said = f"{len(left)} interrupted: {_some(left)}"
        return Finding(WARNING, said, "Resume them on the Runs page (training.resume.enabled=true), or delete them.")
    return Finding(OK, "none was left half done")


def _silent(run: Run) -> bool:
    try:
        beat = datetime.fromisoformat(run.status.heartbeat)
    except ValueError:
        return True
    return (datetime.now(UTC) - beat).total_seconds() > HEARTBEAT_LIMIT_S


def checkpoints(config: Config) -> Finding:
    """Look into every checkpoint; those that a run would go on from are read whole."""
    runs = [run for run in RunStore(config.paths.outputs_root).runs() if not run.status.active]
    torn, looked = [], 0
    for run in runs:
        for path in (run.paths.final_model, run.paths.last_state):
            if path.is_file():
                looked += 1
                torn += [f"{run.run_id}/{path.name}"] if _is_torn(run, path) else []
    if torn:
        advice = "Resume and Evaluate refuse them. Train the run again (Clone on the Runs page), or restore a copy."
        return Finding(ERROR, f"{len(torn)} of {looked} checkpoints cannot be read: {_some(torn)}", advice)
    return Finding(OK, f"{counted(looked, 'checkpoint')}, none torn")


def _is_torn(run: Run, path: Path) -> bool:
    """Whether a checkpoint cannot be read. A zip with its directory at the end, as torch writes, is whole."""
    if zipfile.is_zipfile(path) and not (path == run.paths.last_state and run.status.state in RESUMABLE):
        return False
    from ctbench_core.train.checkpoint import load

    try:
        load(path, snapshot=True)
    except CheckpointError:
        return True
    return False


def leftovers(config: Config) -> Finding:
    """Find temporary files that killed writers left, and the size of the trash."""
    found, size = [], 0
    limit = time.time() - _STALE_S
    for folder, _, files in os.walk(config.paths.outputs_root):
        for name in files:
            if name.startswith(".") and name.endswith(".tmp"):
                path = Path(folder) / name
                try:
                    facts = path.stat()
                except OSError:
                    continue  # its writer has just renamed it
                if facts.st_mtime < limit:
                    found.append(str(path))
                    size += facts.st_size
    if found:
        return Finding(
            WARNING,
            f"{counted(len(found), 'temporary file')} of killed writers, {sized(size)}: {_some(found)}",
            "They harm nothing; delete them by hand to free the space.",
        )
    return Finding(OK, "no temporary file was left behind")
