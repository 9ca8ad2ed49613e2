"""Compare the recipes of a study in pairs, and find which recipe may be called best.

Two recipes are compared over the seeds and volumes that both have, seed by seed: a seed gives both the same draw of
training patients. The error of the mean difference has one part from the test patients and one from the seeds.

Shapes: S seeds, N volumes, C findings, R resamples, J pairs of (fold, seed).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.special import stdtr

from ctbench_core.declared import compared_metrics
from ctbench_core.errors import ConfigError, InputError
from ctbench_core.inference import (
    RecipeEstimate,
    benjamini_hochberg,
    best_by_max_t,
    corrected_resampled_t,
    count_patients,
    fold_differences,
    mixed_dof,
    out_of_fold_scores,
    paired_difference,
    recipe_intervals,
    resampled,
    satterthwaite,
    sign_flip,
    t_quantile,
)
from ctbench_core.metrics import Floats, MetricFn, compared_metric_fn
from ctbench_core.progress import Progress, silent
from ctbench_core.studies.plan import Plan
from ctbench_core.studies.recipe_scores import Cell, Recipe, cell_axes, cells_of

LEVEL = 0.05
MAX_OVERLAP = 0.5  # of training patients between seeds, up to which the answer holds for other training patients


@dataclass(frozen=True)
class Delta:
    """The difference first - second of a metric; ``finding`` is empty for the macro mean over findings with an interval.

    Of a K-fold, ``p_sign_flip`` and ``p_corrected_t`` test the differences of (fold, seed): a sensitivity analysis,
    with its limits in ``note``.
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

    With several seeds the error covers seeds and patients, and p belongs to the t of the interval. One common seed
    compares two models (`paired_difference`); a K-fold compares out-of-fold scores.

    ``overlap`` is the share of a seed's training patients that another seed has too, budget / pool. Seeds that share
    patients are closer to each other than draws of new patients would be, so the variance of their mean is
    (1 / S + overlap / (1 - overlap)) s^2, not s^2 / S (as Nadeau and Bengio, Mach. Learn. 2003, for resampled splits).

    Raises:
        InputError: the recipes have nothing in common.
    """
    a, b = common(first, second)
    if a.folds is not None:
        return _compare_folds(a, b, a.folds, seed)
    if len(a.seeds) == 1:
        return _compare_models(a, b, a.scores[0], b.scores[0], seed)
    scores = np.concatenate([a.scores, b.scores])
    estimates = recipe_intervals(a.targets, scores, a.patients, metric_fn=_difference_fn(len(a.seeds)), seed=seed)
    dof = np.maximum(count_patients(a.targets, a.patients).scarcer - 1, 1).astype(np.float64)
    inflation = float(np.sqrt(1 + len(a.seeds) * overlap / (1 - overlap)))
    return [
        delta
        for metric in compared_metrics()
        for delta in _recipe_deltas(metric, estimates[_difference_name(metric)], a.findings, dof, inflation)
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
        raise InputError(
            f"{first.cell} and {second.cell} cannot be compared: they share no seeds, volumes or findings."
        )
    a, b = (recipe.over(volumes, seeds, findings) for recipe in (first, second))
    if not np.array_equal(a.targets, b.targets, equal_nan=True):
        raise InputError(
            f"{first.cell} and {second.cell} are tested against different labels. Test both on one manifest: "
            "data.test_manifests with its absolute path."
        )
    return a, b


def _difference_fn(seeds: int) -> MetricFn:
    """Return the function that gives, seed by seed, the difference of two recipes stacked as (2S, N, C)."""

    def difference(targets: Floats, scores: Floats, weights: Floats | None = None) -> Mapping[str, Floats]:
        metrics = compared_metric_fn(targets, scores, weights)
        return {_difference_name(name): v[..., :seeds, :] - v[..., seeds:, :] for name, v in metrics.items()}

    return difference


def _difference_name(metric: str) -> str:
    """Return a name of its own: the interval rules of a metric named ``auprc`` or ``auroc`` do not fit a difference."""
    return f"{metric} difference"


def _recipe_deltas(
    metric: str, estimate: RecipeEstimate, findings: Sequence[str], dof: Floats, inflation: float
) -> list[Delta]:
    has_interval = np.array([reason is None for reason in estimate.reasons])
    seeds = estimate.seeds
    rows = []
    for c, finding in enumerate(findings):
        if has_interval[c]:
            errors = estimate.patient_error[c], estimate.seed_error[c] * inflation
            rows.append(_t_test(metric, finding, estimate.mean[c], *errors, dof[c], seeds))
        else:
            mean, reason = float(estimate.mean[c]), estimate.reasons[c] or ""
            rows.append(Delta(metric, finding, mean, np.nan, np.nan, np.nan, reason))
    if has_interval.any():
        macro_dof = satterthwaite(estimate.patient_error[has_interval] ** 2, dof[has_interval])
        errors = estimate.macro_patient_error, estimate.macro_seed_error * inflation
        rows.append(_t_test(metric, "", estimate.macro, *errors, macro_dof, seeds))
    return rows


def _t_test(
    metric: str, finding: str, delta: float, patient_error: float, seed_error: float, dof: float, seeds: int
) -> Delta:
    error = float(np.hypot(patient_error, seed_error))
    t_dof = mixed_dof([patient_error**2, seed_error**2], [dof, seeds - 1])
    half_width = float(t_quantile(t_dof)) * error
    p = 2 * float(stdtr(t_dof, -abs(delta) / error)) if error > 0 else float(delta == 0)
    return Delta(metric, finding, float(delta), float(delta) - half_width, float(delta) + half_width, p)


def _compare_models(a: Recipe, b: Recipe, first: Floats, second: Floats, seed: int) -> list[Delta]:
    """Compare two models' scores (N, C)."""
    rows = []
    for metric, difference in paired_difference(a.targets, first, second, a.patients, seed=seed).items():
        for c, finding in enumerate(a.findings):
            delta, lo, hi, p = map(float, (difference.delta[c], *difference.bounds[c], difference.p[c]))
            rows.append(Delta(metric, finding, delta, lo, hi, p, difference.reasons[c] or ""))
        lo, hi = map(float, difference.macro_bounds)
        rows.append(Delta(metric, "", difference.macro, lo, hi, difference.macro_p))
    return rows


def _compare_folds(a: Recipe, b: Recipe, folds: np.ndarray, seed: int) -> list[Delta]:
    """Compare out-of-fold scores, averaged over seeds, patient by patient, and add the tests over folds.

    Folds share training patients, so their metrics are not an independent sample: the main test is over patients.
    """
    rows = _compare_models(a, b, out_of_fold_scores(a.scores), out_of_fold_scores(b.scores), seed)
    by_fold = fold_differences(a.targets, a.scores, b.scores, folds)
    tested = {
        name: [row.finding for row in rows if row.metric == name and not np.isnan(row.p)] for name in compared_metrics()
    }
    count = len(np.unique(folds.astype(str)))
    return [_add_fold_tests(row, by_fold[row.metric], a.findings, tested[row.metric], count) for row in rows]


def _add_fold_tests(
    row: Delta, differences: Floats, findings: Sequence[str], tested: Sequence[str], folds: int
) -> Delta:
    """Add the two sensitivity tests over differences by (fold, seed) and finding, (J, C)."""
    columns = [findings.index(name) for name in ([row.finding] if row.finding else tested) if name]
    values = differences[:, columns].mean(axis=1) if columns else np.empty(0)
    if np.isnan(row.p):
        return row
    if not np.isfinite(values).all():
        return replace(row, note="a fold holds one class only: no test over folds")
    flip, corrected = sign_flip(values), corrected_resampled_t(values, 1 / (folds - 1))
    return replace(row, p_sign_flip=flip.p, p_corrected_t=corrected.p, note=f"{flip.note}; {corrected.note}")


def differences(plan: Plan, recipes: Mapping[Cell, Recipe], axis: str, progress: Progress = silent) -> pd.DataFrame:
    """Compare every two values of an axis wherever the other axes agree.

    Returns:
        One row a comparison, metric and finding: the other axes' labels, a, b, metric, finding, delta (a - b), lo, hi
        (unadjusted), p, p_adjusted (Benjamini-Hochberg over the whole table), family (its size), seeds, volumes, and
        overlap: the share of training patients that seeds have in common. From `MAX_OVERLAP` on, the answer is for
        these training patients only. Of a K-fold also p_sign_flip, p_corrected_t, note.

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
    pairs = [(rest, pair) for rest, group in groups.items() for pair in itertools.combinations(group, 2)]
    overlaps = _overlaps(plan)
    rows = []
    for place, (rest, (first, second)) in enumerate(pairs):
        progress("comparing", place, len(pairs))
        a, b = groups[rest][first], groups[rest][second]
        labels = dict(zip([name for name in axes if name != axis], rest))
        shared, overlap = common(a, b)[0], overlaps[a.cell]
        size = {"seeds": len(shared.seeds), "volumes": len(shared.volumes), "overlap": overlap}
        deltas = recipe_difference(a, b, overlap=overlap if overlap < MAX_OVERLAP else 0.0)
        rows += [{**labels, "a": first, "b": second, **vars(delta), **size} for delta in deltas]
    return _adjust(pd.DataFrame(rows)) if rows else pd.DataFrame(rows)


def _adjust(frame: pd.DataFrame) -> pd.DataFrame:
    if (frame["note"] == "").all():
        frame = frame.drop(columns=["p_sign_flip", "p_corrected_t", "note"])
    frame["p_adjusted"] = benjamini_hochberg(frame["p"].to_numpy())
    frame["family"] = int(frame["p"].notna().sum())
    return frame


def _overlaps(plan: Plan) -> dict[Cell, float]:
    """Return the share of training patients that two seeds of each cell have in common: budget / pool, 1 for all."""
    from ctbench_core.dataset import read_training_manifests

    configs, pools = plan.configs(), {}
    overlaps = {}
    for cell, runs in cells_of(plan).items():
        config = configs[runs[0].id].copy()
        budget, config.data.budget = config.data.budget, None
        if budget is None or config.data.budget_seed is not None:
            overlaps[cell] = 1.0  # every seed trains on the same patients
            continue
        key = (config.paths.manifest_dir, config.data.train_manifest, config.data.val_manifest)
        if key not in pools:
            manifests, _ = read_training_manifests(config)
            pools[key] = sum(manifest.counts()[f"{config.data.budget_unit}s"] for manifest in manifests.values())
        overlaps[cell] = min(1.0, budget / pools[key])
    return overlaps


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
        p = np.nanmax(best.p) if np.isfinite(best.p).any() else np.nan
        rows.append({"finding": finding, "best": best.index, "p": p})
    frame = pd.DataFrame(rows)
    frame["p_adjusted"] = benjamini_hochberg(frame["p"].to_numpy(dtype=float))
    frame["marked"] = frame["p_adjusted"] < LEVEL
    return frame


def _draws(recipe: Recipe, metric: str, place: int, seed: int) -> tuple[Floats, Floats]:
    """Return a recipe's mean metric (C,) and its resamples (R, C): the same patients for all, and seeds of its own."""
    value = compared_metric_fn(recipe.targets, recipe.scores, None)[metric]
    by_seed = resampled(compared_metric_fn, recipe.targets, recipe.scores, recipe.patients, seed=seed)[metric]
    draws = by_seed.mean(axis=1)
    seeds = len(recipe.seeds)
    if seeds > 1:  # seeds are a random sample too
        noise = np.random.default_rng([seed, place]).standard_t(seeds - 1, draws.shape)
        draws = draws + noise * value.std(axis=0, ddof=1) / np.sqrt(seeds)
    return value.mean(axis=0), draws
