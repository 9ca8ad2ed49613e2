"""Read the test scores of a study's recipes: the runs of a cell differ by seed (and fold) alone, on the same volumes.

Shapes: S seeds, N volumes, C findings.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
import pandas as pd

from ctbench_core.runs import VALIDATION, RunPaths, label_columns, read_frame, score_arrays
from ctbench_core.studies.layout import StudyPaths
from ctbench_core.studies.plan import Plan, PlannedRun
from ctbench_core.studies.results import FOLD, OUT_OF_FOLD, comparison_set
from ctbench_core.studies.status import run_state

REPEATS = ("seed", "fold")  # axes that repeat a recipe

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
        layers = [self.seeds.index(seed) for seed in seeds]
        return Recipe(
            self.cell,
            list(findings),
            list(seeds),
            self.volumes[rows],
            self.patients[rows],
            self.targets[np.ix_(rows, columns)],
            self.scores[np.ix_(layers, rows, columns)],
            None if self.folds is None else self.folds[rows],
        )


def cell_axes(plan: Plan) -> list[str]:
    """Return the axes that distinguish recipes."""
    return [axis for axis in plan.study.axes() if axis not in REPEATS]


def cell_of(run: PlannedRun, axes: Iterable[str]) -> Cell:
    """Return a run's labels on the axes of recipes."""
    return tuple(run.labels[axis] for axis in axes)


def cells_of(plan: Plan) -> dict[Cell, list[PlannedRun]]:
    """Return the runs of each cell, in the order of the plan."""
    axes = cell_axes(plan)
    cells: dict[Cell, list[PlannedRun]] = {}
    for run in plan.runs:
        cells.setdefault(cell_of(run, axes), []).append(run)
    return cells


def load_recipes(
    paths: StudyPaths, plan: Plan, results: pd.DataFrame, only: Collection[Cell] | None = None
) -> dict[Cell, Recipe]:
    """Read the scores of every cell, or of some, that has finished runs on the comparison set."""
    name = comparison_set(results)
    cells = {cell: runs for cell, runs in cells_of(plan).items() if only is None or cell in only}
    recipes = {cell: load_recipe(paths, cell, runs, name) for cell, runs in cells.items()}
    return {cell: recipe for cell, recipe in recipes.items() if recipe is not None}


def load_recipe(paths: StudyPaths, cell: Cell, runs: Sequence[PlannedRun], set_name: str) -> Recipe | None:
    """Read the scores of a cell's finished runs on a set; return None when there are none.

    Of a K-fold, a seed counts when all its folds are finished; volumes are those that every seed has.
    """
    by_seed: dict[str, list[PlannedRun]] = {}
    for run in runs:
        by_seed.setdefault(run.labels.get("seed", ""), []).append(run)
    frames = {}
    for seed, repeats in by_seed.items():
        parts = [frame for run in repeats if (frame := _scores(paths, run, set_name)) is not None]
        if len(parts) == len(repeats):
            frames[seed] = pd.concat(parts).drop_duplicates("volumename").set_index("volumename")
    if not frames:
        return None
    common = reduce(lambda index, other: index.intersection(other), [frame.index for frame in frames.values()])
    return _recipe(cell, {seed: frame.loc[common] for seed, frame in frames.items()})


def _scores(paths: StudyPaths, run: PlannedRun, set_name: str) -> pd.DataFrame | None:
    name = f"{FOLD}{run.labels.get('fold', '')}" if set_name == OUT_OF_FOLD else set_name
    files = RunPaths(paths.run(run.id)).evaluation(name)
    if set_name == VALIDATION or not files.metrics.is_file() or run_state(paths.run(run.id)) != "finished":
        return None
    scores = read_frame(files.scores)
    return scores.assign(fold=name) if set_name == OUT_OF_FOLD else scores


def _recipe(cell: Cell, frames: Mapping[str, pd.DataFrame]) -> Recipe:
    first = next(iter(frames.values()))
    findings, targets, _ = score_arrays(first)
    return Recipe(
        cell,
        findings,
        list(frames),
        first.index.to_numpy(dtype=object),
        first["patient"].to_numpy(dtype=object),
        targets,
        np.stack([label_columns(frame, "prob_", findings) for frame in frames.values()]),
        first["fold"].to_numpy(dtype=object) if "fold" in first else None,
    )
