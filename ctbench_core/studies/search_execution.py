"""Run a search: batch after batch of trials is drawn, trained as banks, and compared on validation."""

from __future__ import annotations

import dataclasses
import math
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ctbench_core.atomic import write_text
from ctbench_core.config import Config, differing_keys, dump_yaml, get_key
from ctbench_core.errors import InputError, RunError
from ctbench_core.executors import HERE, ClusterOptions, Executor, Task, open_executor, read_options, write_options
from ctbench_core.experiment import bank_key
from ctbench_core.formatting import plural
from ctbench_core.progress import Progress, silent
from ctbench_core.runs import RunPaths, follow_history, read_best, request_stop
from ctbench_core.stored import is_there
from ctbench_core.studies.bank_task import LEFT
from ctbench_core.studies.execution import run_study
from ctbench_core.studies.grid_edges import space_edges
from ctbench_core.studies.identity import present_defaults, run_id
from ctbench_core.studies.layout import StudyPaths
from ctbench_core.studies.search import Search, read_search, stability
from ctbench_core.studies.status import run_state
from ctbench_core.studies.trial_task import read_planned, train_trials
from ctbench_core.studies.trials import RUN as TRIAL_RUN
from ctbench_core.studies.trials import TrialPruner, Trials, trial_row
from ctbench_core.studies.workers import RUN, StopEvent, claim, request_state

_READ_EVERY_S = 0.3
NEW_SEEDS = 5


def plan_search(search: Search) -> StudyPaths:
    """Check a search's input, write its definition, and return its folder.

    Raises:
        InputError: a manifest is at fault, or the folder holds another search of that name.
    """
    from ctbench_core.dataset import check_paths, read_training_manifests
    from ctbench_core.train.refusals import check_training

    config, paths = search.config(), search.paths()
    check_paths(config)
    check_training(config)
    read_training_manifests(config)
    if is_there(paths.search):
        known = read_planned(paths)
        if (known.base, known.space, known.batch) != (search.base, search.space, search.batch):
            raise InputError(f"{paths.root} holds another search of that name. Give this one another name.")
        if differing := differing_keys(known.config(), config):
            values = (f"{key}: {get_key(known.config(), key)} there, {get_key(config, key)} now" for key in differing)
            raise InputError(
                f"{paths.root} holds a search of that name with other defaults ({'; '.join(values)}). Continue it "
                f"from its folder (search {paths.root}), or give this one another name."
            )
        search = dataclasses.replace(search, defaults=known.defaults)
    search = dataclasses.replace(search, defaults=search.defaults or present_defaults())
    write_text(paths.search, dump_yaml(search.to_dict()))
    return paths


def run_search(
    search: Search | Path,
    *,
    cancel: threading.Event | None = None,
    progress: Progress = silent,
    again: int = NEW_SEEDS,
    options: ClusterOptions | None = None,
) -> dict[str, Any]:
    """Run a search, or continue the one in a folder, and return the `search` JSON of the contracts.

    Args:
        options: where it runs; by default as its folder says (``cluster.yaml``), else in this process.
        again: with so many new seeds the best trial is trained again when all have ended, on validation alone: its own
            value is the best of many, and so too good.

    Raises:
        InputError: the input is at fault, or another process runs this search.
    """
    started = time.monotonic()
    paths = StudyPaths(search) if isinstance(search, Path) else plan_search(search)
    with claim(paths.claim(0)) as is_mine:
        if not is_mine:
            raise InputError(f"Another process runs the search in {paths.root}. Stop it there, or wait for it.")
        request_state(paths, RUN)
        if options is None:
            options = read_options(paths.root)
        else:
            write_options(paths.root, options)
        searcher = _Searcher(paths, read_planned(paths), StopEvent(paths, cancel), progress)
        with open_executor(options, paths.root, cancel=searcher.stop, progress=searcher.report) as executor:
            searcher.run(executor)
    result = searcher.summary() | {"executor": {"kind": executor.kind, "workers": executor.workers}}
    if executor.workers > searcher.search.batch:
        result["warnings"].append(
            f"{executor.workers} workers, but trials are drawn {searcher.search.batch} at a time: batch={executor.workers} "
            "in a new search keeps them all at work."
        )
    result["again"] = None
    if again and result["best"] and not result["stopped"]:
        result["again"] = _train_again(searcher.search, result["best"], again, options, cancel, progress)
    return result | {"seconds": {"total": time.monotonic() - started}}


def _train_again(
    search: Search,
    best: Mapping[str, Any],
    seeds: int,
    options: ClusterOptions,
    cancel: threading.Event | None,
    progress: Progress,
) -> dict[str, Any] | None:
    """Train the best trial with new seeds; return mean, SD and count of its validation metric, and its study."""
    study = search.stability_study([best["params"]], seeds)
    one_bank = dataclasses.replace(options, workers=min(1, options.workers)) if options.cluster else HERE
    errors = run_study(study, cancel=cancel, progress=progress, with_intervals=False, options=one_bank)["errors"]
    if errors:  # a mean of the other seeds would read as the whole
        raise RunError(f"The best trial could not be trained again with all {plural(seeds, 'new seed')}: {errors[0]}")
    result = stability(search, [(best["value"], best["params"])])
    if result is None:
        return None
    row = result.table.iloc[0]
    values = {"mean": float(row["mean"]), "sd": float(row["sd"]), "n": int(row["n"])}
    return values | {"flattered": float(row["flattered"]), "study_dir": str(result.paths.root)}


def read_trials(paths: StudyPaths) -> list[Any]:
    """Return the trials of a search as Optuna stores them.

    Raises:
        InputError: the folder holds no search.
    """
    return _open_trials(paths, read_search(paths.search)).all()


def _open_trials(paths: StudyPaths, search: Search) -> Trials:
    return Trials(paths, search.config().optuna, search.parsed_space(), search.batch)


def _monitored(entry: Mapping[str, Any], monitor: str) -> float:
    """Return the monitored metric of an epoch, the negative loss for ``loss``; NaN where it is undefined."""
    loss = entry.get("val_loss")
    metrics = {"loss": None if loss is None else -loss, **entry.get("val_metrics", {})}
    value = metrics.get(monitor)
    return math.nan if value is None else float(value)


@dataclass
class _TrialRun:
    """A trial in training: its number, config, folder, and the pruner of its epochs."""

    number: int
    config: Config
    run_dir: Path
    pruner: TrialPruner

    def report_epochs(self) -> None:
        """Report the epochs that ended since the last call, and stop the run when it is pruned."""
        monitor = self.config.training.monitor
        columns = follow_history(RunPaths(self.run_dir).metrics).columns
        values = [-loss for loss in columns["val_loss"]] if monitor == "loss" else columns[monitor]
        for epoch, value in list(zip(columns["epoch"], values))[len(self.pruner.reported) :]:
            if self.pruner.epoch(int(epoch), value):
                if run_state(self.run_dir) == "running":
                    request_stop(self.run_dir)
                return


class _Searcher:
    def __init__(self, paths: StudyPaths, search: Search, stop: StopEvent, progress: Progress) -> None:
        self.paths, self.search, self.stop, self._progress = paths, search, stop, progress
        self.trials = _open_trials(paths, search)
        self._batch: list[_TrialRun] = []
        self._read_at = 0.0

    def run(self, executor: Executor) -> None:
        for first in range(0, self.search.trials, self.search.batch):
            if self.stop.is_set():
                return
            numbers = range(first, min(first + self.search.batch, self.search.trials))
            for number in numbers:
                self.trials.ask(number)
            self._batch = [self._trial_run(number) for number in numbers if self.trials.is_open(number)]
            if self._batch and not self._train(executor):
                return
            for trial in self._batch:
                self._end(trial)

    def _trial_run(self, number: int) -> _TrialRun:
        trial = self.trials.all()[number]
        config = self.search.config(trial.params)
        run_dir = self.paths.run(trial.user_attrs.get(TRIAL_RUN) or run_id(config))
        self.trials.set_run(number, run_dir.name)
        return _TrialRun(number, config, run_dir, self.trials.pruner(number))

    def report(self, phase: str, done: int, total: int) -> None:
        """Read the epochs of the present trials now and then, and report the best trial and what is at work."""
        if time.monotonic() - self._read_at > _READ_EVERY_S:
            self._read_at = time.monotonic()
            self._report_epochs()
        best = self.best()
        text = f"best {best['value']:.4f}, " if best else ""
        where = f"{phase} {done}/{total}" if total else phase
        self._progress(f"search ({text}{where})", self._batch[0].number if self._batch else 0, self.search.trials)

    def _report_epochs(self) -> None:
        for trial in self._batch:
            trial.report_epochs()

    def _train(self, executor: Executor) -> bool:
        """Train the present batch; return whether it ended without a stop."""
        self._report_epochs()
        banks: dict[str, dict[str, Any]] = {}
        for trial in self._batch:
            if not trial.pruner.pruned:
                params = self.trials.all()[trial.number].params
                banks.setdefault(bank_key(trial.config), {})[trial.run_dir.name] = params
        for number, trials in enumerate(banks.values(), start=1):
            task = Task(f"bank {number} of {len(banks)}", train_trials, (str(self.paths.root.resolve()), trials))
            executor.submit(task)
        while executor.pending and not self.stop.is_set():
            ended = executor.next(_READ_EVERY_S)
            self.report(f"{len(banks) - executor.pending} of {len(banks)} banks done", 0, 0)
            if ended is not None and ended.value.refused:  # a full disk says nothing of the trial, which stays open
                raise RunError(ended.value.refused)
            if ended is not None and ended.value.state == LEFT:
                executor.submit(ended.task)
        if self.stop.is_set():
            executor.stop()
            return False
        self._report_epochs()
        return True

    def _end(self, trial: _TrialRun) -> None:
        best = read_best(RunPaths(trial.run_dir))
        value = _monitored(best, trial.config.training.monitor)
        self.trials.tell(trial.number, trial.pruner, value, run_state(trial.run_dir) == "failed")

    def best(self) -> dict[str, Any] | None:
        finished = [trial_row(trial) for trial in self.trials.all() if trial.state.name == "COMPLETE"]
        return max(finished, key=lambda row: row["value"]) if finished else None

    def summary(self) -> dict[str, Any]:
        best, trials = self.best(), self.trials.all()
        ended = [trial for trial in trials if trial.state.is_finished()]
        warnings: list[str] = []
        if best is not None:
            params, run_dir = trials[best["trial"]].params, str(self.paths.run(best["run"]))
            best = {"value": best["value"], "params": params, "run_dir": run_dir}
            warnings = space_edges(self.search.parsed_space(), params)
        return {
            "study_dir": str(self.paths.root),
            "trials": len(ended),
            "pruned": sum(trial.state.name == "PRUNED" for trial in ended),
            "failed": sum(trial.state.name == "FAIL" for trial in ended),
            "stopped": len(ended) < self.search.trials,
            "best": best,
            "warnings": warnings,
        }
