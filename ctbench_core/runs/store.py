"""The run store, a folder of jobs, each a folder of runs: open, list, delete and restore runs.

The files are the truth; nothing is kept beside them. A deleted run is moved to the trash until that is emptied.
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ctbench_core.atomic import remove_leftovers, write_json, write_text
from ctbench_core.config import KEYS, Config, as_introduced, check_yaml, dump_yaml, flatten, from_mapping
from ctbench_core.errors import ConfigError, DamagedFile, InputError, RunError
from ctbench_core.formatting import plural
from ctbench_core.names import portable
from ctbench_core.runs.annotations import Annotations, read_annotations
from ctbench_core.runs.layout import RunPaths, latest_pointer
from ctbench_core.runs.ledger import LEDGER
from ctbench_core.runs.places import leads_out
from ctbench_core.runs.readers import (
    Fingerprint,
    fingerprint,
    parse_epoch,
    read_cached,
    read_history,
    read_if_there,
    read_json,
)
from ctbench_core.runs.status import (
    ENDED,
    Status,
    hold_unchanged,
    now,
    read_status,
    stored_status,
    try_status,
    write_status,
)
from ctbench_core.runs.trash import restore, to_trash
from ctbench_core.stored import RESTORE

# libyaml reads a config in 0.4 ms where the pure Python loader takes 5.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_MAX_FAST = 10_000  # characters


@dataclass(frozen=True)
class Run:
    """One run of the store: its files, status and config.

    ``config`` is shared between readers: copy it before changing it.
    """

    paths: RunPaths
    status: Status
    config: Config

    @property
    def run_id(self) -> str:
        """The folder's name."""
        return self._folder.name

    @property
    def job(self) -> str:
        """The job's folder name."""
        return self._folder.parent.name

    @property
    def _folder(self) -> Path:
        # "." and a bare name have no parent of their own; most runs need no slow resolve.
        root = self.paths.root
        return root if root.is_absolute() and ".." not in root.parts else root.resolve()

    @property
    def name(self) -> str:
        """The name that people gave the run, else its automatic one."""
        return name_of(self.paths.root, self.status) or self.run_id

    @property
    def automatic_name(self) -> str:
        """The run's label, else its id."""
        return self.status.label or self.run_id

    @property
    def store(self) -> Path:
        """The outputs root whose ledger counts the run: the folder above its job, else that of its config.

        The config's may be relative to where the run was started, and stores are moved.
        """
        above, named = self._folder.parent.parent, Path(self.config.paths.outputs_root).resolve()
        return above if os.path.lexists(above / LEDGER) or not named.is_dir() else named

    def best(self) -> dict[str, Any]:
        """Return the metrics of the best epoch; empty before the first."""
        return read_best(self.paths)

    def annotations(self) -> Annotations:
        """Return the name, star, tags and notes that people gave the run."""
        return read_annotations(self.paths.root)

    def history(self) -> list[dict[str, Any]]:
        """Return the metrics of every epoch so far."""
        history = read_history(self.paths.metrics)
        check_length(self, len(history))
        return history

    def evaluations(self) -> list[str]:
        """List the manifests whose evaluation is complete."""
        return self._complete("evaluation")

    def alignments(self) -> list[str]:
        """List the alignment results that are complete."""
        return self._complete("alignment")

    def _complete(self, kind: str) -> list[str]:
        results = _subfolders(str(self.paths.root / kind))
        return sorted(Path(folder).name for folder in results if os.path.lexists(f"{folder}{os.sep}metrics.json"))


def name_of(run_dir: Path, status: Status) -> str:
    """Return the name that people gave a run, else its label."""
    with contextlib.suppress(DamagedFile):  # which is reported where the run is shown
        if given := read_annotations(run_dir).name:
            return given
    return status.label


def read_best(paths: RunPaths) -> dict[str, Any]:
    """Return the metrics of a run's best epoch, shared between readers; empty before the first.

    Raises:
        DamagedFile: they cannot be read.
    """
    return read_if_there(paths.best_metrics, parse_epoch, {})


def check_length(run: Run, epochs: int) -> None:
    """Refuse a history that lacks epochs of a finished run.

    Raises:
        DamagedFile: it does.
    """
    if run.status.state == "finished" and run.status.kind == "train" and epochs < run.status.epoch:
        raise DamagedFile(
            f"{run.paths.metrics} is damaged: it has {plural(epochs, 'epoch')}, the run's status says "
            f"{run.status.epoch:,}. {RESTORE}"
        )


def open_run(folder: Path | str) -> Run:
    """Read a run directory.

    Raises:
        InputError: the folder is not a run directory. DamagedFile: its status or config cannot be read.
    """
    folder = Path(folder)
    paths = RunPaths(folder)
    missing = [path.name for path in (paths.config, paths.status) if not os.path.lexists(path)]
    if missing:
        older = (folder / ".hydra" / "config.yaml").is_file()
        advice = f"It is a run of an older system: import {folder} first." if older else "Give the folder of one run."
        raise InputError(f"{folder} is not a run directory: it has no {' and no '.join(missing)}. {advice}")
    config = read_config(paths.config)
    if config.paths.checkpoint_dir:
        paths = RunPaths(folder, Path(config.paths.checkpoint_dir))
    return Run(paths, read_status(paths.status), config)


def try_open(folder: Path) -> Run | None:
    """Read a run directory; return None when it is damaged or not one."""
    try:
        return open_run(folder)
    except (InputError, RunError):
        return None


# Names of sections, such as data and data.kfold; a stored config holds a mapping under each, and ends with its last key.
_SECTIONS = {name[:place] for name in KEYS for place, sign in enumerate(name) if sign == "."}
_LAST = list(KEYS)[-1]


def _parse_config(text: str) -> Config:
    # libyaml has no limit of nesting: at 20,000 levels it overflows the stack and ends the process.
    loader = _LOADER if len(text) <= _MAX_FAST else yaml.SafeLoader
    content = yaml.load(check_yaml(text) if "&" in text else text, Loader=loader)
    if not isinstance(content, dict):
        raise ValueError("expected a mapping of keys")
    if _LAST not in content:
        raise ValueError(f"it ends before its last key, {_LAST}")
    for name, _ in flatten(content):
        if name in _SECTIONS:
            raise ValueError(f"{name} has no keys below it")
    return from_mapping(content, as_introduced())[0]


def read_config(path: Path) -> Config:
    """Read a run's ``config.yaml``; the result is shared between readers, so copy it before changing it.

    Raises:
        DamagedFile: it is not the YAML of a config. InputError: there is no such file.
    """
    try:
        return read_cached(path, _parse_config)
    except FileNotFoundError as error:
        raise InputError(f"{path} is missing: its folder is not a run directory, or is damaged.") from error


def write_config(path: Path, config: Config) -> None:
    """Write a config as a run's ``config.yaml``."""
    write_text(path, dump_yaml(config.to_dict()))


def run_folders(root: Path | str) -> list[str]:
    """List the run directories under an outputs root, as text: those of its jobs, and any beside the jobs.

    Pages ask at every click: path objects of 1,000 runs would cost 30 ms more than strings.
    """
    return [folder for folder in possible_folders(root) if os.path.lexists(f"{folder}{os.sep}status.json")]


def possible_folders(root: Path | str) -> tuple[str, ...]:
    """List the folders that may be run directories."""
    jobs = _subfolders(str(root))
    return (*jobs, *(run for job in jobs for run in _subfolders(job)))


def _subfolders(folder: str) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return [entry.path for entry in entries if not entry.name.startswith(".") and _is_folder(entry)]
    except OSError:
        return []


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder inside the allowed ones; one that cannot be asked, such as a link to itself, is not."""
    try:
        return entry.is_dir() and not (entry.is_symlink() and leads_out(entry.path))
    except OSError:
        return False


MANY, RECHECK_S = 100, 5.0  # runs, and the seconds between two looks at the files of so many
_MAX_ENDED = 20_000
_ended: dict[str, Fingerprint] = {}  # status file of each run known to have ended
_checked_at: dict[str, float] = {}  # when all runs of a store were last looked at


def active_runs(outputs_root: Path, is_quick: bool = False) -> dict[Path, Status]:
    """Return the status of every waiting or running run, oldest first, whichever process has it.

    The status file of a run that has ended is not read twice.

    Args:
        is_quick: of more than `MANY` runs, look at those that have ended only once in `RECHECK_S`. A run that another
            process resumes is then seen so much later.
    """
    active, folders, moment = {}, possible_folders(outputs_root), time.monotonic()
    is_quick = is_quick and len(folders) > MANY and moment < _checked_at.get(str(outputs_root), -math.inf) + RECHECK_S
    if not is_quick:
        _checked_at[str(outputs_root)] = moment
    for folder in folders:
        if is_quick and folder in _ended:
            continue
        if _may_be_active(folder) and (status := try_status(RunPaths(Path(folder)).status)) and status.active:
            active[Path(folder)] = status
    return dict(sorted(active.items(), key=lambda item: item[1].created))


def _may_be_active(folder: str) -> bool:
    file = f"{folder}{os.sep}status.json"
    try:
        current = fingerprint(os.stat(file))  # noqa: PTH116  five times as fast as a path object's
        if _ended.get(folder) == current:
            return False
        if stored_status(Path(file)).state not in ENDED:
            _ended.pop(folder, None)  # it was resumed
            return True
    except (OSError, DamagedFile):
        return False
    if len(_ended) >= _MAX_ENDED:
        _ended.clear()
    _ended[folder] = current
    return False


class RunStore:
    """All runs under one outputs root."""

    def __init__(self, outputs_root: Path | str) -> None:
        self.root = Path(outputs_root)

    def runs(self, kind: str | None = "train") -> list[Run]:
        """List the runs, newest first, without those whose status or config is damaged; see `damaged_in`."""
        readable = [run for folder in run_folders(self.root) if (run := try_open(Path(folder)))]
        runs = [run for run in readable if kind in (None, run.status.kind)]
        return sorted(runs, key=lambda run: (run.status.created, run.run_id), reverse=True)

    def mark_interrupted(self) -> list[Run]:
        """Write to their files which runs were interrupted, and return them.

        Their process is gone but their files still say running. Called when a process that trains starts; readers
        only show such runs as interrupted.
        """
        interrupted = []
        # Most runs have ended: their configs are not read.
        pending = (try_open(Path(folder)) for folder in possible_folders(self.root) if _may_be_active(folder))
        for run in pending:
            if run is not None and run.status.state == "interrupted":
                with contextlib.suppress(InputError), hold_unchanged(run.paths.status, run.status):
                    write_status(run.paths.status, run.status, heartbeat=run.status.heartbeat)
                    interrupted.append(run)
        return interrupted


def write_latest(config: Config, run_dir: Path) -> None:
    """Point the job's ``latest_run.json`` at a run; first remove what killed writers have left in the run's job."""
    _tidy(run_dir.parent)
    write_json(latest_pointer(config), {"run_dir": run_dir, "run_id": run_dir.name, "updated": now()})


@functools.lru_cache(maxsize=1_000)
def _tidy(job: Path) -> None:
    """Remove leftovers once a process: a killed run that is not continued would keep them."""
    remove_leftovers(job)


def latest_run(config: Config) -> Path:
    """Return the run directory that the job's ``latest_run.json`` names.

    Raises:
        ConfigError: there is no such file, or it names no folder. DamagedFile: it cannot be read.
    """
    pointer = latest_pointer(config)
    content = read_json(pointer, dict[str, str]) or {}
    folder = content.get("run_dir")
    if not folder:
        raise ConfigError(
            f"No run was given, and {pointer} names none. Give run=<run directory>, as printed at the end of a "
            "training, or the job_name of its runs."
        )
    named = Path(portable(folder))
    beside = pointer.with_name(named.name)  # where the store was moved, or comes from another system
    return beside if beside.is_dir() and not named.is_dir() else named


def delete_run(outputs_root: Path, run: Run) -> Path:
    """Move a run to the store's trash and return its folder there.

    A run of the same name that is in the trash already stays; the new one gets a place beside it.

    Raises:
        InputError: the run is waiting or running, or is outside the run store, or the trash is a link.
        HeldError: another program has a file of it open; it stays where it is.
    """
    if run.status.active:
        raise InputError(f"{run.run_id} is {run.status.state}. Stop it before deleting it.")
    return to_trash(outputs_root, run.paths.root)


def restore_run(outputs_root: Path, trashed: Path) -> Run:
    """Move a deleted run back to where it was. Errors as `restore`."""
    return open_run(restore(outputs_root, trashed))
