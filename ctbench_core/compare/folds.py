"""Compare recipes by K-fold: the mean over folds, seeds averaged within each fold, as a study compares them."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from ctbench_core.compare.comparability import ModelScores, keep_common, read_model_scores
from ctbench_core.compare.comparison import Comparison, Group, Pair, assemble, column_means, compared_layers
from ctbench_core.compare.primary import Primary
from ctbench_core.compare.tables import metric_rows
from ctbench_core.errors import InputError
from ctbench_core.inference import (
    Figures,
    kfold_difference,
    kfold_estimate,
    kfold_figures,
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

    @functools.cache
    def figures_of(layers: tuple[int, ...]) -> dict[str, Figures]:
        return kfold_figures(common.targets, common.scores[list(layers)], folds, common.patients, common.labels)

    for group in groups:
        figures = figures_of(tuple(group.layers))
        eligible = next(iter(figures.values())).eligible
        for one in figures.values():
            rows = metric_rows(group.name, kfold_estimate(one, share))
            metrics += [row | {"seeds": len(group.layers)} for row in rows]
    pairs = []
    for group in groups[1:]:
        mine, theirs = compared_layers(group, groups[0])
        first, second = figures_of(tuple(mine)), figures_of(tuple(theirs))
        values = {name: (column_means(one), column_means(second[name])) for name, one in first.items()}
        differences = kfold_difference(
            common.targets, common.scores[mine], common.scores[theirs], folds, common.patients, common.labels, share
        )
        pairs.append(Pair(group, groups[0], dict(differences), values))
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
