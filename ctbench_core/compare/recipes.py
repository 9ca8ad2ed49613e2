"""Compare recipes, each the same config with several seeds, over seeds and patients.

Shapes: S seeds of a recipe, N rows, C labels, R resamples.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ctbench_core.compare.comparability import CommonScores, ModelScores, keep_common, read_model_scores, unique_names
from ctbench_core.compare.comparison import LEVEL, MACRO, Comparison, adjust_differences, comparison_set, metric_rows
from ctbench_core.config import recipe_values
from ctbench_core.declared import compared_metrics
from ctbench_core.errors import InputError
from ctbench_core.inference import (
    RESAMPLES,
    Best,
    Estimate,
    RecipeEstimate,
    best_by_max_t,
    bootstrap_intervals,
    count_patients,
    difference_error,
    macro_error,
    macro_means,
    metric_dof,
    missing_interval_reasons,
    mixed_dof,
    recipe_intervals,
    resampled,
    satterthwaite,
    standard_error,
    t_test,
)
from ctbench_core.label_leakage import encoder_name
from ctbench_core.metrics import Floats, compared_metric_fn
from ctbench_core.runs import Disclosures, Run, open_run


def recipes_of(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Group runs by recipe, in the given order; a recipe is named by encoder and head, with a number if names repeat."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(json.dumps(recipe_values(run.config)), []).append(run)
    first = [group[0] for group in groups.values()]
    names = unique_names([_recipe_name(run) for run in first], [recipe_values(run.config) for run in first])
    return dict(zip(names, groups.values()))


def _recipe_name(run: Run) -> str:
    inputs = "" if run.config.model.inputs == "visual" else f" · {run.config.model.inputs}"
    return f"{encoder_name(run.config)} · {run.config.model.model_name}{inputs}"


def compare_recipes(run_dirs: Sequence[Path | str], on: str | None = None) -> Comparison:
    """Compare the recipes of stored runs with that of the first, over seeds and patients.

    Args:
        on: as `compare_runs`.

    Raises:
        InputError: one recipe only, no set in common, or no volume or finding in common.
    """
    runs = [open_run(folder) for folder in run_dirs]
    name, set_names = comparison_set(runs, on)
    own = {run.paths.root: one for run, one in zip(runs, set_names)}
    groups = recipes_of(runs)
    if len(groups) < 2:
        raise InputError(
            f"These {len(run_dirs)} runs are one recipe with different seeds: there is nothing to compare. Add runs of "
            "another recipe, or compare them as single runs."
        )
    roots = {title: [run.paths.root for run in group] for title, group in groups.items()}
    scores = {title: [read_model_scores(root, own[root]) for root in group] for title, group in roots.items()}
    return compare_scored_recipes(scores, name).with_runs(runs, set_names)


def compare_scored_recipes(
    recipes: Mapping[str, Sequence[ModelScores]], on: str, resamples: int = RESAMPLES
) -> Comparison:
    """Compare recipes, each given as the scores of its seeds, with the first of them.

    A metric is the mean over seeds (`recipe_intervals`; with one seed, that model's). The error of a difference of means
    has one part from patients, who are resampled alike for both, and one from the seeds of each recipe, which are
    independent. p belongs to the same t as the interval. ``common.scores`` of the `Comparison` has the scores of every
    seed.
    """
    models = [model for seeds in recipes.values() for model in seeds]
    common = dataclasses.replace(keep_common(models), names=list(recipes))
    parts = np.split(common.scores, np.cumsum([len(seeds) for seeds in recipes.values()])[:-1])
    estimates = [_estimate(common, scores, resamples) for scores in parts]
    rows = [
        row
        for name, recipe in zip(common.names[1:], estimates[1:])
        for metric in compared_metrics()
        for row in _difference_rows(name, metric, common, recipe, estimates[0])
    ]
    differences = adjust_differences(rows, len(recipes))
    settings: dict[str, Any] = {"resamples": resamples, "swaps": None, "unit": "seed and patient"}
    settings |= {"seeds": [len(scores) for scores in parts]}
    settings |= {"family": int(differences["p"].notna().sum()), "level": LEVEL}
    metrics = [
        row
        for name, recipe in zip(recipes, estimates)
        for metric in compared_metrics()
        for row in metric_rows(name, metric, common.labels, recipe.estimates[metric])
    ]
    best = _best(common, estimates)
    return Comparison(
        on,
        common,
        pd.DataFrame(metrics),
        differences,
        best,
        Disclosures(on, common.n, warnings=common.warnings),
        settings,
    )


@dataclasses.dataclass(frozen=True)
class _Recipe:
    """One recipe by metric: values (S, C), draws of their mean over seeds (R, C), and the estimate."""

    value: Mapping[str, Floats]
    draws: Mapping[str, Floats]
    estimates: Mapping[str, RecipeEstimate | Estimate]

    def seed_error(self, metric: str, label: int | None = None) -> tuple[float, int]:
        """Return the seed error of a label's mean, or of the macro mean, and the number of seeds."""
        estimate, count = self.estimates[metric], len(self.value[metric])
        if isinstance(estimate, Estimate):
            return 0.0, count
        return float(estimate.macro_seed_error if label is None else estimate.seed_error[label]), count


def _estimate(common: CommonScores, scores: Floats, resamples: int) -> _Recipe:
    value = compared_metric_fn(common.targets, scores, None)
    draws = resampled(compared_metric_fn, common.targets, scores, common.patients, resamples)
    estimates: Mapping[str, Any] = (
        recipe_intervals(common.targets, scores, common.patients, resamples=resamples)
        if len(scores) > 1
        else bootstrap_intervals(common.targets, scores[0], common.patients, resamples)
    )
    return _Recipe(value, {name: draw.mean(axis=1) for name, draw in draws.items()}, estimates)


def _difference_rows(
    name: str, metric: str, common: CommonScores, recipe: _Recipe, baseline: _Recipe
) -> list[dict[str, Any]]:
    n_patients = count_patients(common.targets, common.patients)
    means = np.stack([one.value[metric].mean(axis=0) for one in (recipe, baseline)])
    reasons = missing_interval_reasons(recipe.draws[metric] - baseline.draws[metric], n_patients)
    usable = np.array([reason is None for reason in reasons], bool) & ~np.isnan(means).any(axis=0)
    both = np.stack([recipe.draws[metric], baseline.draws[metric]], axis=1)
    error = difference_error(metric, means, both, n_patients)
    dof = metric_dof(metric, n_patients)
    delta = means[0] - means[1]
    head = {"a": name, "b": common.names[0], "metric": metric}
    rows = [head | _macro_row(metric, recipe, baseline, usable, error, dof)] if usable.any() else []
    for c, label in enumerate(common.labels):
        seeds = [one.seed_error(metric, c) for one in (recipe, baseline)]
        test = _test(float(delta[c]), error[c], dof[c], seeds if usable[c] else None)
        rows.append(head | {"label": label} | test | {"reason": reasons[c] or ""})
    return rows


def _macro_row(
    metric: str, recipe: _Recipe, baseline: _Recipe, usable: np.ndarray, error: Floats, dof: Floats
) -> dict[str, Any]:
    draws = macro_means(recipe.draws[metric][:, usable]) - macro_means(baseline.draws[metric][:, usable])
    spread = standard_error(recipe.draws[metric] - baseline.draws[metric])
    total_error = macro_error(draws[:, 0], error[usable], spread[usable])
    total_dof = satterthwaite(error[usable] ** 2, dof[usable])
    first, second = (one.value[metric][:, usable].mean(axis=1).mean() for one in (recipe, baseline))
    seeds = [one.seed_error(metric) for one in (recipe, baseline)]
    return {"label": MACRO} | _test(float(first - second), total_error, total_dof, seeds) | {"reason": ""}


def _test(delta: float, error: float, dof: float, seeds: list[tuple[float, int]] | None) -> dict[str, float]:
    """Return difference, interval and p from the patient error and the seed error of each recipe."""
    if seeds is None:
        return {"delta": delta, "lo": np.nan, "hi": np.nan, "p": np.nan}
    seed_errors = [(spread, count) for spread, count in seeds if count > 1]
    variances = [float(error) ** 2, *(float(spread) ** 2 for spread, _ in seed_errors)]
    total_error = float(np.sqrt(sum(variances)))
    total_dof = mixed_dof(variances, [float(dof), *(count - 1 for _, count in seed_errors)])
    low, high, p = t_test(delta, total_error, total_dof)
    return {"delta": delta, "lo": low, "hi": high, "p": p}


def _best(common: CommonScores, recipes: Sequence[_Recipe]) -> dict[str, Best]:
    """Return by metric the recipe with the best macro mean; marked only if it beats all others (max-T).

    Seeds count as a random sample: t noise with their spread is added to the draws.
    """
    n_patients = count_patients(common.targets, common.patients)
    best = {}
    for metric in compared_metrics():
        reasons = missing_interval_reasons(recipes[0].draws[metric], n_patients)
        usable = np.array([reason is None for reason in reasons], bool)
        if not usable.any():
            continue
        values, draws = [], []
        for number, recipe in enumerate(recipes):
            macros = recipe.value[metric][:, usable].mean(axis=1)
            means = macro_means(recipe.draws[metric][:, usable])[:, 0]
            if len(macros) > 1:
                noise = np.random.default_rng([0, number]).standard_t(len(macros) - 1, len(means))
                means = means + noise * macros.std(ddof=1) / np.sqrt(len(macros))
            values.append(float(macros.mean()))
            draws.append(means)
        best[metric] = best_by_max_t(np.array(values), np.stack(draws, axis=1), LEVEL)
    return best
