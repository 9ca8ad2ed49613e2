"""Cells of a study: the runs that differ by their seed (and fold) alone, summed up with what they vary by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from ctbench_core.atomic import write_bytes
from ctbench_core.evaluate.opening import silent
from ctbench_core.studies.layout import StudyPaths
from ctbench_core.studies.plan import Plan
from ctbench_core.studies.results import MACROS, VALIDATION, labels_frame

Progress = Callable[[str, int, int], None]

REPEATS = ("seed", "fold")  # axes that repeat a recipe


def cell_axes(plan: Plan) -> list[str]:
    """Return the axes that tell one recipe from another."""
    return [axis for axis in plan.study.axes() if axis not in REPEATS]


def judged_on(results: pd.DataFrame) -> str:
    """Name the set that recipes are compared on: the first test that was opened, else validation."""
    tests = sorted(set(results["set"]) - {VALIDATION})
    return tests[0] if tests else VALIDATION


def by_cell(paths: StudyPaths, plan: Plan, results: pd.DataFrame, progress: Progress = silent) -> list[dict[str, Any]]:
    """Return mean, sd, count and interval of each macro metric in each cell, in the order of the plan."""
    axes = cell_axes(plan)
    judged = judged_on(results)
    macros = results[(results["finding"] == "") & (results["set"] == judged) & results["metric"].isin(MACROS)]
    frame = macros.merge(labels_frame(plan.runs), on="run")
    order = list(dict.fromkeys(tuple(run.labels[axis] for axis in axes) for run in plan.runs))
    found = []
    for labels in order:
        chosen = frame[
            np.logical_and.reduce(
                [frame[axis] == label for axis, label in zip(axes, labels)] or [np.ones(len(frame), bool)]
            )
        ]
        for metric in MACROS:
            values = chosen.loc[chosen["metric"] == metric, "value"].to_numpy(dtype=float)
            if len(values):
                found.append({"cell": dict(zip(axes, labels)), "metric": metric, "set": judged, **_summed(values)})
    return found


def _summed(values: np.ndarray) -> dict[str, Any]:
    known = values[~np.isnan(values)]
    mean = float(known.mean()) if len(known) else np.nan
    std = float(known.std(ddof=1)) if len(known) > 1 else np.nan
    return {"mean": mean, "std": std, "n": len(known), "lo": np.nan, "hi": np.nan}


def write_cells(paths: StudyPaths, cells: list[dict[str, Any]]) -> None:
    """Write the cells as CSV, one row a cell and metric."""
    rows = [{**cell["cell"], **{name: value for name, value in cell.items() if name != "cell"}} for cell in cells]
    write_bytes(paths.cells, pd.DataFrame(rows).to_csv(index=False, lineterminator="\n").encode("utf-8"))
