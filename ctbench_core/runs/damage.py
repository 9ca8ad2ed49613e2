"""Find the runs of a store with a file that cannot be read; repair one, or set it aside.

One damaged run never stops a list of others: it is named with its file, the cause, and what to do.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from ctbench_core.config import Config
from ctbench_core.errors import DamagedFile, InputError, RunError
from ctbench_core.runs.alignments import read_alignment
from ctbench_core.runs.annotations import FILE as NOTES
from ctbench_core.runs.convergence import convergence
from ctbench_core.runs.layout import RunPaths
from ctbench_core.runs.provenance import read_provenance
from ctbench_core.runs.results import read_metrics
from ctbench_core.runs.scores import read_frame
from ctbench_core.runs.status import Status, is_locked
from ctbench_core.runs.store import Run, delete_run, open_run, restore_run, run_folders
from ctbench_core.runs.trash import to_trash
from ctbench_core.runs.tuning import read_tuning
from ctbench_core.stored import RESTORE


@dataclass(frozen=True)
class DamagedRun:
    """A run with a file that cannot be read; ``reason`` names the file, the cause, and what to do."""

    folder: Path
    reason: str

    @property
    def run_id(self) -> str:
        """The folder's name."""
        return self.folder.name

    @property
    def summary(self) -> str:
        """The file within the run and the cause, for a table."""
        return self.reason.removeprefix(f"{self.folder}{os.sep}").removesuffix(f" {RESTORE}")


def check_files(run: Run, thorough: bool = False) -> None:
    """Read the small files of a run.

    Args:
        thorough: read the history and the tables of its results too.

    Raises:
        DamagedFile: one cannot be read.
    """
    run.best(), convergence(run)
    read_provenance(run.paths)
    for read in _spare_parts(run).values():
        read()
    if thorough:
        run.history()
        _read_tables(run.paths.root)


def _spare_parts(run: Run) -> dict[Path, Callable[[], object]]:
    """Return what a run works without, and how it is read: its notes, and results that can be computed again."""
    parts: dict[Path, Callable[[], object]] = {
        run.paths.root / NOTES: run.annotations,
        run.paths.validation.root: functools.partial(_read_validation, run),
    }
    for bundle in map(run.paths.evaluation, run.evaluations()):
        parts[bundle.root] = functools.partial(read_metrics, bundle.metrics)
    for folder in map(run.paths.alignment, run.alignments()):
        parts[folder] = functools.partial(read_alignment, folder)
    return parts


def _read_validation(run: Run) -> None:
    read_tuning(run.paths.tuning)
    read_metrics(run.paths.validation.metrics)


def _read_tables(folder: Path) -> None:
    for table in (path for path in folder.rglob("*") if path.suffix in (".parquet", ".csv")):
        read_frame(table)


def repair(outputs_root: Path, folder: Path) -> list[Path]:
    """Move the damaged notes and results of a run to the store's trash, so that the rest of the run can be used.

    Returns:
        Their places in the trash; none where no damaged part can be spared.

    Raises:
        DamagedFile: the run is damaged in what it cannot work without. InputError: a process trains it.
    """
    _require_free(folder)
    moved = []
    for part, read in _spare_parts(open_run(folder)).items():
        try:
            read()
            _read_tables(part)
        except DamagedFile:
            moved.append(to_trash(outputs_root, part))
    check_files(open_run(folder), thorough=True)
    return moved


def damage_of(folder: Path | str, thorough: bool = False) -> str:
    """Say what of a run directory cannot be read; empty if nothing. Arguments as `check_files`."""
    try:
        check_files(open_run(folder), thorough)
    except (InputError, RunError) as error:
        return str(error)
    return ""


def damaged_runs(folders: Iterable[Path | str], thorough: bool = False) -> list[DamagedRun]:
    """Return the damaged ones of some run directories. Arguments as `check_files`."""
    reasons = {Path(folder): damage_of(folder, thorough) for folder in folders}
    return [DamagedRun(folder, reason) for folder, reason in reasons.items() if reason]


def damaged_in(outputs_root: Path | str, thorough: bool = False) -> list[DamagedRun]:
    """Return the damaged runs of a store. Arguments as `check_files`."""
    return damaged_runs(run_folders(outputs_root), thorough)


def set_aside(outputs_root: Path, folder: Path) -> Path:
    """Move a damaged run to the store's trash and return its folder there; `undo_set_aside` moves it back.

    Raises:
        InputError: a process trains it, or it is outside the run store.
    """
    _require_free(folder)
    return delete_run(outputs_root, Run(RunPaths(folder), Status(state="failed"), Config()))


def _require_free(folder: Path) -> None:
    if is_locked(folder):
        raise InputError(f"{folder} is being trained by a process. Stop that first.")


def undo_set_aside(outputs_root: Path, trashed: Path) -> None:
    """Move a run back that `set_aside` has moved.

    Raises:
        InputError: it is not in the trash, or its folder exists again.
    """
    with contextlib.suppress(DamagedFile):  # after the move, since it is as damaged as before
        restore_run(outputs_root, trashed)
