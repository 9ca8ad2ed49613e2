"""Scores of the recipes of a study: the runs of a cell differ by seed (and fold) alone, and judge the same volumes.

Shapes: S seeds, N volumes, C findings.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
import pandas as pd

from ctbench_core.runs import RunPaths
from ctbench_core.studies.layout import StudyPaths
from ctbench_core.studies.plan import Plan, PlannedRun
from ctbench_core.studies.results import TRAINING, VALIDATION
from ctbench_core.studies.work import state_of

REPEATS = ("seed", "fold")  # axes that repeat a recipe
OUT_OF_FOLD = "out of fold"
_FOLD = "fold_"

Cell = tuple[str, ...]


@dataclass(frozen=True)
class Recipe:
    """Test scores of one cell: targets (N, C) of 0, 1, NaN; scores (S, N, C); one seed label each, one patient a row.

    ``folds`` (N,) names the fold that held each volume out; None where all runs were tested on the same volumes.
    """

    cell: Cell
    findings: list[str]
    seeds: list[str]
    volumes: np.ndarray
    patients: np.ndarray
    targets: np.ndarray
    scores: np.ndarray
    folds: np.ndarray | None = None

    def over(self, volumes: np.ndarray, seeds: Sequence[str], findings: Sequence[str]) -> Recipe:
        """Return the recipe over some volumes, seeds and findings, in their order."""
        rows = pd.Index(self.volumes).get_indexer(pd.Index(volumes))
        columns = [self.findings.index(name) for name in findings]
        kept = [self.seeds.index(seed) for seed in seeds]
        return Recipe(
            self.cell,
            list(findings),
            list(seeds),
            self.volumes[rows],
            self.patients[rows],
            self.targets[np.ix_(rows, columns)],
            self.scores[np.ix_(kept, rows, columns)],
            None if self.folds is None else self.folds[rows],
        )


def cell_axes(plan: Plan) -> list[str]:
    """Return the axes that tell one recipe from another."""
    return [axis for axis in plan.study.axes() if axis not in REPEATS]


def cell_of(run: PlannedRun, axes: Iterable[str]) -> Cell:
    """Return a run's labels on the axes of recipes."""
    return tuple(run.labels[axis] for axis in axes)


def cells_of(plan: Plan) -> dict[Cell, list[PlannedRun]]:
    """Return the runs of each cell, in the order of the plan."""
    axes = cell_axes(plan)
    found: dict[Cell, list[PlannedRun]] = {}
    for run in plan.runs:
        found.setdefault(cell_of(run, axes), []).append(run)
    return found


def judged_on(results: pd.DataFrame) -> str:
    """Name the set that recipes are compared on: the out-of-fold rows, the first test that was opened, else validation."""
    tests = sorted(set(results["set"]) - {VALIDATION, TRAINING})
    if any(name.startswith(_FOLD) for name in tests):
        return OUT_OF_FOLD
    return tests[0] if tests else VALIDATION


def of_set(results: pd.DataFrame, judged: str) -> pd.DataFrame:
    """Return the rows of the set that recipes are compared on; each fold's own where they are out of fold."""
    if judged == OUT_OF_FOLD:
        return results[results["set"].str.startswith(_FOLD)]
    return results[results["set"] == judged]


def load_recipe(paths: StudyPaths, cell: Cell, runs: Sequence[PlannedRun], judged: str) -> Recipe | None:
    """Read the scores of a cell's finished runs; None when there are none on that set.

    Of a K-fold, a seed counts once all its folds are there; volumes are those that every seed has.
    """
    by_seed: dict[str, list[PlannedRun]] = {}
    for run in runs:
        by_seed.setdefault(run.labels.get("seed", ""), []).append(run)
    frames = {}
    for seed, mine in by_seed.items():
        read = [frame for run in mine if (frame := _scores(paths, run, judged)) is not None]
        if len(read) == len(mine):
            frames[seed] = pd.concat(read).drop_duplicates("volumename").set_index("volumename")
    if not frames:
        return None
    common = reduce(
        lambda index, frame: index.intersection(frame.index), frames.values(), next(iter(frames.values())).index
    )
    return _recipe(cell, {seed: frame.loc[common] for seed, frame in frames.items()})


def _scores(paths: StudyPaths, run: PlannedRun, judged: str) -> pd.DataFrame | None:
    name = f"{_FOLD}{run.labels.get('fold', '')}" if judged == OUT_OF_FOLD else judged
    files = RunPaths(paths.run(run.id)).evaluation(name)
    if judged == VALIDATION or not files.metrics.is_file() or state_of(paths.run(run.id)) != "finished":
        return None
    scores = pd.read_parquet(files.scores)
    return scores.assign(fold=name) if judged == OUT_OF_FOLD else scores


def _recipe(cell: Cell, frames: Mapping[str, pd.DataFrame]) -> Recipe:
    first = next(iter(frames.values()))
    findings = [name.removeprefix("prob_") for name in first if name.startswith("prob_")]
    numbers = [f"target_{name}" for name in findings]
    probabilities = [f"prob_{name}" for name in findings]
    return Recipe(
        cell,
        findings,
        list(frames),
        first.index.to_numpy(dtype=object),
        first["patient"].to_numpy(dtype=object),
        first[numbers].astype("float64").to_numpy(dtype=np.float64, na_value=np.nan),
        np.stack([frame[probabilities].to_numpy(dtype=np.float64) for frame in frames.values()]),
        first["fold"].to_numpy(dtype=object) if "fold" in first else None,
    )
