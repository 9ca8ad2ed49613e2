"""Compare recipes, each the same config with several seeds, over seeds and patients."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from ctbench_core.compare.comparability import CommonScores, ModelScores, keep_common, read_model_scores
from ctbench_core.compare.comparison import Comparison, Group, Matched, compare_groups, comparison_set, mark_of
from ctbench_core.compare.folds import OUT_OF_FOLD, compare_folds, fold_set, is_kfold
from ctbench_core.compare.primary import Primary, primary_of
from ctbench_core.config import KEYS, Config, get_key, recipe_values
from ctbench_core.dataset import ManifestCache, seed_overlap
from ctbench_core.errors import InputError
from ctbench_core.inference import Estimate, estimate, measure
from ctbench_core.runs import Run, open_run, recipe_names, unique_names


def recipes_of(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Group runs by recipe, in the given order; a recipe has the name that `recipe_names` gives it beside the others."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(json.dumps(recipe_values(run.config)), []).append(run)
    return dict(zip(recipe_names([group[0].config for group in groups.values()]), groups.values()))


def compare_recipes(run_dirs: Sequence[Path | str], on: str | None = None) -> Comparison:
    """Compare the recipes of stored runs with that of the first, over seeds and patients.

    Args:
        on: as `compare_runs`; by default the folds that the runs of a K-fold held out, together.

    Raises:
        InputError: one recipe only, no set in common, or no volume or finding in common.
    """
    runs = [open_run(folder) for folder in run_dirs]
    if on in (None, OUT_OF_FOLD) and is_kfold(runs):
        set_names = [fold_set(run) for run in runs]
        return compare_folds(_several_recipes(runs), primary_of(runs, set_names[0])).with_runs(runs, set_names)
    _several_recipes(runs)
    name, set_names = comparison_set(runs, on)
    return match_recipes(run_dirs, name).compare().with_runs(runs, set_names)


def _several_recipes(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Group runs by recipe.

    Raises:
        InputError: there is one recipe only.
    """
    recipes = recipes_of(runs)
    if len(recipes) < 2:
        raise InputError(
            f"These {len(runs)} runs are one recipe with different seeds: there is nothing to compare. Add runs of "
            "another recipe, or compare them as single runs."
        )
    return recipes


def match_recipes(run_dirs: Sequence[Path | str], on: str | None = None) -> Matched:
    """Match the recipes of stored runs on the common volumes and findings of all of them.

    Args:
        on: as `compare_runs`.

    Raises:
        InputError: as `compare_recipes`.
    """
    runs = [open_run(folder) for folder in run_dirs]
    recipes = _several_recipes(runs)
    name, set_names = comparison_set(runs, on)
    own = {run.paths.root: one for run, one in zip(runs, set_names)}
    scores = {
        title: {
            seed: read_model_scores(run.paths.root, own[run.paths.root])
            for seed, run in zip(unique_names([_repeat_name(run.config) for run in group]), group)
        }
        for title, group in recipes.items()
    }
    common, groups = _group_seeds(scores)
    return Matched(name, common, groups, list(recipes.values()), primary_of(runs, name))


def estimate_recipe(run_dirs: Sequence[Path | str], on: str) -> dict[str, Estimate] | None:
    """Return the metrics of one recipe on a test set with their intervals, over seeds and patients, by name.

    None for folds of a K-fold, whose test sets differ: their study gives the interval of their mean.

    Raises:
        InputError: no volume or finding is common to the runs.
    """
    runs = [open_run(folder) for folder in run_dirs]
    if is_kfold(runs):
        return None
    common = keep_common([read_model_scores(run.paths.root, on) for run in runs])
    overlap = seed_overlap(runs[0].config, ManifestCache()) if len(runs) > 1 else 0.0
    figures = measure(common.targets, common.scores, common.patients, common.labels)
    return {name: estimate(one, overlap=overlap) for name, one in figures.items()}


def _repeat_name(config: Config) -> str:
    """Name a repeat of a recipe by its seed, and by its other keys of repeats where they are set."""
    values = [get_key(config, name) for name, info in KEYS.items() if info.repeats]
    return " ".join(str(value) for value in values if value is not None)


def compare_scored_recipes(
    recipes: Mapping[str, Mapping[str, ModelScores]],
    on: str,
    overlaps: Mapping[str, float] | None = None,
    primary: Primary | None = None,
) -> Comparison:
    """Compare recipes, each given as the scores of its seeds by their names, with the first of them.

    ``common.scores`` of the `Comparison` has the scores of every seed.

    Args:
        overlaps: by recipe, the mean share of training patients that two seeds have in common; 0 by default.
    """
    common, groups = _group_seeds(recipes)
    groups = [dataclasses.replace(group, overlap=(overlaps or {}).get(group.name, 0.0)) for group in groups]
    return compare_groups(common, groups, on, primary)


def _group_seeds(recipes: Mapping[str, Mapping[str, ModelScores]]) -> tuple[CommonScores, list[Group]]:
    """Return the common scores of all seeds, and the layers of each recipe in them."""
    common = keep_common([model for seeds in recipes.values() for model in seeds.values()])
    groups: list[Group] = []
    for name, seeds in recipes.items():
        start = groups[-1].layers[-1] + 1 if groups else 0
        layers = list(range(start, start + len(seeds)))
        groups.append(Group(name, layers, list(seeds), mark=mark_of(list(seeds.values()))))
    return common, groups
