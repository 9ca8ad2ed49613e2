"""Decide what can be compared: models on common volumes, findings and labels, and published results.

Shapes: M models, N volumes, C findings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ctbench_core.errors import InputError
from ctbench_core.label_leakage import encoder_name
from ctbench_core.runs import VALIDATION, Run, open_run, recipe_of

_PUBLISHED = Path(__file__).resolve().parents[2] / "data" / "reference" / "published_results.csv"


@dataclass(frozen=True)
class ModelScores:
    """One model: its name, its table of scores (see ``scores.parquet``), and its run if it has one."""

    name: str
    frame: pd.DataFrame
    run: Run | None = None

    @property
    def labels(self) -> list[str]:
        """Return the findings with scores."""
        return [name.removeprefix("prob_") for name in self.frame if name.startswith("prob_")]


@dataclass(frozen=True)
class CommonScores:
    """The scores of M models on the volumes and findings that all of them have.

    Attributes:
        names: of the models. labels: the C common findings. volumes, exams, patients: strings (N,).
        targets: (N, C) in {0, 1, NaN}, those of the first model. scores: probabilities (M, N, C).
        left_out: the number of volumes that some model lacks. disagreeing: the number of labels that differ.
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
        ids = {"volumes": self.volumes, "exams": self.exams, "patients": self.patients}
        return {name: len(np.unique(values)) for name, values in ids.items()}


def common_sets(runs: Sequence[Run]) -> list[str]:
    """Return the sets on which all runs have scores: test sets by name, then validation."""
    tests = [set(run.evaluations()) for run in runs]
    names = sorted(set.intersection(*tests)) if tests else []
    return names + ([VALIDATION] if runs and all(run.paths.validation_scores.is_file() for run in runs) else [])


def scores_path(run: Run, name: str) -> Path:
    """Return the path of a run's scores on one set."""
    return run.paths.validation_scores if name == VALIDATION else run.paths.evaluation(name).scores


def read_model_scores(run_dir: Path | str, name: str) -> ModelScores:
    """Read a run's scores on a test set or on validation.

    Raises:
        InputError: the run has none.
    """
    run = open_run(run_dir)
    path = scores_path(run, name)
    if not path.is_file():
        known = ", ".join(common_sets([run])) or "none"
        raise InputError(
            f"{run_dir} has no scores on {name}; it has: {known}. Evaluate the run on this test set first "
            "(evaluate run=...)."
        )
    return ModelScores(run.name, pd.read_parquet(path), run)


def keep_common(models: Sequence[ModelScores]) -> CommonScores:
    """Keep the volumes and findings for which every model has scores.

    Raises:
        InputError: there are none.
    """
    labels = [label for label in models[0].labels if all(label in other.labels for other in models[1:])]
    frames = [model.frame.drop_duplicates("volumename").set_index("volumename") for model in models]
    index = reduce(lambda common, frame: common[common.isin(frame.index)], frames[1:], frames[0].index)
    if not labels or not len(index):
        names = " and ".join(model.name for model in models)
        raise InputError(f"{names} have no {'volume' if labels else 'finding'} in common: nothing to compare.")
    rows = [frame.loc[index] for frame in frames]
    targets = [label_columns(frame, "target_", labels) for frame in rows]
    first = targets[0]
    same = [(first == other) | (np.isnan(first) & np.isnan(other)) for other in targets[1:]]
    return CommonScores(
        names=unique_names([model.name for model in models]),
        labels=labels,
        volumes=index.to_numpy(str),
        exams=rows[0]["exam"].to_numpy(str),
        patients=rows[0]["patient"].to_numpy(str),
        targets=first,
        scores=np.stack([label_columns(frame, "prob_", labels) for frame in rows]),
        left_out=len(set().union(*(frame.index for frame in frames))) - len(index),
        disagreeing=sum(int((~mask).sum()) for mask in same),
    )


def label_columns(frame: pd.DataFrame, prefix: str, labels: Sequence[str]) -> np.ndarray:
    """Return the columns with a prefix of these findings as float64 (N, C), NaN where blank."""
    return frame[[prefix + label for label in labels]].astype("Float64").to_numpy(np.float64, na_value=np.nan)


def unique_names(names: Sequence[str]) -> list[str]:
    """Number names that occur more than once."""
    return [f"{name} ({names[:i].count(name) + 1})" if names.count(name) > 1 else name for i, name in enumerate(names)]


def run_names(runs: Sequence[Run]) -> list[str]:
    """Return the names of runs for tables; equal names get the encoder in front, and a number if still equal."""
    names = [run.name for run in runs]
    return unique_names(
        [f"{encoder_name(run.config)} · {run.name}" if names.count(run.name) > 1 else run.name for run in runs]
    )


def config_differences(runs: Sequence[Run]) -> pd.DataFrame:
    """Return the settings in which runs differ, seed and fold included: a row a key, a column a run.

    A key at its default reads "default".
    """
    settings: list[dict[str, Any]] = [
        recipe_of(run.config) | {"utils.seed": run.config.utils.seed, "data.kfold.fold": run.config.data.kfold.fold}
        for run in runs
    ]
    keys = dict.fromkeys(key for one in settings for key in one)
    table = {key: [str(one.get(key, "default")) for one in settings] for key in keys}
    names = run_names(runs)
    rows = [{"setting": key, **dict(zip(names, values))} for key, values in table.items() if len(set(values)) > 1]
    return pd.DataFrame(rows, columns=["setting", *names])


def published_frame(
    metric: str, labels: Sequence[str], volumes: int, inputs: str, path: Path | None = None
) -> pd.DataFrame:
    """Return the published classification results of a metric (auroc, auprc, f1_macro), with ``why`` for each.

    ``comparable`` is True only where cohort size, number of findings and adaptation are stated and agree; ``why`` gives
    the reasons.

    Args:
        labels: the findings of our mean; volumes: the number of our volumes; inputs: visual, text or concat.
    """
    path = path or _PUBLISHED
    if not path.is_file():
        return pd.DataFrame(columns=["model", "value", "protocol", "source", "evidence", "comparable", "why"])
    table = pd.read_csv(path)
    table = table[(table["task"] == "classification") & (table["metric"] == metric)].copy()
    table["why"] = [_why_not_comparable(row, len(labels), volumes, inputs) for row in table.to_dict("records")]
    table["comparable"] = table["why"] == ""
    table.loc[table["comparable"], "why"] = "same number of volumes and findings, adaptation stated"
    return table.drop(columns=["task"]).reset_index(drop=True)


def _why_not_comparable(row: dict, findings: int, volumes: int, inputs: str) -> str:
    reasons = []
    if pd.isna(row["n"]) or int(float(row["n"])) != volumes:
        theirs = "not stated" if pd.isna(row["n"]) else f"{int(float(row['n'])):,} volumes"
        reasons.append(f"cohort {theirs}, ours {volumes:,}")
    if pd.isna(row["findings"]) or int(float(row["findings"])) != findings:
        theirs = "not stated" if pd.isna(row["findings"]) else f"{int(float(row['findings']))}"
        reasons.append(f"findings {theirs}, ours {findings}")
    if "not stated" in str(row["protocol"]) or "unknown" in str(row["protocol"]):
        reasons.append("adaptation not stated")
    if inputs != "visual":
        reasons.append(f"ours uses {inputs} inputs")
    if str(row["evidence"]).startswith("second"):
        reasons.append("result quoted second-hand")
    return "; ".join([*reasons, "label digest not published"])
