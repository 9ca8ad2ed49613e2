"""Work off a search: batch after batch of trials is asked, trained as banks, judged by validation, and told."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from ctbench_core.atomic import write_text
from ctbench_core.config import Config
from ctbench_core.errors import InputError
from ctbench_core.experiment import bank_key
from ctbench_core.progress import Progress, silent
from ctbench_core.runs import RunPaths, read_history, read_json, request_stop
from ctbench_core.studies.claims import claim
from ctbench_core.studies.control import RUN, Stop, want
from ctbench_core.studies.layout import StudyPaths
from ctbench_core.studies.plan import run_id
from ctbench_core.studies.search import Search, read_search
from ctbench_core.studies.trials import Trials, Watcher, row
from ctbench_core.studies.work import state_of, train_stack

_LOOK_EVERY_S = 0.3


def plan_search(search: Search) -> StudyPaths:
    """Check a search's input, write it to its folder, and return that.

    Raises:
        InputError: a manifest is at fault, or the folder holds another search of that name.
    """
    from ctbench_core.dataset import check_places, read_training_manifests

    config, paths = search.config(), search.paths()
    check_places(config)
    read_training_manifests(config)
    if paths.search.is_file():
        known = read_search(paths.search)
        if (known.base, known.space, known.batch) != (search.base, search.space, search.batch):
            raise InputError(f"{paths.root} holds another search of that name. Give this one another name.")
    write_text(paths.search, yaml.safe_dump(search.to_dict(), sort_keys=False, allow_unicode=True))
    return paths


def run_search(
    search: Search | Path, *, cancel: threading.Event | None = None, progress: Progress = silent
) -> dict[str, Any]:
    """Run a search, or go on with the one in a folder, and return the `search` JSON of the contracts.

    Raises:
        InputError: the input is at fault, or another process works on this search.
    """
    started = time.monotonic()
    paths = StudyPaths(search) if isinstance(search, Path) else plan_search(search)
    given = read_search(paths.search)
    with claim(paths.claim(0)) as mine:
        if not mine:
            raise InputError(f"Another process works on the search in {paths.root}. Stop it there, or wait for it.")
        want(paths, RUN)
        searcher = _Searcher(paths, given, Stop(paths, cancel), progress)
        searcher.work()
    return searcher.summary() | {"seconds": {"total": time.monotonic() - started}}


@dataclass
class _Running:
    """A trial at work: its number, config, folder, and the judge of its epochs."""

    number: int
    config: Config
    run_dir: Path
    watcher: Watcher

    def look(self, monitor: str) -> None:
        """Hear the epochs that were finished since, and ask the run to stop where it is pruned."""
        for entry in read_history(RunPaths(self.run_dir).metrics)[len(self.watcher.reported) :]:
            figures = {"loss": -entry.get("val_loss", math.nan), **entry.get("val_metrics", {})}
            value = figures.get(monitor)
            if self.watcher.epoch(entry["epoch"], math.nan if value is None else float(value)):
                if state_of(self.run_dir) == "running":
                    request_stop(self.run_dir)
                return


class _Searcher:
    def __init__(self, paths: StudyPaths, search: Search, stop: Stop, progress: Progress) -> None:
        self.paths, self.search, self.stop, self._progress = paths, search, stop, progress
        self.trials = Trials(paths, search.config().optuna, search.parsed_space(), search.batch)
        self._looked_at = 0.0

    def work(self) -> None:
        for first in range(0, self.search.trials, self.search.batch):
            if self.stop.is_set():
                return
            numbers = range(first, min(first + self.search.batch, self.search.trials))
            for number in numbers:
                self.trials.ask(number)
            running = [self._running(number) for number in numbers if self.trials.is_open(number)]
            if running and not self._train(running):
                return
            for trial in running:
                self._tell(trial)

    def _running(self, number: int) -> _Running:
        config = self.search.config(self.trials.all()[number].params)
        run_dir = self.paths.run(run_id(config))
        config.paths.run_dir = str(run_dir)
        self.trials.note_run(number, run_dir.name)
        return _Running(number, config, run_dir, self.trials.watcher(number))

    def _train(self, running: Sequence[_Running]) -> bool:
        """Train a batch; return whether it came to its end."""
        monitor = running[0].config.training.monitor

        def watch(phase: str, done: int, total: int) -> None:
            if time.monotonic() - self._looked_at > _LOOK_EVERY_S:
                self._looked_at = time.monotonic()
                for trial in running:
                    trial.look(monitor)
            best = self.best()
            text = f"best {best['value']:.4f}, " if best else ""
            self._progress(f"search ({text}{phase} {done}/{total})", running[0].number, self.search.trials)

        banks: dict[str, dict[str, _Running]] = {}
        for trial in running:
            trial.look(monitor)
            if not trial.watcher.pruned:
                banks.setdefault(bank_key(trial.config), {})[trial.run_dir.name] = trial
        for bank in banks.values():
            train_stack([t.config for t in bank.values()], [t.run_dir for t in bank.values()], self.stop, watch)
            if self.stop.is_set():
                return False
        for trial in running:
            trial.look(monitor)
        return True

    def _tell(self, trial: _Running) -> None:
        best = read_json(RunPaths(trial.run_dir).best_metrics) or {}
        monitor = trial.config.training.monitor
        figures = {"loss": -(best.get("val_loss") or math.nan), **best.get("val_metrics", {})}
        value = figures.get(monitor)
        failed = state_of(trial.run_dir) == "failed"
        self.trials.tell(trial.number, trial.watcher, math.nan if value is None else float(value), failed)

    def best(self) -> dict[str, Any] | None:
        ended = [row(trial) for trial in self.trials.all() if trial.state.name == "COMPLETE"]
        return max(ended, key=lambda entry: entry["value"]) if ended else None

    def summary(self) -> dict[str, Any]:
        best, trials = self.best(), self.trials.all()
        told = [trial for trial in trials if trial.state.is_finished()]
        params = trials[best["trial"]].params if best else {}
        return {
            "study_dir": str(self.paths.root),
            "trials": len(told),
            "pruned": sum(trial.state.name == "PRUNED" for trial in told),
            "failed": sum(trial.state.name == "FAIL" for trial in told),
            "stopped": len(told) < self.search.trials,
            "best": {"value": best["value"], "params": params, "run_dir": str(self.paths.run(best["run"]))}
            if best
            else None,
        }


def trials_of(paths: StudyPaths) -> list[Any]:
    """Return the trials of a search as Optuna keeps them.

    Raises:
        InputError: the folder holds no search.
    """
    search = read_search(paths.search)
    return Trials(paths, search.config().optuna, search.parsed_space(), search.batch).all()


def history(paths: StudyPaths) -> pd.DataFrame:
    """Return one row a trial of a search: number, state, value, epochs, run, parameters; errors as `trials_of`."""
    return pd.DataFrame([row(trial) for trial in trials_of(paths)])
