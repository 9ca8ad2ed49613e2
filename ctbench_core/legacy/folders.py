"""Recognise run folders of the older system, and name every file in them.

<run>/.hydra/config.yaml            the config, interpolations unresolved
<run>/.hydra/hydra.yaml             job name, working folder
<run>/checkpoints/final_model.pt    state_dict of the best epoch
<run>/checkpoints/last_state.pt     snapshot of the last epoch, random states included
<run>/metrics.jsonl                 one line an epoch
<run>/best_metrics.json             the best epoch
<run>/latest_run.json               or in the job's folder: the path of the newest run, with its best metrics
"""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime
from pathlib import Path

from ctbench_core.errors import InputError

_STARTED = re.compile(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d")


class OldRun:
    """The files of one older run; those of a stopped run lack the model."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.config = root / ".hydra" / "config.yaml"
        self.hydra = root / ".hydra" / "hydra.yaml"
        self.model = root / "checkpoints" / "final_model.pt"
        self.state = root / "checkpoints" / "last_state.pt"
        self.metrics = root / "metrics.jsonl"
        self.best = root / "best_metrics.json"
        self.pointers = [folder / "latest_run.json" for folder in (root, root.parent)]

    def started(self) -> datetime:
        """Return the start time from the folder's name, else from the time of its config file."""
        if _STARTED.fullmatch(self.root.name):
            return datetime.strptime(self.root.name, "%Y-%m-%d_%H-%M-%S").astimezone(UTC)
        return datetime.fromtimestamp(self.config.stat().st_mtime, UTC)

    def new_id(self) -> str:
        """Return its run id in the run store: the start time and six digits of its content.

        The id does not depend on where the folder lies, so importing twice makes no copy.
        """
        weights = self.model if self.model.is_file() else self.state
        digest = hashlib.sha256(self.config.read_bytes() + weights.read_bytes()).hexdigest()
        return f"{self.started():%Y%m%dT%H%M%SZ}-{digest[:6]}"


def is_old_run(folder: Path) -> bool:
    """Return whether a folder is a run of the older system; ours have a ``status.json``."""
    run = OldRun(folder)
    has_weights = run.model.is_file() or run.state.is_file()
    return run.config.is_file() and has_weights and not (folder / "status.json").exists()


def find_old_runs(folder: Path) -> list[OldRun]:
    """Return the older run in a folder, or all below it, by name.

    Raises:
        InputError: the folder does not exist, or holds no such run.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} does not exist. Give a run folder of the older system, or a folder of such runs.")
    candidates = [folder] if is_old_run(folder) else [path.parent.parent for path in folder.rglob(".hydra/config.yaml")]
    runs = [OldRun(path) for path in sorted(candidates) if is_old_run(path)]
    if not runs:
        raise InputError(
            f"{folder} holds no run of the older system: expected .hydra/config.yaml and checkpoints/final_model.pt "
            "in the folder of each run."
        )
    return runs
