"""The run store: a folder of jobs, each a folder of runs. The files are the truth; this reads them."""

from __future__ import annotations

import functools
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ctbench_core.atomic import append_line, dump_json, write_json, write_text
from ctbench_core.config import Config, from_mapping
from ctbench_core.errors import ConfigError, InputError, RunError
from ctbench_core.runs.annotations import Annotations, read_annotations
from ctbench_core.runs.layout import RunPaths, latest_pointer
from ctbench_core.runs.reading import parsed
from ctbench_core.runs.status import Status, is_settled, now, read_status, write_status

LEDGER = "evaluations.jsonl"

# libyaml reads a config in 0.4 ms where the pure Python loader takes 5.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Run:
    """One run of the store: where it lies, what it is doing, how it was configured.

    ``config`` is shared between readers: copy it before changing it.
    """

    paths: RunPaths
    status: Status
    config: Config

    @property
    def run_id(self) -> str:
        """The folder's name."""
        return self._place.name

    @property
    def job(self) -> str:
        """The job's folder name."""
        return self._place.parent.name

    @property
    def _place(self) -> Path:
        # "." and a bare name have no parent of their own.
        return (
            self.paths.root
            if self.paths.root.is_absolute() and ".." not in self.paths.root.parts
            else self.paths.root.resolve()
        )

    @property
    def name(self) -> str:
        """What tables call the run: its label, else its id."""
        return self.status.label or self.run_id

    @property
    def store(self) -> Path:
        """The outputs root whose ledger counts the run: the folder above its job, else that of its config.

        The config's may be relative to where the run was started, and stores are moved.
        """
        above = self._place.parent.parent
        return above if (above / LEDGER).is_file() else Path(self.config.paths.outputs_root).resolve()

    def best(self) -> dict[str, Any]:
        """Return the metrics of the best epoch; empty before the first."""
        try:
            return parsed(self.paths.best_metrics, json.loads)
        except (OSError, ValueError):
            return {}

    def annotations(self) -> Annotations:
        """Return the star, tags and notes that people gave the run."""
        return read_annotations(self.paths.root)

    def history(self) -> list[dict[str, Any]]:
        """Return the metrics of every epoch so far."""
        return read_history(self.paths.metrics)

    def evaluations(self) -> list[str]:
        """Name the manifests whose evaluation is complete."""
        return sorted(path.parent.name for path in (self.paths.root / "evaluation").glob("*/metrics.json"))

    def alignments(self) -> list[str]:
        """Name the alignment results that are complete."""
        return sorted(path.parent.name for path in (self.paths.root / "alignment").glob("*/metrics.json"))


def open_run(folder: Path | str) -> Run:
    """Read a run directory.

    Raises:
        InputError: the folder is no run directory.
    """
    folder = Path(folder)
    paths = RunPaths(folder)
    if not paths.config.is_file() or not paths.status.is_file():
        older = (folder / ".hydra" / "config.yaml").is_file()
        what = f"It is a run of an older system: import {folder} first." if older else "Give the folder of one run."
        raise InputError(f"{folder} is no run directory: expected config.yaml and status.json in it. {what}")
    config = read_config(paths.config)
    if config.paths.checkpoint_dir:
        paths = RunPaths(folder, Path(config.paths.checkpoint_dir))
    return Run(paths, read_status(paths.status), config)


def _config_of(text: str) -> Config:
    content = yaml.load(text, Loader=_LOADER)
    return from_mapping(content or {})[0]


def read_config(path: Path) -> Config:
    """Read a run's ``config.yaml``; the result is shared between readers, so copy it before changing it.

    Raises:
        InputError: it is not readable YAML.
    """
    try:
        return parsed(path, _config_of)
    except (OSError, ValueError, yaml.YAMLError, AttributeError) as error:
        raise InputError(f"{path} is no readable config: {error}") from error


def write_config(path: Path, config: Config) -> None:
    """Write a config as a run's ``config.yaml``."""
    write_text(path, yaml.safe_dump(config.to_dict(), sort_keys=False, allow_unicode=True))


def run_folders(root: Path | str) -> list[str]:
    """Return the run directories under an outputs root, as text: those of its jobs, and any beside the jobs.

    Pages ask at every click: strings and one look a folder, since path objects of 1,000 runs cost 30 ms.
    """
    jobs = _below(str(root))
    return [folder for folder in (*jobs, *(run for job in jobs for run in _below(job))) if _is_run(folder)]


def _below(folder: str) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return [entry.path for entry in entries if not entry.name.startswith(".") and entry.is_dir()]
    except OSError:
        return []


def _is_run(folder: str) -> bool:
    return os.path.isfile(f"{folder}{os.sep}status.json")


class RunStore:
    """All runs under one outputs root."""

    def __init__(self, outputs_root: Path | str) -> None:
        self.root = Path(outputs_root)

    def runs(self, kind: str | None = "train") -> list[Run]:
        """List the runs, newest first; damaged folders are left out."""
        opened = [try_open(Path(folder)) for folder in run_folders(self.root)]
        found = [run for run in opened if run and kind in (None, run.status.kind)]
        return sorted(found, key=lambda run: (run.status.created, run.run_id), reverse=True)

    def settle(self) -> list[Run]:
        """Write down which runs were interrupted: their process is gone, their files still say running.

        Called when a process that trains starts; other readers only see it so.
        """
        interrupted = []
        for run in self.runs(kind=None):
            if run.status.state == "interrupted" and not is_settled(run.paths.status):
                write_status(run.paths.status, run.status, heartbeat=run.status.heartbeat)
                interrupted.append(run)
        return interrupted

    def record_opening(self, run_dir: Path, job: str, manifest: str) -> int:
        """Write down that a test set is opened; return how many runs of the job opened it before."""
        entries = [entry for entry in self.openings(job) if entry.get("manifest") == manifest]
        run = _resolved(str(run_dir))  # however it was spelt, a run is one run
        before = len({_resolved(entry["run"]) for entry in entries} - {run})
        entry = {"when": now(), "run": run, "job": job, "manifest": manifest, "opened_before": before}
        append_line(self.root / LEDGER, dump_json(entry))
        return before

    def openings(self, job: str) -> list[dict[str, Any]]:
        """Return the ledger's entries of a job: when which run opened which test set."""
        return [entry for entry in read_lines(self.root / LEDGER) if entry.get("job") == job]


@functools.lru_cache(maxsize=65_536)
def _resolved(folder: str) -> str:
    """Resolve a run's folder once: a study of a thousand runs asks half a million times."""
    return str(Path(folder).resolve())


def try_open(folder: Path) -> Run | None:
    """Read a run directory; None when it is damaged or none."""
    try:
        return open_run(folder)
    except (InputError, RunError):
        return None


def write_latest(config: Config, run_dir: Path) -> None:
    """Point the job's ``latest_run.json`` at a run."""
    write_json(latest_pointer(config), {"run_dir": str(run_dir), "run_id": run_dir.name, "updated": now()})


def latest_run(config: Config) -> Path:
    """Return the run directory that the job's ``latest_run.json`` names.

    Raises:
        ConfigError: there is no such file, or it names no folder.
    """
    pointer = latest_pointer(config)
    content = read_json(pointer)
    folder = content.get("run_dir") if isinstance(content, dict) else None
    if not folder:
        raise ConfigError(
            f"Which run? {pointer} names none. Give run=<run directory>, as printed at the end of a training, "
            "or the job_name of its runs."
        )
    return Path(folder)


def read_json(path: Path) -> Any:
    """Read a JSON file; a missing or torn one gives None."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read JSON lines; a torn last line is ignored."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    entries = []
    for line in text.split("\n"):  # a finding may hold what splitlines() also takes for a line end
        try:
            entries.append(json.loads(line))
        except ValueError:
            continue
    return [entry for entry in entries if isinstance(entry, dict)]


def read_history(path: Path) -> list[dict[str, Any]]:
    """Read a ``metrics.jsonl``, one entry an epoch."""
    return [entry for entry in read_lines(path) if "epoch" in entry]


def cut_history(path: Path, epoch: int) -> None:
    """Drop the lines after ``epoch``, and a torn last line, so that a resumed run continues it cleanly."""
    kept = [entry for entry in read_history(path) if entry["epoch"] <= epoch]
    write_text(path, "".join(dump_json(entry) + "\n" for entry in kept))
