"""Run a study: plan it, train bank after bank until every run has ended, and write its tables.

An executor runs the banks: this process, or Dask workers. Any number of processes may do so on one folder, also those
of a cluster's job array. Finished runs stay finished; when a worker dies, the next one continues from its checkpoints.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from ctbench_core.config import Config
from ctbench_core.executors import HERE, ClusterOptions, open_executor, read_options, write_options
from ctbench_core.experiment import bank_key
from ctbench_core.progress import Progress, silent
from ctbench_core.studies.banks import by_budget
from ctbench_core.studies.cells import cell_frame, cell_records, write_cells
from ctbench_core.studies.differences import compared_axes, difference_records, differences, pairs_along
from ctbench_core.studies.grid_edges import edge_warnings
from ctbench_core.studies.layout import StudyPaths, study_paths
from ctbench_core.studies.leader import Leader
from ctbench_core.studies.plan import Plan, expand_grid, make_plan, read_plan
from ctbench_core.studies.recipe_scores import cell_axes, cells_of
from ctbench_core.studies.results import read_results, write_table
from ctbench_core.studies.status import DAMAGED
from ctbench_core.studies.study import Study
from ctbench_core.studies.workers import RUN, StopEvent, request_state

MOST_PAIRS = 200  # of cells, along one axis, that are compared when a study ends: some minutes


@dataclass
class Outcome:
    """How a call of `train_plan` ended: run counts of the whole study, and the errors of this process."""

    runs: int
    finished: int
    reused: int
    failed: int
    stopped: bool
    errors: list[str]
    executor: dict[str, Any] = field(default_factory=dict)
    workers_s: float = 0.0  # until the workers were ready

    def counts(self) -> dict[str, int]:
        """Return everything but the errors and times."""
        return {name: value for name, value in vars(self).items() if name not in ("errors", "workers_s")}


def plan_study(study: Study) -> StudyPaths:
    """Check a study's input, write its plan (or extend the existing one), and return its folder.

    Raises:
        InputError: a key, a value or a manifest is at fault; nothing has been written.
    """
    from ctbench_core.dataset import check_paths, read_training_manifests
    from ctbench_core.train.planning import run_cost
    from ctbench_core.train.refusals import check_training

    configs = [config for _, config in expand_grid(study).values()]
    for config in configs:
        check_training(config)
    rows = {}
    for key, config in {bank_key(config): config for config in sorted(configs, key=by_budget)}.items():
        check_paths(config)
        manifests, _ = read_training_manifests(config)  # a faulty manifest must show before anything is planned
        rows[key] = len(manifests["train"])

    def work(config: Config) -> float:
        return run_cost(config, rows[bank_key(config)])

    paths = study_paths(configs[0])
    make_plan(study, paths, bank_key, work)
    return paths


def run_study(
    study: Study | Path,
    *,
    shard: tuple[int, int] = (0, 1),
    cancel: threading.Event | None = None,
    progress: Progress = silent,
    with_intervals: bool = True,
    options: ClusterOptions | None = None,
) -> dict[str, Any]:
    """Run a study, or continue the one in a folder, and return the `study` JSON of the contracts.

    Args:
        options: where it runs; by default as its folder says (``cluster.yaml``), else in this process.
        with_intervals: compute the intervals of every cell too, and the differences of its pairs: about a second each.

    Raises:
        InputError: the input is at fault.
    """
    started = time.monotonic()
    paths = StudyPaths(study) if isinstance(study, Path) else plan_study(study)
    if options is None:
        options = HERE if shard[1] > 1 else read_options(paths.root)
    else:
        write_options(paths.root, options)
    outcome = train_plan(paths, shard=shard, cancel=cancel, progress=progress, options=options)
    content = summary(paths, outcome, progress, with_intervals)
    return content | {"seconds": {"total": time.monotonic() - started, "workers": outcome.workers_s}}


def summary(
    paths: StudyPaths, outcome: Outcome, progress: Progress = silent, with_intervals: bool = True
) -> dict[str, Any]:
    """Write the tables of a study and return its JSON."""
    plan = read_plan(paths)
    results = read_results(paths, plan)
    table, cells, warnings = None, [], list(plan.warnings)
    compared: list[dict[str, Any]] = []
    if len(results):
        table = write_table(paths, plan, results)
        frame = cell_frame(paths, plan, results, progress, cached_only=not with_intervals)
        write_cells(paths, frame)
        cells = cell_records(frame, cell_axes(plan))
        warnings += edge_warnings(plan, results)
        compared, left_out = _differences(paths, plan, results, progress, with_intervals)
        warnings += left_out
    extensions = [{key: part[key] for key in ("when", "runs", "seeds")} for part in plan.extensions[1:]]
    tables = {"table": str(table) if table else None, "by_cell": cells, "differences": compared}
    return {
        "study_dir": str(paths.root),
        **outcome.counts(),
        **tables,
        "extensions": extensions,
        "errors": outcome.errors,
        "warnings": warnings,
    }


def _differences(
    paths: StudyPaths, plan: Plan, results: pd.DataFrame, progress: Progress, with_intervals: bool
) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the differences along every axis as JSON, and what was left out."""
    rows: list[dict[str, Any]] = []
    warnings = []
    for axis in compared_axes(plan):
        pairs = len(pairs_along(plan, cells_of(plan), axis))
        is_small = pairs <= MOST_PAIRS
        if not is_small:
            warnings.append(f"{pairs:,} pairs along {axis} are too many to compare here: see the page Studies.")
        frame = differences(paths, plan, results, axis, progress, cached_only=not (with_intervals and is_small))
        rows += difference_records(plan, frame, axis)
    return rows, warnings


def train_plan(
    paths: StudyPaths,
    *,
    shard: tuple[int, int] = (0, 1),
    cancel: threading.Event | None = None,
    progress: Progress = silent,
    options: ClusterOptions = HERE,
) -> Outcome:
    """Train every unfinished run of a planned study, together with all other processes that do.

    Args:
        cancel: set it to stop after the present batch; `request_state` does the same from any process.

    Raises:
        InputError: the folder holds no plan, or a run directory holds another run.
    """
    plan = read_plan(paths)
    request_state(paths, RUN)
    leader = Leader(paths, plan, StopEvent(paths, cancel), progress)
    before = leader.count_states()
    banks = leader.unfinished(take_order(plan, shard, is_alone=options.is_here and shard[1] == 1))
    executor_kind, ready_s = {"kind": "here" if options.is_here else "dask", "workers": options.workers or 1}, 0.0
    if banks:
        with open_executor(options, paths.root, cancel=leader.stop, progress=leader.report) as executor:
            executor_kind["workers"], ready_s = executor.workers, executor.ready_s
            leader.lead(executor, banks)
    counts = leader.count_states()
    failed = counts["failed"] + counts[DAMAGED]
    stopped = leader.stop.is_set() and counts["finished"] + failed < len(plan.runs)
    return Outcome(
        len(plan.runs), counts["finished"], before["finished"], failed, stopped, leader.errors, executor_kind, ready_s
    )


def take_order(plan: Plan, shard: tuple[int, int], is_alone: bool) -> list[int]:
    """Return the banks as this process takes them: alone the small ones first, which show results early.

    Of several processes each begins at another bank, the large ones first, so that they end together.
    """
    banks = sorted(plan.banks(), reverse=not is_alone)
    return [bank for start in range(shard[1]) for bank in banks[(shard[0] + start) % shard[1] :: shard[1]]]
