"""Compare recipes by K-fold: the mean over folds, seeds averaged within each fold, as a study compares them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from ctbench_core.compare.comparability import CommonScores, ModelScores, keep_common, read_model_scores
from ctbench_core.compare.comparison import Comparison, Group, Pair, assemble
from ctbench_core.compare.primary import Primary
from ctbench_core.compare.tables import metric_rows
from ctbench_core.errors import InputError
from ctbench_core.inference import (
    Difference,
    kfold_difference,
    kfold_estimate,
    kfold_figures,
    match_seeds,
    mean_test_share,
)
from ctbench_core.runs import Run

OUT_OF_FOLD = "out of fold"


def fold_set(run: Run) -> str:
    """Return the name of the test set that a run of a K-fold held out."""
    return f"fold_{run.config.data.kfold.fold}"


def is_kfold(runs: Sequence[Run]) -> bool:
    """Whether all runs are of K-folds, each with scores on the fold that it held out."""
    return all(run.config.data.kfold.folds and fold_set(run) in run.evaluations() for run in runs)


def compare_folds(recipes: Mapping[str, Sequence[Run]], primary: Primary | None = None) -> Comparison:
    """Compare the recipes of K-fold runs with the first; a seed counts when all its folds are given.

    Raises:
        InputError: a recipe has no complete seed, or there is no volume or finding in common.
    """
    groups: list[Group] = []
    models: list[ModelScores] = []
    for name, runs in recipes.items():
        seeds = _complete_seeds(name, runs)
        groups.append(Group(name, list(range(len(models), len(models) + len(seeds))), list(seeds)))
        models += seeds.values()
    common = keep_common(models)
    folds = models[0].frame.set_index("volumename").loc[common.volumes, "fold"].to_numpy(str)
    share = mean_test_share(folds, common.patients)
    metrics, eligible = [], list[str]()
    for group in groups:
        scores = common.scores[group.layers]
        figures = kfold_figures(common.targets, scores, folds, common.patients, common.labels)
        eligible = next(iter(figures.values())).eligible
        for one in figures.values():
            rows = metric_rows(group.name, kfold_estimate(one, share))
            metrics += [row | {"seeds": len(group.layers)} for row in rows]
    pairs = [Pair(group, groups[0], _difference(common, group, groups[0], folds, share)) for group in groups[1:]]
    settings = {"folds": len(np.unique(folds)), "test_share": share}
    return assemble(common, groups, metrics, pairs, {}, eligible, OUT_OF_FOLD, primary, settings)


def _complete_seeds(name: str, runs: Sequence[Run]) -> dict[str, ModelScores]:
    """Return the scores of every volume by the run that held it out, for each seed with all its folds."""
    by_seed: dict[str, dict[int, Run]] = {}
    for run in runs:
        by_seed.setdefault(str(run.config.utils.seed), {})[run.config.data.kfold.fold] = run
    complete = {}
    for seed, folds in by_seed.items():
        first = next(iter(folds.values()))
        if len(folds) < (first.config.data.kfold.folds or 0):
            continue
        frames = [
            read_model_scores(one.paths.root, fold_set(one)).frame.assign(fold=fold_set(one)) for one in folds.values()
        ]
        complete[seed] = ModelScores(f"{name}, seed {seed}", pd.concat(frames).drop_duplicates("volumename"), first)
    if not complete:
        raise InputError(f"{name} has no seed with all its folds. Give the runs of every fold, each evaluated.")
    return complete


def _difference(
    common: CommonScores, first: Group, second: Group, folds: np.ndarray, share: float
) -> dict[str, Difference]:
    rows, others, _ = match_seeds(first.seeds, second.seeds)
    mine = common.scores[[first.layers[k] for k in rows]]
    theirs = common.scores[[second.layers[k] for k in others]]
    return dict(kfold_difference(common.targets, mine, theirs, folds, common.patients, common.labels, share))
