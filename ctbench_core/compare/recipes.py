"""Compare recipes: the same config with several seeds, judged over seeds and patients.

Shapes: G recipes, S seeds of one, N rows, C labels, R resamples.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import stdtr

from ctbench_core.compare.comparison import LEVEL, MACRO, Comparison, adjusted, common_set, figure_rows
from ctbench_core.compare.tables import Common, Scored, common_ground, read_scored, unique_names
from ctbench_core.errors import InputError
from ctbench_core.inference import (
    METRICS,
    RESAMPLES,
    Best,
    Estimate,
    Evidence,
    RecipeEstimate,
    best_by_max_t,
    bootstrap_intervals,
    difference_error,
    dof_of,
    evidence,
    inflation,
    macro_draws,
    mixed_freedom,
    no_interval,
    quantile,
    recipe_intervals,
    resampled,
    satterthwaite,
    standard_error,
)
from ctbench_core.label_leakage import encoder_name
from ctbench_core.metrics import Floats, ranking_figures
from ctbench_core.runs import Disclosures, Run, disclosures_of, open_run, recipe_of


def recipes_of(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Group runs by recipe, in the order given; a recipe is named by encoder and head, else by what tells it apart."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(json.dumps(recipe_of(run.config), sort_keys=True), []).append(run)
    names = unique_names([_title(group[0]) for group in groups.values()])
    return dict(zip(names, groups.values()))


def _title(run: Run) -> str:
    inputs = "" if run.config.model.inputs == "visual" else f" · {run.config.model.inputs}"
    return f"{encoder_name(run.config)} · {run.config.model.model_name}{inputs}"


def compare_recipes(run_dirs: Sequence[Path | str], on: str | None = None) -> Comparison:
    """Compare the recipes of stored runs with that of the first, over seeds and patients.

    Args:
        on: as `compare_runs`.

    Raises:
        InputError: one recipe only, no set in common, or nothing else in common.
    """
    name = common_set(run_dirs, on)
    groups = recipes_of([open_run(folder) for folder in run_dirs])
    if len(groups) < 2:
        raise InputError(
            f"These {len(run_dirs)} runs are one recipe with different seeds: there is nothing to compare. Give runs of "
            "another recipe too, or compare them as single runs."
        )
    scored = {title: [read_scored(run.paths.root, name) for run in runs] for title, runs in groups.items()}
    found = compare_scored_recipes(scored, name)
    every = [run for runs in groups.values() for run in runs]
    return dataclasses.replace(found, marks=disclosures_of(every, name, n=found.common.n))


def compare_scored_recipes(recipes: Mapping[str, Sequence[Scored]], on: str, resamples: int = RESAMPLES) -> Comparison:
    """Compare recipes, each given as the scores of its seeds, with the first of them.

    A figure is the mean over seeds (`recipe_intervals`; of one seed, that model's). The error of a difference of means
    has a part of the patients, resampled alike for both, and a part of each recipe's seeds, taken as independent; p is
    that of the t whose interval it is. Of the `Comparison`, ``common.scores`` holds the scores of every seed.
    """
    flat = [one for seeds in recipes.values() for one in seeds]
    common = dataclasses.replace(common_ground(flat), names=list(recipes))
    ends = np.cumsum([len(seeds) for seeds in recipes.values()])[:-1]
    parts = np.split(common.scores, ends)
    judged = [_recipe(common, scores, resamples) for scores in parts]
    rows = [
        row
        for name, mine in zip(common.names[1:], judged[1:])
        for metric in METRICS
        for row in _difference_rows(name, metric, common, mine, judged[0])
    ]
    differences = adjusted(rows, len(recipes))
    settings: dict[str, Any] = {
        "resamples": resamples,
        "swaps": None,
        "unit": "seed and patient",
        "seeds": [len(p) for p in parts],
    }
    settings |= {"family": int(differences["p"].notna().sum()), "level": LEVEL}
    figures = [
        row
        for name, one in zip(recipes, judged)
        for metric in METRICS
        for row in figure_rows(name, metric, common.labels, one.found[metric])
    ]
    return Comparison(
        on, common, pd.DataFrame(figures), differences, _best(common, judged), Disclosures(on, common.n), settings
    )


@dataclasses.dataclass(frozen=True)
class _Recipe:
    """One recipe by metric: figures (S, C), draws of their mean over seeds (R, C), and its estimate."""

    value: Mapping[str, Floats]
    draws: Mapping[str, Floats]
    found: Mapping[str, RecipeEstimate | Estimate]

    def seeds(self, metric: str, label: int | None = None) -> tuple[float, int]:
        """Return the error that the seeds add to the mean of a label, or to the macro mean, and how many there are."""
        found, count = self.found[metric], len(self.value[metric])
        if isinstance(found, Estimate):
            return 0.0, count
        return float(found.macro_seed_error if label is None else found.seed_error[label]), count


def _recipe(common: Common, scores: Floats, resamples: int) -> _Recipe:
    arguments = (common.targets, scores, common.patients)
    value = ranking_figures(common.targets, scores, None)
    draws = resampled(ranking_figures, *arguments, resamples)
    found: Mapping[str, Any] = (
        recipe_intervals(*arguments, resamples=resamples)
        if len(scores) > 1
        else bootstrap_intervals(common.targets, scores[0], common.patients, resamples)
    )
    return _Recipe(value, {name: draws[name].mean(axis=1) for name in METRICS}, found)


def _difference_rows(name: str, metric: str, common: Common, mine: _Recipe, base: _Recipe) -> list[dict[str, Any]]:
    rests_on = evidence(common.targets, common.patients)
    means = np.stack([one.value[metric].mean(axis=0) for one in (mine, base)])
    apart = mine.draws[metric] - base.draws[metric]
    reasons = no_interval(apart, rests_on)
    given = np.array([reason is None for reason in reasons], bool) & ~np.isnan(means).any(axis=0)
    both = np.stack([mine.draws[metric], base.draws[metric]], axis=1)
    error = difference_error(metric, means, both, rests_on)
    dof = dof_of(metric, rests_on)
    delta = means[0] - means[1]
    head = {"a": name, "b": common.names[0], "metric": metric}
    rows = [head | _macro_row(metric, mine, base, given, error, rests_on)] if given.any() else []
    for c, label in enumerate(common.labels):
        seeds = [one.seeds(metric, c) for one in (mine, base)]
        tested = _tested(float(delta[c]), error[c], dof[c], seeds if given[c] else None)
        rows.append(head | {"label": label} | tested | {"reason": reasons[c] or ""})
    return rows


def _macro_row(
    metric: str, mine: _Recipe, base: _Recipe, given: np.ndarray, error: Floats, rests_on: Evidence
) -> dict[str, Any]:
    apart = macro_draws(mine.draws[metric][:, given]) - macro_draws(base.draws[metric][:, given])
    spread = standard_error(mine.draws[metric] - base.draws[metric])
    total = float(standard_error(apart)[0]) * inflation(error[given], spread[given])
    dof = satterthwaite(error[given] ** 2, dof_of(metric, rests_on)[given])
    macros = [one.value[metric][:, given].mean(axis=1) for one in (mine, base)]
    seeds = [one.seeds(metric) for one in (mine, base)]
    delta = float(macros[0].mean() - macros[1].mean())
    return {"label": MACRO} | _tested(delta, total, dof, seeds) | {"reason": ""}


def _tested(delta: float, error: float, dof: float, seeds: list[tuple[float, int]] | None) -> dict[str, float]:
    """Return difference, interval and p from the patients' error and that of each recipe's seeds."""
    if seeds is None:
        return {"delta": delta, "lo": np.nan, "hi": np.nan, "p": np.nan}
    several = [(spread, count) for spread, count in seeds if count > 1]
    variances = [float(error) ** 2, *(float(spread) ** 2 for spread, _ in several)]
    total = float(np.sqrt(sum(variances)))
    of_t = mixed_freedom(variances, [float(dof), *(count - 1 for _, count in several)])
    reach = float(quantile(of_t)) * total
    p = 2 * float(stdtr(of_t, -abs(delta) / total)) if total > 0 else float(delta == 0)
    return {"delta": delta, "lo": delta - reach, "hi": delta + reach, "p": p}


def _best(common: Common, recipes: Sequence[_Recipe]) -> dict[str, Best]:
    """Name the recipe with the best macro mean; marked only against all others, seeds as a random sample (max-T)."""
    rests_on = evidence(common.targets, common.patients)
    found = {}
    for metric in METRICS:
        given = np.array([r is None for r in no_interval(recipes[0].draws[metric], rests_on)], bool)
        if not given.any():
            continue
        values, draws = [], []
        for place, recipe in enumerate(recipes):
            macros = recipe.value[metric][:, given].mean(axis=1)
            drawn = macro_draws(recipe.draws[metric][:, given])[:, 0]
            if len(macros) > 1:
                noise = np.random.default_rng([0, place]).standard_t(len(macros) - 1, len(drawn))
                drawn = drawn + noise * macros.std(ddof=1) / np.sqrt(len(macros))
            values.append(float(macros.mean()))
            draws.append(drawn)
        found[metric] = best_by_max_t(np.array(values), np.stack(draws, axis=1), LEVEL)
    return found
