"""Run a study from beginning to end: plan it, work it off, and write its tables."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

from ctbench_core.experiment import bank_key
from ctbench_core.progress import Progress, silent
from ctbench_core.studies.cells import by_cell, cell_frame, write_cells
from ctbench_core.studies.layout import StudyPaths, study_paths
from ctbench_core.studies.plan import make_plan, read_plan, spelled_out
from ctbench_core.studies.recipes import cell_axes
from ctbench_core.studies.results import read_results, write_table
from ctbench_core.studies.study import Study
from ctbench_core.studies.work import Worked, work_off


def plan_study(study: Study) -> StudyPaths:
    """Check a study's input, write its plan (or extend the one that is there), and return its folder.

    Raises:
        InputError: a key, a value or a manifest is at fault; nothing has been written then.
    """
    from ctbench_core.dataset import check_places, read_training_manifests

    configs = [config for _, config in spelled_out(study).values()]
    for config in {bank_key(config): config for config in configs}.values():
        check_places(config)
        read_training_manifests(config)  # what is wrong with a manifest shows before anything is planned
    paths = study_paths(configs[0])
    make_plan(study, paths, bank_key)
    return paths


def run_study(
    study: Study | Path,
    *,
    shard: tuple[int, int] = (0, 1),
    cancel: threading.Event | None = None,
    progress: Progress = silent,
    judge: bool = True,
) -> dict[str, Any]:
    """Run a study, or go on with the one in a folder, and return the `study` JSON of the contracts.

    Args:
        judge: compute the intervals of every cell too, about a second a cell.

    Raises:
        InputError: the input is at fault.
    """
    started = time.monotonic()
    paths = StudyPaths(study) if isinstance(study, Path) else plan_study(study)
    worked = work_off(paths, shard=shard, cancel=cancel, progress=progress)
    return summary(paths, worked, progress, judge) | {"seconds": {"total": time.monotonic() - started}}


def summary(paths: StudyPaths, worked: Worked, progress: Progress = silent, judge: bool = True) -> dict[str, Any]:
    """Write the tables of a study and return its JSON."""
    plan = read_plan(paths)
    results = read_results(paths, plan)
    table, cells = None, []
    if len(results):
        table = write_table(paths, plan, results)
        frame = cell_frame(paths, plan, results, progress, only_known=not judge)
        write_cells(paths, frame)
        cells = by_cell(frame, cell_axes(plan))
    return {
        "study_dir": str(paths.root),
        "runs": worked.runs,
        "finished": worked.finished,
        "reused": worked.reused,
        "failed": worked.failed,
        "stopped": worked.stopped,
        "table": str(table) if table else None,
        "by_cell": cells,
        "extensions": plan.extensions[1:],
        "errors": worked.errors,
    }
