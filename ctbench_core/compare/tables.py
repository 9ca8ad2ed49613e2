"""Scores of several models brought to what they have in common: the same volumes, the same findings, the same labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ctbench_core.config import Config
from ctbench_core.errors import InputError
from ctbench_core.label_leakage import encoder_name
from ctbench_core.runs import VALIDATION, Run, open_run, recipe_of


@dataclass(frozen=True)
class Scored:
    """One model: its name, its run where it has one, and its table of scores (see ``scores.parquet``)."""

    name: str
    frame: pd.DataFrame
    run: Run | None = None

    @property
    def labels(self) -> list[str]:
        """The findings that it scores."""
        return [name.removeprefix("prob_") for name in self.frame if name.startswith("prob_")]


@dataclass(frozen=True)
class Common:
    """M models on common ground.

    Attributes:
        names: of the models. labels: the C common findings. volumes, exams, patients: strings (N,).
        targets: (N, C) in {0, 1, NaN}, those of the first model. scores: probabilities (M, N, C).
        left_out: volumes that not all models have. disagreeing: cells whose label differs between models.
    """

    names: list[str]
    labels: list[str]
    volumes: np.ndarray
    exams: np.ndarray
    patients: np.ndarray
    targets: np.ndarray
    scores: np.ndarray
    left_out: int
    disagreeing: int

    @property
    def n(self) -> dict[str, int]:
        """Count volumes, exams and patients."""
        named = {"volumes": self.volumes, "exams": self.exams, "patients": self.patients}
        return {name: len(np.unique(values)) for name, values in named.items()}


def tests_of(runs: Sequence[Run]) -> list[str]:
    """Name the sets that all runs were scored on: opened tests in order, then validation."""
    found = [set(run.evaluations()) for run in runs]
    names = sorted(set.intersection(*found)) if found else []
    return names + ([VALIDATION] if runs and all(run.paths.validation_scores.is_file() for run in runs) else [])


def scores_path(run: Run, name: str) -> Path:
    """Return a run's table of scores on one set."""
    return run.paths.validation_scores if name == VALIDATION else run.paths.evaluation(name).scores


def read_scored(run_dir: Path | str, name: str) -> Scored:
    """Read a run's scores on a test set, or on validation.

    Raises:
        InputError: the run has none.
    """
    run = open_run(run_dir)
    path = scores_path(run, name)
    if not path.is_file():
        known = ", ".join(tests_of([run])) or "none"
        raise InputError(
            f"{run_dir} has no scores on {name}. It has: {known}. Open the test set first (evaluate run=...)."
        )
    return Scored(run.name, pd.read_parquet(path), run)


def common_ground(models: Sequence[Scored]) -> Common:
    """Keep the volumes and findings that every model scores.

    Raises:
        InputError: nothing in common.
    """
    labels = [label for label in models[0].labels if all(label in other.labels for other in models[1:])]
    frames = [model.frame.drop_duplicates("volumename").set_index("volumename") for model in models]
    index = reduce(lambda kept, frame: kept[kept.isin(frame.index)], frames[1:], frames[0].index)
    if not labels or not len(index):
        what = "finding" if not labels else "volume"
        raise InputError(
            f"{' and '.join(model.name for model in models)} have no {what} in common: nothing to compare."
        )
    rows = [frame.loc[index] for frame in frames]
    targets = [_numbers(frame, "target_", labels) for frame in rows]
    disagreeing = sum(int((~_same(targets[0], other)).sum()) for other in targets[1:])
    every = len(set().union(*(frame.index for frame in frames)))
    return Common(
        names=unique_names([model.name for model in models]),
        labels=labels,
        volumes=index.to_numpy(str),
        exams=rows[0]["exam"].to_numpy(str),
        patients=rows[0]["patient"].to_numpy(str),
        targets=targets[0],
        scores=np.stack([_numbers(frame, "prob_", labels) for frame in rows]),
        left_out=every - len(index),
        disagreeing=disagreeing,
    )


def _numbers(frame: pd.DataFrame, prefix: str, labels: Sequence[str]) -> np.ndarray:
    return frame[[prefix + label for label in labels]].astype("Float64").to_numpy(np.float64, na_value=np.nan)


def _same(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return (first == second) | (np.isnan(first) & np.isnan(second))


def unique_names(names: Sequence[str]) -> list[str]:
    """Number names that occur more than once."""
    return [f"{name} ({names[:i].count(name) + 1})" if names.count(name) > 1 else name for i, name in enumerate(names)]


def run_names(runs: Sequence[Run]) -> list[str]:
    """Name runs as tables do: by their names, with the encoder in front where names alone do not tell them apart."""
    names = [run.name for run in runs]
    told = [f"{encoder_name(run.config)} · {run.name}" for run in runs]
    return unique_names([full if names.count(name) > 1 else name for name, full in zip(names, told)])


def _repeat(config: Config) -> dict[str, Any]:
    """Return which repeat of its recipe a run is."""
    return {"utils.seed": config.utils.seed, "data.kfold.fold": config.data.kfold.fold}


def config_differences(runs: Sequence[Run]) -> pd.DataFrame:
    """Return the settings in which runs differ: a row a key, a column a run; the seed and places included.

    A key that a run leaves at its default reads "default".
    """
    found: list[dict[str, Any]] = [recipe_of(run.config) | _repeat(run.config) for run in runs]
    keys = list(dict.fromkeys(key for one in found for key in one))
    table = {key: [str(one.get(key, "default")) for one in found] for key in keys}
    names = run_names(runs)
    rows = [{"setting": key, **dict(zip(names, values))} for key, values in table.items() if len(set(values)) > 1]
    return pd.DataFrame(rows, columns=["setting", *names])
