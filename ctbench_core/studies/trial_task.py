"""Train the trials of a search that share a bank, wherever an executor runs them."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ctbench_core.progress import Progress
from ctbench_core.studies.bank_task import DONE, LEFT, BankOutcome, train_bank
from ctbench_core.studies.identity import former_defaults
from ctbench_core.studies.layout import StudyPaths
from ctbench_core.studies.search import Search, read_search
from ctbench_core.studies.workers import StopEvent


def read_planned(paths: StudyPaths) -> Search:
    """Read the search of a folder with the defaults under which it was planned."""
    search = read_search(paths.search)
    if search.defaults:
        return search
    started = (file.parent for file in sorted(paths.root.glob("*/config.yaml")))
    return dataclasses.replace(search, defaults=former_defaults(started, search.keys_set()))


def train_trials(
    folder: str, trials: Mapping[str, Mapping[str, Any]], *, stop: threading.Event, progress: Progress
) -> BankOutcome:
    """Train the trials of one bank: their drawn parameters by the names of their runs.

    Raises:
        InputError: the folder holds no search, or a run directory holds another run.
    """
    paths = StudyPaths(Path(folder))
    search = read_planned(paths)
    configs, run_dirs = [search.config(params) for params in trials.values()], [paths.run(name) for name in trials]
    for config, run_dir in zip(configs, run_dirs):
        config.paths.run_dir = str(run_dir)
    stop_event = StopEvent(paths, stop)
    errors = train_bank(configs, run_dirs, stop_event, progress)
    refused = [str(error) for error in errors.values() if isinstance(error.__cause__, OSError)]
    texts = {name: str(error) for name, error in errors.items()}
    return BankOutcome(LEFT if stop_event.is_set() else DONE, texts, refused[0] if refused else "")
