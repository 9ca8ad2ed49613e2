"""Every file name of a study's folder, in one place. The folder is a job of the run store: its runs lie in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ctbench_core.config import Config
from ctbench_core.runs import job_dir


@dataclass(frozen=True)
class StudyPaths:
    """The files of one study; nothing is created until it is written."""

    root: Path

    @property
    def study(self) -> Path:
        """The study as given: name, base, grid, protocol."""
        return self.root / "study.yaml"

    @property
    def plan(self) -> Path:
        """Every planned run, its bank, and when the study was extended."""
        return self.root / "plan.json"

    @property
    def control(self) -> Path:
        """What people want of the study: run, paused or cancelled."""
        return self.root / "control.json"

    @property
    def lock(self) -> Path:
        """Held while the plan is written."""
        return self.root / ".plan.lock"

    def claim(self, bank: int) -> Path:
        """Return the file that tells which process works on a bank."""
        return self.root / ".claims" / f"{bank:05d}.json"

    def run(self, run_id: str) -> Path:
        """Return the directory of one run."""
        return self.root / run_id

    @property
    def results(self) -> Path:
        """Figures of the finished runs, long form; a cache that can be made anew."""
        return self.root / ".results.parquet"

    @property
    def intervals(self) -> Path:
        """Intervals by cell; a cache that can be made anew."""
        return self.root / ".intervals.parquet"

    @property
    def table(self) -> Path:
        """One row a run, six decimals, no times."""
        return self.root / "table.csv"

    @property
    def cells(self) -> Path:
        """One row a cell and metric, with intervals."""
        return self.root / "by_cell.csv"

    @property
    def sbatch(self) -> Path:
        """A script for a cluster's job array."""
        return self.root / "study.sbatch"

    @property
    def journal(self) -> Path:
        """The trials of a search."""
        return self.root / "journal.log"

    @property
    def search(self) -> Path:
        """A search as given: name, base, space, trials."""
        return self.root / "search.yaml"


def study_paths(config: Config) -> StudyPaths:
    """Return the folder of the study that a config belongs to."""
    return StudyPaths(job_dir(config))
