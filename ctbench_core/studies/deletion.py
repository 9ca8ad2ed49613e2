"""Delete a study or search with all its runs; the trash of the run store keeps them until it is emptied."""

from __future__ import annotations

from pathlib import Path

from ctbench_core.errors import InputError
from ctbench_core.executors import read_session
from ctbench_core.formatting import plural
from ctbench_core.runs import active_runs, to_trash
from ctbench_core.studies.layout import StudyPaths
from ctbench_core.studies.workers import has_active_worker


def delete_study(outputs_root: Path, paths: StudyPaths) -> Path:
    """Move a study or search to the store's trash and return its place there; `ctbench_core.runs.restore` moves it back.

    Raises:
        InputError: a process trains it, or it is outside the run store.
        HeldError: another program has a file of it open; it stays where it is.
    """
    active = sum(folder.parent == outputs_root / paths.root.name for folder in active_runs(outputs_root))
    if active or read_session(paths.root) is not None or has_active_worker(paths):
        runs = f" ({plural(active, 'active run')})" if active else ""
        raise InputError(f"{paths.root.name} is being trained{runs}. Pause or cancel it before deleting it.")
    return to_trash(outputs_root, paths.root)
