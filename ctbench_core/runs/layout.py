"""Every file name of a run directory and of the run store, in one place."""

from __future__ import annotations

import re
import secrets
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ctbench_core.config import Config


@dataclass(frozen=True)
class RunPaths:
    """The files of one run; nothing is created until it is written."""

    root: Path
    checkpoint_dir: Path | None = None

    @property
    def config(self) -> Path:
        """The resolved config, enough to repeat the run."""
        return self.root / "config.yaml"

    @property
    def status(self) -> Path:
        """State, epoch, process and heartbeat: what readers trust."""
        return self.root / "status.json"

    @property
    def provenance(self) -> Path:
        """Versions, device, seeds, digests and cohort counts."""
        return self.root / "provenance.json"

    @property
    def selection(self) -> Path:
        """The volumes of a budget, fold or selection, by role."""
        return self.root / "selection_index.csv"

    @property
    def metrics(self) -> Path:
        """One JSON line an epoch."""
        return self.root / "metrics.jsonl"

    @property
    def best_metrics(self) -> Path:
        """The line of the best epoch."""
        return self.root / "best_metrics.json"

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
    def validation_scores(self) -> Path:
        """Scores of the validation set, as those of a test set."""
        return self.root / "validation" / "scores.parquet"

    @property
    def tuning(self) -> Path:
        """Thresholds and calibration that validation chose."""
        return self.root / "validation" / "tuning.json"

    def evaluation(self, manifest: str) -> EvaluationPaths:
        """Return the evaluation bundle of one manifest, named by its file name."""
        return EvaluationPaths(self.root / "evaluation" / Path(manifest).stem)

    def alignment(self, name: str) -> Path:
        """Return the folder of one alignment result."""
        return self.root / "alignment" / Path(name).stem


@dataclass(frozen=True)
class EvaluationPaths:
    """The files of one evaluation bundle; ``metrics`` is written last and marks it complete."""

    root: Path

    @property
    def scores(self) -> Path:
        """Per volume: ids, targets, logits, probabilities."""
        return self.root / "scores.parquet"

    @property
    def metrics(self) -> Path:
        """METRICS of the contracts."""
        return self.root / "metrics.json"

    @property
    def per_class(self) -> Path:
        """One row a finding."""
        return self.root / "per_class.csv"

    @property
    def curves(self) -> Path:
        """PR and ROC points of every finding."""
        return self.root / "curves.parquet"

    @property
    def counts(self) -> Path:
        """True and false positives of every finding by threshold."""
        return self.root / "counts.parquet"

    @property
    def bands(self) -> Path:
        """Pointwise 95 % bands of the curves."""
        return self.root / "bands.parquet"

    @property
    def calibration(self) -> Path:
        """Brier score, ECE, slope and intercept of every finding, before and after calibration."""
        return self.root / "calibration.csv"

    @property
    def reliability(self) -> Path:
        """Bins of the reliability plots, before and after calibration."""
        return self.root / "reliability.parquet"

    @property
    def metadata(self) -> Path:
        """Metadata columns of the manifest, for subgroups; absent when it has none."""
        return self.root / "metadata.parquet"

    def subgroups(self, column: str) -> Path:
        """Figures by the groups of a metadata column; made when a reader first asks."""
        plain = re.sub(r"[^\w-]+", "_", column)[:60]
        return self.root / "subgroups" / f"{plain}-{zlib.crc32(column.encode()):08x}.parquet"


def new_run_id() -> str:
    """Return a run id such as ``20261123T165430Z-3f9a1c``: UTC time and six random hex digits."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"


def job_dir(config: Config) -> Path:
    """Return the folder that collects the runs of the config's job."""
    return Path(config.paths.job_base_dir or Path(config.paths.outputs_root) / config.job_name)


def latest_pointer(config: Config) -> Path:
    """Return the file that names the newest run of the config's job."""
    return Path(config.paths.latest_run_pointer or job_dir(config) / "latest_run.json")


def run_paths(config: Config) -> RunPaths:
    """Choose the run directory of a config: exactly the given one, or a new id in the job's folder."""
    given = config.paths.run_dir or config.paths.output_dir
    root = Path(given) if given else job_dir(config) / new_run_id()
    checkpoints = config.paths.checkpoint_dir
    return RunPaths(root, Path(checkpoints) if checkpoints else None)
