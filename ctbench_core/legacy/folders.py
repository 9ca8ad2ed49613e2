"""Run folders of the older system: how they are known, and every file name in them.

<run>/.hydra/config.yaml            the config, interpolations unresolved
<run>/.hydra/hydra.yaml             job name, working folder
<run>/checkpoints/final_model.pt    state_dict of the best epoch
<run>/checkpoints/last_state.pt     snapshot of the last epoch, random states included
<run>/metrics.jsonl                 a line an epoch
<run>/best_metrics.json             the best epoch
<run>/latest_run.json, or beside it in the job's folder: where the newest run lies, with its best figures
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ctbench_core.errors import InputError

_STARTED = re.compile(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d")


@dataclass(frozen=True)
class OldRun:
    """The files of one older run."""

    root: Path

    @property
    def config(self) -> Path:
        """The config as Hydra saved it."""
        return self.root / ".hydra" / "config.yaml"

    @property
    def hydra(self) -> Path:
        """Hydra's own settings: job name, working folder."""
        return self.root / ".hydra" / "hydra.yaml"

    @property
    def model(self) -> Path:
        """Weights of the best epoch; absent when the run was stopped."""
        return self.root / "checkpoints" / "final_model.pt"

    @property
    def state(self) -> Path:
        """Snapshot of the last epoch."""
        return self.root / "checkpoints" / "last_state.pt"

    @property
    def metrics(self) -> Path:
        """One JSON line an epoch."""
        return self.root / "metrics.jsonl"

    @property
    def best(self) -> Path:
        """The best epoch."""
        return self.root / "best_metrics.json"

    @property
    def pointers(self) -> list[Path]:
        """Where the pointer to the job's newest run may lie."""
        return [folder / "latest_run.json" for folder in (self.root, self.root.parent)]

    def started(self) -> datetime:
        """Return when it began: its folder's name tells, else the time of its config file."""
        if _STARTED.fullmatch(self.root.name):
            return datetime.strptime(self.root.name, "%Y-%m-%d_%H-%M-%S").astimezone(UTC)
        return datetime.fromtimestamp(self.config.stat().st_mtime, UTC)

    def new_id(self) -> str:
        """Return the run id it gets in the run store: its start, and six digits of what it holds.

        The same run gets the same id wherever its folder lies, so that importing twice makes no copy.
        """
        weights = self.model if self.model.is_file() else self.state
        digest = hashlib.sha256(self.config.read_bytes() + weights.read_bytes()).hexdigest()
        return f"{self.started():%Y%m%dT%H%M%SZ}-{digest[:6]}"


def is_old_run(folder: Path) -> bool:
    """Whether a folder is a run of the older system; ours have a ``status.json``."""
    run = OldRun(folder)
    return (
        run.config.is_file() and (run.model.is_file() or run.state.is_file()) and not (folder / "status.json").exists()
    )


def find_old_runs(folder: Path) -> list[OldRun]:
    """Return the older run that a folder is, or all below it, by name.

    Raises:
        InputError: the folder does not exist, or holds none.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} does not exist. Give a run folder of the older system, or one that holds several.")
    found = [folder] if is_old_run(folder) else [path.parent.parent for path in folder.rglob(".hydra/config.yaml")]
    runs = [OldRun(path) for path in sorted(found) if is_old_run(path)]
    if not runs:
        raise InputError(
            f"{folder} holds no run of the older system: expected .hydra/config.yaml and checkpoints/final_model.pt "
            "in a folder of each run."
        )
    return runs
