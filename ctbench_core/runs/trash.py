"""Delete with undo: a deleted run is moved aside and can be put back until the trash is emptied."""

from __future__ import annotations

import shutil
from pathlib import Path

from ctbench_core.errors import InputError
from ctbench_core.runs.store import Run, open_run

TRASH = ".trash"


def delete_run(outputs_root: Path, run: Run) -> Path:
    """Move a run to the store's trash and return where it lies now.

    Raises:
        InputError: the run is at work, or lies outside the run store.
    """
    if run.status.active:
        raise InputError(f"{run.run_id} is {run.status.state}. Stop it before deleting it.")
    root = outputs_root.resolve()
    place = run.paths.root.resolve()
    if not place.is_relative_to(root) or place == root:
        raise InputError(f"{place} lies outside the run store {root}; remove that folder by hand.")
    target = root / TRASH / place.relative_to(root)
    if target.exists():
        shutil.rmtree(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(place, target)
    return target


def restore_run(outputs_root: Path, trashed: Path) -> Run:
    """Put a deleted run back where it was.

    Raises:
        InputError: it is not in the trash, or its place is taken.
    """
    trash = outputs_root.resolve() / TRASH
    if not trashed.is_dir() or not trashed.resolve().is_relative_to(trash):
        raise InputError(f"{trashed} is not in the trash; it may have been emptied.")
    place = outputs_root.resolve() / trashed.resolve().relative_to(trash)
    if place.exists():
        raise InputError(f"{place} exists again; move it before restoring the deleted run.")
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(trashed, place)
    return open_run(place)


def empty_trash(outputs_root: Path) -> int:
    """Remove deleted runs for good; return how many bytes that freed."""
    trash = outputs_root / TRASH
    freed = sum(path.stat().st_size for path in trash.rglob("*") if path.is_file())
    shutil.rmtree(trash, ignore_errors=True)
    return freed
