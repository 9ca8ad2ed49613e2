"""Runs of the store that are waiting or at work, whichever process has them."""

from __future__ import annotations

import json
from pathlib import Path

from ctbench_core.errors import RunError
from ctbench_core.runs import ENDED, RunPaths, Status, read_status, run_folders
from ctbench_core.runs.parsed import parsed


def active_runs(outputs_root: Path) -> dict[Path, Status]:
    """Return the status of every run that waits or is at work, oldest first.

    Cheap enough to ask every few seconds: a status that says its run has ended is not read twice.
    """
    found = {}
    for path in (RunPaths(Path(folder)).status for folder in run_folders(outputs_root)):
        if _may_be_active(path) and (status := _status(path)) is not None and status.active:
            found[path.parent] = status
    return dict(sorted(found.items(), key=lambda item: item[1].created))


def _may_be_active(path: Path) -> bool:
    try:
        return parsed(path, json.loads).get("state") not in ENDED
    except (OSError, ValueError, AttributeError):
        return False


def _status(path: Path) -> Status | None:
    try:
        return read_status(RunPaths(path.parent).status)
    except RunError:
        return None
