"""Paired differences between the recipes of a study, and which recipe may be called best.

Two recipes are compared over the seeds and volumes that both have, seed by seed: a seed gives both the same draw of
training patients. The error of the mean difference has a part of the test patients and a part of the seeds.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.special import stdtr

from ctbench_core.errors import ConfigError, InputError
from ctbench_core.inference import (
    RecipeEstimate,
    benjamini_hochberg,
    best_by_max_t,
    corrected_resampled_t,
    evidence,
    fold_differences,
    mixed_freedom,
    out_of_fold_scores,
    paired_difference,
    quantile,
    recipe_intervals,
    resampled,
    satterthwaite,
    sign_flip,
)
from ctbench_core.metrics import Floats, MetricFn, ranking_figures
from ctbench_core.progress import Progress, silent
from ctbench_core.studies.layout import StudyPaths
from ctbench_core.studies.plan import Plan
from ctbench_core.studies.recipes import Cell, Recipe, cell_axes, cells_of, judged_on, load_recipe

LEVEL = 0.05
RANKED = ("auprc", "auroc")
CONDITIONAL = 0.5


@dataclass(frozen=True)
class Delta:
    """One figure's difference first - second: ``finding`` is empty for the macro mean over findings with an interval.

    Of a K-fold, ``p_sign_flip`` and ``p_corrected_t`` test the differences of (fold, seed): sensitivity, as ``note`` says.
    """

    metric: str
    finding: str
    delta: float
    lo: float
    hi: float
    p: float
    reason: str = ""
    p_sign_flip: float = np.nan
    p_corrected_t: float = np.nan
    note: str = ""


def recipe_difference(first: Recipe, second: Recipe, seed: int = 0, overlap: float = 0.0) -> list[Delta]:
    """Compare two recipes over their common seeds, volumes and findings.

    With several seeds the error runs over seeds and patients, and p is that of the t whose interval it is; one common
    seed compares two models (`paired_difference`), and so does a K-fold (`_out_of_fold`). ``overlap`` is the share of a seed's training patients that another
    seed has too, budget / pool: seeds that share patients lie nearer each other than draws of new patients would, so
    the variance of their mean is (1 / S + overlap / (1 - overlap)) s^2 and not s^2 / S (as Nadeau and Bengio, Mach.
    Learn. 2003, for resampled splits). Raises InputError where the recipes have nothing in common.
    """
    a, b = common(first, second)
    if a.folds is not None:
        return _out_of_fold(a, b, a.folds, seed)
    if len(a.seeds) == 1:
        return _of_models(a, b, a.scores[0], b.scores[0], seed)
    scores = np.concatenate([a.scores, b.scores])
    found = recipe_intervals(a.targets, scores, a.patients, figures=_apart(len(a.seeds)), seed=seed)
    scarcer = evidence(a.targets, a.patients).scarcer
    wider = float(np.sqrt(1 + len(a.seeds) * overlap / (1 - overlap)))
    return [
        delta for metric in RANKED for delta in _of_recipes(metric, found[f"{metric} difference"], a, scarcer, wider)
    ]


def common(first: Recipe, second: Recipe) -> tuple[Recipe, Recipe]:
    """Return two recipes over the seeds, volumes and findings that both have.

    Raises:
        InputError: there are none, or their targets differ: then the labels, not the recipes, would be compared.
    """
    volumes = pd.Index(first.volumes).intersection(pd.Index(second.volumes), sort=False).to_numpy()
    seeds = [seed for seed in first.seeds if seed in second.seeds]
    findings = [name for name in first.findings if name in second.findings]
    if not len(volumes) or not seeds or not findings:
        raise InputError(f"{first.cell} and {second.cell} share no seeds, volumes and findings to be compared over.")
    a, b = (recipe.over(volumes, seeds, findings) for recipe in (first, second))
    if not np.array_equal(a.targets, b.targets, equal_nan=True):
        raise InputError(
            f"{first.cell} and {second.cell} are tested against different labels. Test both on one manifest: "
            "data.test_manifests with its absolute path."
        )
    return a, b


def _apart(seeds: int) -> MetricFn:
    """Return the function that gives, seed by seed, the difference of two recipes stacked as (2S, N, C)."""

    def figures(targets: Floats, scores: Floats, weights: Floats | None = None) -> Mapping[str, Floats]:
        found = ranking_figures(targets, scores, weights)
        return {f"{name} difference": v[..., :seeds, :] - v[..., seeds:, :] for name, v in found.items()}

    return figures


def _of_recipes(metric: str, found: RecipeEstimate, recipe: Recipe, scarcer: np.ndarray, wider: float) -> list[Delta]:
    dof = np.maximum(scarcer - 1, 1).astype(np.float64)
    given = np.array([reason is None for reason in found.reasons])
    rows = []
    for c, finding in enumerate(recipe.findings):
        if given[c]:
            errors = found.patient_error[c], found.seed_error[c] * wider
            rows.append(_tested(metric, finding, found.mean[c], *errors, dof[c], found.seeds))
        else:
            rows.append(Delta(metric, finding, float(found.mean[c]), np.nan, np.nan, np.nan, found.reasons[c] or ""))
    if given.any():
        of_patients = satterthwaite(found.patient_error[given] ** 2, dof[given])
        errors = found.macro_patient_error, found.macro_seed_error * wider
        rows.append(_tested(metric, "", found.macro, *errors, of_patients, found.seeds))
    return rows


def _tested(metric: str, finding: str, delta: float, patient: float, between: float, dof: float, seeds: int) -> Delta:
    error = float(np.hypot(patient, between))
    of_t = mixed_freedom([patient**2, between**2], [dof, seeds - 1])
    reach = float(quantile(of_t)) * error
    p = 2 * float(stdtr(of_t, -abs(delta) / error)) if error > 0 else float(delta == 0)
    return Delta(metric, finding, float(delta), float(delta) - reach, float(delta) + reach, p)


def _of_models(a: Recipe, b: Recipe, first: Floats, second: Floats, seed: int) -> list[Delta]:
    """Compare two models' scores (N, C)."""
    rows = []
    for metric, found in paired_difference(a.targets, first, second, a.patients, seed=seed).items():
        for c, finding in enumerate(a.findings):
            bounds = (float(found.bounds[c, 0]), float(found.bounds[c, 1]))
            rows.append(
                Delta(metric, finding, float(found.delta[c]), *bounds, float(found.p[c]), found.reasons[c] or "")
            )
        rows.append(
            Delta(metric, "", found.macro, float(found.macro_bounds[0]), float(found.macro_bounds[1]), found.macro_p)
        )
    return rows


def _out_of_fold(a: Recipe, b: Recipe, folds: np.ndarray, seed: int) -> list[Delta]:
    """Compare out-of-fold scores, averaged over seeds, patient by patient; the tests over folds stand beside.

    Folds share training patients, so their figures are no independent sample: the main test is the patients'.
    """
    main = _of_models(a, b, out_of_fold_scores(a.scores), out_of_fold_scores(b.scores), seed)
    apart = fold_differences(a.targets, a.scores, b.scores, folds)
    known = {name: [row.finding for row in main if row.metric == name and not np.isnan(row.p)] for name in RANKED}
    count = len(np.unique(folds.astype(str)))
    return [_beside(row, apart[row.metric], a.findings, known[row.metric], count) for row in main]


def _beside(row: Delta, by_run: Floats, findings: Sequence[str], known: Sequence[str], folds: int) -> Delta:
    """Add the two sensitivity tests over differences by (fold, seed) and finding, (J, C)."""
    columns = [findings.index(name) for name in ([row.finding] if row.finding else known) if name]
    values = by_run[:, columns].mean(axis=1) if columns else np.empty(0)
    if np.isnan(row.p) or not np.isfinite(values).all():
        why = "" if np.isnan(row.p) else "a fold holds one class only: no test over folds"
        return replace(row, note=why)
    flipped, corrected = sign_flip(values), corrected_resampled_t(values, 1 / (folds - 1))
    return replace(row, p_sign_flip=flipped.p, p_corrected_t=corrected.p, note=f"{flipped.note}; {corrected.note}")


def load_recipes(
    paths: StudyPaths, plan: Plan, results: pd.DataFrame, only: Collection[Cell] | None = None
) -> dict[Cell, Recipe]:
    """Read the scores of every cell, or of some, that has finished runs on the judged set."""
    judged = judged_on(results)
    wanted = {cell: runs for cell, runs in cells_of(plan).items() if only is None or cell in only}
    found = {cell: load_recipe(paths, cell, runs, judged) for cell, runs in wanted.items()}
    return {cell: recipe for cell, recipe in found.items() if recipe is not None}


def differences(plan: Plan, recipes: Mapping[Cell, Recipe], axis: str, progress: Progress = silent) -> pd.DataFrame:
    """Compare every two values of an axis wherever the other axes agree.

    Returns:
        One row a comparison, metric and finding: the other axes' labels, a, b, metric, finding, delta (a - b), lo, hi
        (unadjusted), p, p_adjusted (Benjamini-Hochberg over the whole table), family (its size), seeds, volumes, and
        overlap: the share of training patients that seeds have in common. From `CONDITIONAL` on nothing can be said
        about other training patients, and the answer is for these. Of a K-fold also p_sign_flip, p_corrected_t, note.

    Raises:
        ConfigError: the study has no such axis.
    """
    axes = cell_axes(plan)
    if axis not in axes:
        raise ConfigError(f"The study has no axis {axis!r} to compare. Its axes: {', '.join(axes)}.")
    at = axes.index(axis)
    groups: dict[Cell, dict[str, Recipe]] = {}
    for cell, recipe in recipes.items():
        groups.setdefault((*cell[:at], *cell[at + 1 :]), {})[cell[at]] = recipe
    pairs = [(rest, pair) for rest, mine in groups.items() for pair in itertools.combinations(mine, 2)]
    overlaps = _overlaps(plan)
    rows = []
    for place, (rest, (first, second)) in enumerate(pairs):
        progress("comparing", place, len(pairs))
        one, other = groups[rest][first], groups[rest][second]
        labels = dict(zip([name for name in axes if name != axis], rest))
        shared = common(one, other)[0]
        overlap = overlaps[one.cell]
        size = {"seeds": len(shared.seeds), "volumes": len(shared.volumes), "overlap": overlap}
        found = recipe_difference(one, other, overlap=overlap if overlap < CONDITIONAL else 0.0)
        rows += [{**labels, "a": first, "b": second, **vars(delta), **size} for delta in found]
    frame = pd.DataFrame(rows)
    if len(frame) and (frame["note"] == "").all():
        frame = frame.drop(columns=["p_sign_flip", "p_corrected_t", "note"])
    if len(frame):
        frame["p_adjusted"] = benjamini_hochberg(frame["p"].to_numpy())
        frame["family"] = int(frame["p"].notna().sum())
    return frame


def _overlaps(plan: Plan) -> dict[Cell, float]:
    """Return the share of training patients that two seeds of each cell have in common: budget / pool, 1 for all."""
    from ctbench_core.dataset import read_training_manifests

    configs, pools = plan.configs(), {}
    found = {}
    for cell, runs in cells_of(plan).items():
        config = configs[runs[0].id].copy()
        budget, config.data.budget = config.data.budget, None
        if budget is None or config.data.budget_seed is not None:
            found[cell] = 1.0  # every seed learns from the same patients
            continue
        key = (config.paths.manifest_dir, config.data.train_manifest, config.data.val_manifest)
        if key not in pools:
            manifests, _ = read_training_manifests(config)
            pools[key] = sum(manifest.counts()[f"{config.data.budget_unit}s"] for manifest in manifests.values())
        found[cell] = min(1.0, budget / pools[key])
    return found


def best_of(recipes: Sequence[Recipe], metric: str, seed: int = 0) -> pd.DataFrame:
    """Find the best of several recipes, finding by finding, and whether it may be called so.

    A finding's best is marked when it beats all others by max-T, and its p-value, adjusted over the findings by
    Benjamini-Hochberg, is below 5 %.

    Returns:
        One row a finding: finding, best (place in ``recipes``), p, p_adjusted, marked.
    """
    names = [name for name in recipes[0].findings if all(name in recipe.findings for recipe in recipes)]
    volumes = recipes[0].volumes
    for recipe in recipes[1:]:
        volumes = pd.Index(volumes).intersection(pd.Index(recipe.volumes), sort=False).to_numpy()
    same = [recipe.over(volumes, recipe.seeds, names) for recipe in recipes]
    values, draws = zip(*(_draws(recipe, metric, place, seed) for place, recipe in enumerate(same)))
    rows = []
    for c, finding in enumerate(names):
        best = best_by_max_t(np.array([v[c] for v in values]), np.stack([d[:, c] for d in draws], axis=1))
        worst = np.nanmax(best.p) if np.isfinite(best.p).any() else np.nan
        rows.append({"finding": finding, "best": best.index, "p": worst})
    frame = pd.DataFrame(rows)
    frame["p_adjusted"] = benjamini_hochberg(frame["p"].to_numpy(dtype=float))
    frame["marked"] = frame["p_adjusted"] < LEVEL
    return frame


def _draws(recipe: Recipe, metric: str, place: int, seed: int) -> tuple[Floats, Floats]:
    """Return a recipe's mean figure (C,) and its resamples (R, C): the same patients for all, and seeds of its own."""
    value = ranking_figures(recipe.targets, recipe.scores, None)[metric]
    tries = resampled(ranking_figures, recipe.targets, recipe.scores, recipe.patients, seed=seed)[metric]
    drawn = tries.mean(axis=1)
    seeds = len(recipe.seeds)
    if seeds > 1:  # seeds come as a random sample too
        noise = np.random.default_rng([seed, place]).standard_t(seeds - 1, drawn.shape)
        drawn = drawn + noise * value.std(axis=0, ddof=1) / np.sqrt(seeds)
    return value.mean(axis=0), drawn
