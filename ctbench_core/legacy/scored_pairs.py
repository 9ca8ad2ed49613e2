"""Compare two label sources at one budget by the scores of their paired runs, as studies compare two recipes.

Shapes: S seeds, N volumes, C findings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce

import numpy as np
import pandas as pd

from ctbench_core.dataset import seed_overlap
from ctbench_core.declared import averaged_metrics
from ctbench_core.inference import (
    MACRO,
    Difference,
    Estimate,
    estimate,
    kfold_difference,
    kfold_estimate,
    kfold_figures,
    mean_test_share,
    measure,
    recipe_difference,
)
from ctbench_core.metrics import Floats
from ctbench_core.runs import label_columns, open_run, read_frame, score_labels
from ctbench_core.stored import is_there

FOLD, SEED = "cv_fold", "utils_seed"
PRIMARY = "test_primary_"  # prefix of the columns of a macro mean over a run's test sets
SEEDS_AND_PATIENTS, FOLDS = "seeds and patients", "folds"


@dataclass(frozen=True)
class Contrast:
    """Intervals of both sources and of their ``delta`` by name, p of the delta, what they cover, and why there are none."""

    bounds: Mapping[str, tuple[float, float]]
    p: float
    covers: str
    reason: str


@dataclass(frozen=True)
class _Scores:
    """Scores (S, N, C) of both sources on common volumes, by fold where there are folds."""

    first: Floats
    second: Floats
    targets: Floats
    patients: np.ndarray
    findings: list[str]
    folds: np.ndarray | None


def run_column(name: str) -> str:
    """Return the column of pairs that holds the folders of a source's runs."""
    return f"run_dir_{name}"


def contrast_scores(pairs: pd.DataFrame, names: tuple[str, str]) -> dict[str, Contrast]:
    """Compare two sources in every macro mean, by its column; empty where the scores of the runs do not allow it.

    They do not where runs have several test sets, no volumes in common, other labels, or seeds that differ by fold.
    """
    scores = _read(pairs, names)
    if scores is None:
        return {}
    macros = {metric.name: metric.macro for metric in averaged_metrics()}
    metrics = list(macros)
    targets, first, second = scores.targets, scores.first, scores.second
    patients, findings, folds = scores.patients, scores.findings, scores.folds
    gaps: Mapping[str, Difference]
    sides: list[dict[str, Estimate]] = []
    if folds is not None:
        share, covers = mean_test_share(folds, patients), FOLDS
        for own in (first, second):
            figures = kfold_figures(targets, own, folds, patients, findings, metrics)
            sides.append({name: kfold_estimate(one, share) for name, one in figures.items()})
        gaps = kfold_difference(targets, first, second, folds, patients, findings, share, metrics=metrics)
    else:
        overlap = max(seed_overlap(open_run(pairs[run_column(name)].iloc[0]).config) for name in names)
        covers = SEEDS_AND_PATIENTS
        for own in (first, second):
            figures = measure(targets, own, patients, findings, metrics)
            sides.append({name: estimate(one, overlap=overlap) for name, one in figures.items()})
        seeds = [str(k) for k in range(len(first))]
        gaps = recipe_difference(targets, first, second, (seeds, seeds), patients, findings, overlap, metrics)
    return {
        f"{PRIMARY}{macro}": _contrast(names, (sides[0][metric], sides[1][metric]), gaps[metric], covers)
        for metric, macro in macros.items()
    }


def _contrast(names: tuple[str, str], sides: tuple[Estimate, Estimate], gap: Difference, covers: str) -> Contrast:
    """Return the intervals of the macro mean, the last column but for that of the eligible findings."""
    place = gap.at(MACRO)
    bounds = {name: _pair(one.bounds[one.at(MACRO)]) for name, one in zip(names, sides)}
    bounds["delta"] = _pair(gap.bounds[place])
    reason = "" if place is None else gap.reasons[place] or ""
    return Contrast(bounds, float(gap.p[place]), f"{covers}, {gap.question}", reason)


def _pair(bounds: Floats) -> tuple[float, float]:
    return float(bounds[0]), float(bounds[1])


def _read(pairs: pd.DataFrame, names: tuple[str, str]) -> _Scores | None:
    is_fold = FOLD in pairs and bool(pairs[FOLD].notna().all())
    groups = [own for _, own in pairs.groupby(FOLD)] if is_fold else [pairs]
    if len({len(own) for own in groups}) > 1 or (is_fold and len(groups) < 2):
        return None
    parts = [_common(own.sort_values(SEED) if SEED in own else own, names) for own in groups]
    known = [part for part in parts if part is not None]
    if len(known) < len(parts) or len({tuple(part.findings) for part in known}) > 1:
        return None
    return _Scores(
        np.concatenate([part.first for part in known], axis=1),
        np.concatenate([part.second for part in known], axis=1),
        np.concatenate([part.targets for part in known]),
        np.concatenate([part.patients for part in known]),
        known[0].findings,
        np.repeat(np.arange(len(known)), [len(part.targets) for part in known]) if is_fold else None,
    )


def _common(pairs: pd.DataFrame, names: tuple[str, str]) -> _Scores | None:
    """Return the scores of all runs of both sources on their one test set in common; None without one."""
    runs = [open_run(folder) for name in names for folder in pairs[run_column(name)]]
    stems = set.intersection(*(set(run.evaluations()) for run in runs))
    if len(stems) != 1:
        return None
    files = [run.paths.evaluation(next(iter(stems))).scores for run in runs]
    frames = [read_frame(file).set_index("volumename") for file in files if is_there(file)]
    if len(frames) < len(runs) or not all(frame.index.is_unique for frame in frames):
        return None
    volumes = reduce(lambda index, frame: index.intersection(frame.index, sort=False), frames[1:], frames[0].index)
    findings = score_labels(frames[0])
    if not len(volumes) or any(score_labels(frame) != findings for frame in frames):
        return None
    rows = [frame.loc[volumes] for frame in frames]
    targets = [label_columns(frame, "target_", findings) for frame in rows]
    if not all(np.array_equal(targets[0], other, equal_nan=True) for other in targets):
        return None
    scores = np.stack([label_columns(frame, "prob_", findings) for frame in rows])
    seeds = len(pairs)
    return _Scores(scores[:seeds], scores[seeds:], targets[0], rows[0]["patient"].to_numpy(), findings, None)
