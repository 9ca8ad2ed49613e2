"""Decide what can be compared: models on common volumes, findings and labels, and published results.

Shapes: M models, N volumes, C findings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path

import numpy as np
import pandas as pd

from ctbench_core.config import KEYS, changed_keys, default_of, effective_settings, has_effect, value_text
from ctbench_core.errors import InputError, first_rows
from ctbench_core.formatting import UNDEFINED, plural
from ctbench_core.installation import reference_folder
from ctbench_core.runs import (
    VALIDATION,
    Run,
    label_columns,
    open_run,
    read_frame,
    run_names,
    score_labels,
    set_id_of,
    unique_names,
    volumes_digest_of,
)
from ctbench_core.stored import is_there
from ctbench_core.tables import parse_numbers, read_table

_PUBLISHED = reference_folder() / "published_results.csv"


@dataclass(frozen=True)
class ModelScores:
    """One model: its name, its table of scores (see ``scores.parquet``), and its run if it has one."""

    name: str
    frame: pd.DataFrame
    run: Run | None = None

    @property
    def labels(self) -> list[str]:
        """Return the findings with scores."""
        return score_labels(self.frame)


@dataclass(frozen=True)
class CommonScores:
    """The scores of M models on the volumes and findings that all of them have.

    Attributes:
        names: of the models. labels: the C common findings. volumes, exams, patients: strings (N,).
        targets: (N, C) in {0, 1, NaN}, those of the first model. scores: probabilities (M, N, C).
        left_out: the number of volumes that some model lacks. disagreeing: the number of labels that differ.
        warnings: what may be wrong with the comparison, one sentence each.
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
    warnings: list[str] = field(default_factory=list)

    @property
    def n(self) -> dict[str, int]:
        """Count volumes, exams and patients."""
        ids = {"volumes": self.volumes, "exams": self.exams, "patients": self.patients}
        return {name: len(np.unique(values)) for name, values in ids.items()}


def common_sets(runs: Sequence[Run]) -> dict[str, list[str]]:
    """Return the sets on which all runs have scores, by their name in the first run: their name in each run.

    Two runs share a test set whose identity or volumes are the same, whatever its files are called; otherwise one of
    the same name, of which the common volumes count. Test sets come first, by name, then validation.
    """
    if not runs:
        return {}
    shared = {name: [_name_in(run, name, runs[0]) for run in runs] for name in sorted(runs[0].evaluations())}
    sets = {name: [one for one in names if one] for name, names in shared.items() if None not in names}
    if all(run.paths.validation_scores.is_file() for run in runs):
        sets[VALIDATION] = [VALIDATION] * len(runs)
    return sets


def _name_in(run: Run, name: str, reference: Run) -> str | None:
    """Return what a run calls a test set of another run; None where it was not scored on it."""
    if run is reference:
        return name
    names = sorted(run.evaluations(), key=lambda other: other != name)  # that of the same name first
    for identify in (set_id_of, volumes_digest_of):
        wanted = identify(reference, name)
        if wanted is not None and (found := next((one for one in names if identify(run, one) == wanted), None)):
            return found
    return name if name in names else None


def scores_path(run: Run, name: str) -> Path:
    """Return the path of a run's scores on one set."""
    return run.paths.bundle(name).scores


def read_model_scores(run_dir: Path | str, name: str) -> ModelScores:
    """Read a run's scores on a test set or on validation.

    Raises:
        InputError: the run has none.
    """
    run = open_run(run_dir)
    path = scores_path(run, name)
    if not is_there(path):
        known = ", ".join(common_sets([run])) or "none"
        raise InputError(
            f"{run_dir} has no scores on {name}; it has: {known}. Evaluate the run on this test set first "
            "(evaluate run=...)."
        )
    return ModelScores(run.name, read_frame(path), run)


def keep_common(models: Sequence[ModelScores]) -> CommonScores:
    """Keep the volumes and findings for which every model has scores.

    Labels are those of the first model; where others have different ones, a warning says so.

    Raises:
        InputError: there are none, or a model has volumes without names, or several rows of one.
    """
    labels = [label for label in models[0].labels if all(label in other.labels for other in models[1:])]
    for model in models:
        _require_names(model)
    frames = [model.frame.set_index("volumename") for model in models]
    index = reduce(lambda common, frame: common[common.isin(frame.index)], frames[1:], frames[0].index)
    if not labels or not len(index):
        names = " and ".join(model.name for model in models)
        raise InputError(f"{names} have no {'volume' if labels else 'finding'} in common: nothing to compare.")
    rows = [frame.loc[index] for frame in frames]
    targets = [label_columns(frame, "target_", labels) for frame in rows]
    first = targets[0]
    every = len(set().union(*(frame.index for frame in frames)))
    same = [(first == other) | (np.isnan(first) & np.isnan(other)) for other in targets[1:]]
    return CommonScores(
        names=unique_names([model.name for model in models]),
        labels=labels,
        volumes=index.to_numpy(str),
        exams=rows[0]["exam"].to_numpy(str),
        patients=rows[0]["patient"].to_numpy(str),
        targets=first,
        scores=np.stack([label_columns(frame, "prob_", labels) for frame in rows]),
        left_out=every - len(index),
        disagreeing=sum(int((~mask).sum()) for mask in same),
        warnings=[
            *_few_in_common(len(index), every, rows[0]["patient"].nunique()),
            *(
                _difference_of_labels(models[0].name, model.name, labels, mask)
                for model, mask in zip(models[1:], same)
                if not mask.all()
            ),
        ],
    )


def _few_in_common(common: int, every: int, patients: int) -> list[str]:
    """Return a warning where less than half of all volumes are scored by every model."""
    if 2 * common >= every:
        return []
    return [
        f"The models were scored on different volumes: only {common:,} of {plural(every, 'volume')} are in all of them, "
        f"of {plural(patients, 'patient')}. The differences hold for these alone."
    ]


def _require_names(model: ModelScores) -> None:
    """Refuse a table of scores whose volumes have no names or share one: rows are never matched by their number."""
    names = model.frame["volumename"].astype(str)
    # Before format 2, a table of predictions without names stored the numbers of its rows.
    numbered = model.run is not None and model.run.status.kind == "score" and model.run.status.format < 2
    if (names == "").any() or (numbered and (names == np.arange(len(names)).astype(str)).all()):
        raise InputError(
            f"{model.name} has rows without names of their volumes, so they cannot be matched with those of another "
            "table. Add a column volumename to the table, or name its column in data.columns.volume, and score it again."
        )
    repeated = names[names.duplicated()].unique()
    if len(repeated):
        raise InputError(
            f"{model.name} has several rows of {first_rows(repeated, 'volume')}. Keep one row a volume (prepare "
            "collapse=any or majority joins them), and score the table again."
        )


def _difference_of_labels(first: str, other: str, labels: Sequence[str], same: np.ndarray) -> str:
    """Say in which findings two models' labels of the same volumes differ; ``same`` is a mask of shape (N, C)."""
    counts = {label: int(count) for label, count in zip(labels, (~same).sum(axis=0)) if count}
    named = ", ".join(f"{label} {count:,}" for label, count in list(counts.items())[:5])
    more = f" and {len(counts) - 5} more findings" if len(counts) > 5 else ""
    return (
        f"{sum(counts.values()):,} of {same.size:,} labels of {other} differ from those of {first} ({named}{more}): "
        f"those of {first} are used for both."
    )


def differing_parts(names: Sequence[str]) -> list[str]:
    """Return names without the parts that all have, for narrow headings: ``seed 1`` and ``seed 2``; whole if equal then."""
    parts = [name.split(" · ") for name in names]
    shared = set.intersection(*map(set, parts))
    short = [" · ".join(part for part in own if part not in shared) for own in parts]
    return short if all(short) and len(set(short)) == len(names) else list(names)


def config_differences(runs: Sequence[Run], names: Sequence[str] = ()) -> pd.DataFrame:
    """Return the settings in which runs differ, seed and fold included: a row a key, a column a run.

    A setting without effect on a run is a dash there; one without effect on all is left out.

    Args:
        names: of the runs; by default those that `run_names` gives them beside one another.
    """
    changed = [changed_keys(run.config) for run in runs]
    own = [effective_settings(one) for one in changed]
    columns, rows = names or run_names(runs), []
    for key in KEYS:
        if any(key in one for one in own):
            values = [
                value_text(key, one.get(key, default_of(key))) if has_effect(every, key) else UNDEFINED
                for one, every in zip(own, changed)
            ]
            rows += [{"setting": key, **dict(zip(columns, values))}] if len(set(values)) > 1 else []
    return pd.DataFrame(rows, columns=["setting", *columns])


def published_frame(
    metric: str, labels: Sequence[str], volumes: int, inputs: str, path: Path | None = None
) -> pd.DataFrame:
    """Return the published classification results of a metric (auroc, auprc, f1_macro).

    Column ``why`` says what differs from ours, or is not stated. None can be tested: no scores of volumes are published.
    A model with several results of one kind, as of two versions of a paper, is named with the source of each.

    Args:
        labels: the findings of our mean; volumes: the number of our volumes; inputs: visual, text or concat.
    """
    table = read_table(path or _PUBLISHED)[0]
    table = table[(table["task"] == "classification") & (table["metric"] == metric)].copy()
    numbers = ("value", "sd", "n", "findings")
    table = table.assign(**{name: parse_numbers(table[name])[0] for name in numbers if name in table})
    table["why"] = [_differences_of(row, len(labels), volumes, inputs) for row in table.to_dict("records")]
    is_alike = table.duplicated(["model", "findings", "cohort", "n", "protocol"], keep=False)
    table["model"] = table["model"].mask(is_alike, table["model"] + ", " + table["source"])
    return table.drop(columns=["task"]).reset_index(drop=True)


def _differences_of(row: dict, findings: int, volumes: int, inputs: str) -> str:
    """List what differs between a published result and ours, or is not stated."""
    reasons = []
    if row["n"] != volumes:
        theirs = "volumes not stated" if pd.isna(row["n"]) else f"{row['n']:,.0f} volumes"
        reasons.append(f"{theirs}, ours {volumes:,}")
    if row["findings"] != findings:
        theirs = "findings not stated" if pd.isna(row["findings"]) else f"{row['findings']:.0f} findings"
        reasons.append(f"{theirs}, ours {findings}")
    if "not stated" in str(row["protocol"]) or "unknown" in str(row["protocol"]):
        reasons.append("training not stated")
    if inputs != "visual":
        reasons.append(f"ours uses {inputs} inputs")
    if str(row["evidence"]).startswith("second"):
        reasons.append("quoted by another source")
    return "; ".join(reasons) or "nothing that is stated"
