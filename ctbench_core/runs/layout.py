"""Name every file of a run directory and of the run store."""

from __future__ import annotations

import os
import re
import secrets
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ctbench_core.config import Config
from ctbench_core.errors import RunError
from ctbench_core.names import portable, safe_name

VALIDATION = "validation"  # the name of the validation set among those that a run was evaluated on
# A job's folder with one of these is a study or a search.
PLAN, SEARCH = "plan.json", "search.yaml"


def app_store() -> Path:
    """Return the run store that the app works on: CTBENCH_OUTPUTS, or ``outputs`` in the working folder."""
    return Path(os.environ.get("CTBENCH_OUTPUTS", "outputs"))


class Below:
    """An attribute that gives a path below its object's ``root``."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __get__(self, paths: Any, kind: type) -> Path:
        return paths.root / self._path


@dataclass(frozen=True)
class RunPaths:
    """The files of one run; nothing is created until it is written."""

    root: Path
    checkpoint_dir: Path | None = None

    config = Below("config.yaml")  # resolved: enough to repeat the run
    status = Below("status.json")  # state, epoch, process and heartbeat
    provenance = Below("provenance.json")  # versions, device, seeds, digests and cohort counts
    inputs = Below("inputs.parquet")  # volumes of training and validation: labels, and fingerprints of their features
    selection = Below("selection_index.csv")  # the volumes of a budget, fold or selection, and what each is used for
    metrics = Below("metrics.jsonl")  # one JSON line an epoch
    best_metrics = Below("best_metrics.json")  # the line of the best epoch
    validation_scores = Below("validation/scores.parquet")  # in the form of a test set's scores
    tuning = Below("validation/tuning.json")  # thresholds and calibration chosen on validation

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.checkpoint_dir or self.root / "checkpoints"

    @property
    def final_model(self) -> Path:
        """Plain state_dict of the best epoch."""
        return self.checkpoints / "final_model.pt"

    @property
    def last_state(self) -> Path:
        """Everything a resume needs."""
        return self.checkpoints / "last_state.pt"

    @property
    def validation(self) -> EvaluationPaths:
        """The evaluation bundle of the validation set; its scores are `validation_scores`."""
        return EvaluationPaths(self.validation_scores.parent)

    def evaluation(self, manifest: str) -> EvaluationPaths:
        """Return the evaluation bundle of one test manifest, named by its file name."""
        return EvaluationPaths(self.root / "evaluation" / Path(portable(manifest)).stem)

    def bundle(self, set_name: str) -> EvaluationPaths:
        """Return the evaluation bundle of a test set, or of the validation set."""
        return self.validation if set_name == VALIDATION else self.evaluation(set_name)

    def alignment(self, name: str) -> Path:
        """Return the folder of one alignment result."""
        return self.root / "alignment" / Path(portable(name)).stem


def require_directory(paths: RunPaths) -> None:
    """Refuse to write into a run directory that was renamed or deleted: writing would create it again, without its config.

    Raises:
        RunError: it is gone.
    """
    if not paths.root.is_dir():
        raise gone(paths)


def gone(paths: RunPaths) -> RunError:
    """Return the error of a run directory that was renamed or deleted while its run was active."""
    return RunError(
        f"{paths.root} was renamed or deleted while its run was active. What was saved before is in the renamed folder; "
        "resume the run there."
    )


@dataclass(frozen=True)
class EvaluationPaths:
    """The files of one evaluation bundle; ``metrics`` is written last and marks it complete."""

    root: Path

    scores = Below("scores.parquet")  # per volume: ids, targets, logits, probabilities
    metrics = Below("metrics.json")  # METRICS of the contracts
    per_class = Below("per_class.csv")  # one row a finding
    curves = Below("curves.parquet")  # PR and ROC points of every finding
    counts = Below("counts.parquet")  # true and false positives of every finding by threshold
    bands = Below("bands.parquet")  # pointwise 95 % bands of the curves
    calibration = Below("calibration.csv")  # Brier score, ECE, slope and intercept, before and after calibration
    net_benefit = Below("net_benefit.parquet")  # decision curves on Platt probabilities; absent without validation
    reliability = Below("reliability.parquet")  # bins of the reliability plots, before and after calibration
    metadata = Below("metadata.parquet")  # metadata columns for subgroups; absent when the manifest has none

    def subgroups(self, column: str) -> Path:
        """Return the file of metrics by the groups of a metadata column, written when they are first shown."""
        plain = re.sub(r"[^\w-]+", "_", column)[:28]
        return self.root / "subgroups" / f"{plain}-{zlib.crc32(column.encode()):08x}.parquet"


def new_run_id() -> str:
    """Return a run id such as ``20261123T165430Z-3f9a1c``: UTC time and six random hex digits."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"


def job_dir(config: Config) -> Path:
    """Return the folder that collects the runs of the config's job.

    Raises:
        PathError: the job's name cannot be that of a folder on every system.
    """
    if config.paths.job_base_dir:
        return Path(config.paths.job_base_dir)
    root = Path(config.paths.outputs_root)
    return root / safe_name(config.job_name, "job_name", root)


def latest_pointer(config: Config) -> Path:
    """Return the file that names the newest run of the config's job."""
    return Path(config.paths.latest_run_pointer or job_dir(config) / "latest_run.json")


def run_paths(config: Config) -> RunPaths:
    """Return the run directory of a config: the one it names, or a new id in the job's folder."""
    run_dir = config.paths.run_dir or config.paths.output_dir
    root = Path(run_dir) if run_dir else job_dir(config) / new_run_id()
    checkpoints = config.paths.checkpoint_dir
    return RunPaths(root, Path(checkpoints) if checkpoints else None)
