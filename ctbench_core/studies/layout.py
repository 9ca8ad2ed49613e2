"""Name every file of a study's folder. The folder is a job of the run store and holds the study's runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ctbench_core.config import Config
from ctbench_core.runs import PLAN, SEARCH, Below, job_dir


@dataclass(frozen=True)
class StudyPaths:
    """The files of one study; nothing is created until it is written."""

    root: Path

    study = Below("study.yaml")  # the definition: name, base, grid, protocol
    plan = Below(PLAN)  # every planned run, its bank, and when the study was extended
    lock = Below(".plan.lock")  # held while the plan is written
    control = Below("control.json")  # the requested state: run, paused or cancelled
    results = Below(".results.parquet")  # metrics of the finished runs in long form; a cache that can be rebuilt
    intervals = Below(".intervals.parquet")  # intervals by cell; a cache that can be rebuilt
    differences = Below(".differences.parquet")  # differences by pair of cells; a cache that can be rebuilt
    table = Below("table.csv")  # one row a run, six decimals, no times
    cells = Below("by_cell.csv")  # one row a cell and metric, with intervals
    sbatch = Below("study.sbatch")  # a script for a cluster's job array
    search = Below(SEARCH)  # the definition of a search: name, base, space, trials
    journal = Below("journal.log")  # the trials of a search

    def claim(self, bank: int) -> Path:
        """Return the file that says which process trains a bank."""
        return self.root / ".claims" / f"{bank:05d}.json"

    def run(self, run_id: str) -> Path:
        """Return the directory of one run."""
        return self.root / run_id


def study_paths(config: Config) -> StudyPaths:
    """Return the folder of the study that a config belongs to."""
    return StudyPaths(job_dir(config))
