"""Compare the recipes of a study in pairs, and find which recipe may be called best.

What a difference, its interval and its p are is decided in `ctbench_core.inference`; here are the pairs. Shapes: S
seeds, N volumes, C findings.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ctbench_core.atomic import dump_json
from ctbench_core.dataset import ManifestCache, seed_overlap
from ctbench_core.errors import ConfigError, InputError
from ctbench_core.inference import (
    LEVEL,
    MACRO,
    MODELS_COLUMNS,
    Difference,
    benjamini_hochberg,
    best_of_folds,
    kfold_difference,
    kfold_figures,
    match_seeds,
    mean_test_share,
    measure,
    recipe_difference,
)
from ctbench_core.inference import best_of as best_column
from ctbench_core.locks import file_lock
from ctbench_core.progress import Progress, silent
from ctbench_core.studies.layout import StudyPaths
from ctbench_core.studies.plan import Plan
from ctbench_core.studies.recipe_scores import Cell, Recipe, cell_axes, cells_of, load_recipe
from ctbench_core.studies.results import comparison_set, read_cache, write_cache

RULES = 3  # of intervals and tests; stored ones of earlier rules are computed again
ALPHA = 1 - LEVEL
BUDGET = "budget"
_RECORD = (
    "metric",
    "delta",
    "lo",
    "hi",
    "range_lo",
    "range_hi",
    "p",
    "p_adjusted",
    "family",
    "reason",
    "mark",
    "question",
    "seeds",
    "detectable",
)


def compare(first: Recipe, second: Recipe, overlap: float = 0.0) -> dict[str, Difference]:
    """Compare two recipes on the volumes and findings that both have, first - second, by metric.

    Args:
        overlap: the mean share of training patients that two seeds have in common.

    Raises:
        InputError: they have nothing in common, or different labels.
    """
    a, b = common(first, second)
    if a.folds is None:
        return recipe_difference(a.targets, a.scores, b.scores, (a.seeds, b.seeds), a.patients, a.findings, overlap)
    share = mean_test_share(a.folds, a.patients)
    return dict(kfold_difference(a.targets, a.scores, b.scores, a.folds, a.patients, a.findings, share))


def common(first: Recipe, second: Recipe) -> tuple[Recipe, Recipe]:
    """Return two recipes over the volumes and findings that both have; of a K-fold also over their common seeds.

    Raises:
        InputError: there are none, or their targets differ: then the labels, not the recipes, would be compared.
    """
    volumes = pd.Index(first.volumes).intersection(pd.Index(second.volumes), sort=False).to_numpy()
    findings = [name for name in first.findings if name in second.findings]
    if not len(volumes) or not findings:
        raise InputError(f"{first.cell} and {second.cell} cannot be compared: they share no volumes or findings.")
    a, b = (recipe.over(volumes, recipe.seeds, findings) for recipe in (first, second))
    if not np.array_equal(a.targets, b.targets, equal_nan=True):
        raise InputError(
            f"{first.cell} and {second.cell} are tested against different labels. Test both on one manifest: "
            "data.test_manifests with its absolute path."
        )
    if a.folds is not None:
        rows, others, _ = match_seeds(a.seeds, b.seeds)
        a, b = (one.over(volumes, [one.seeds[k] for k in own], findings) for one, own in ((a, rows), (b, others)))
    return a, b


def differences(
    paths: StudyPaths,
    plan: Plan,
    results: pd.DataFrame,
    axis: str,
    progress: Progress = silent,
    *,
    cached_only: bool = False,
) -> pd.DataFrame:
    """Compare every two values of an axis wherever the other axes agree.

    Args:
        results: as `read_results` returns them.
        cached_only: leave out pairs that have not been compared yet: they take a second or two each.

    Returns:
        One row a comparison, metric and finding (empty: macro): the other axes' labels, a, b, metric, finding, delta (a
        - b), lo, hi (unadjusted), range_lo, range_hi (over seeds or folds), p, p_adjusted (Benjamini-Hochberg over the
        whole table), family (its size), reason (why there is no interval), question (what the answer holds for), seeds,
        volumes, overlap (share of training patients that two seeds have in common), detectable (smallest difference
        that shows with 80 % power). Of a K-fold also `MODELS_COLUMNS`: interval and p for these trained models alone.

    Raises:
        ConfigError: the study has no such axis.
    """
    axes, name, keys = cell_axes(plan), comparison_set(results), _pair_keys(plan, results, axis)
    at, pairs = axes.index(axis) if axis in axes else 0, list(keys)
    with file_lock(paths.differences.with_suffix(".lock")):
        known = _read_cache(paths)
        missing = [] if cached_only else [pair for pair in pairs if keys[pair] not in known]
        fresh = _compare_pairs(paths, plan, name, missing, progress)
        if fresh:
            known |= {keys[pair]: frame for pair, frame in fresh.items()}
            frame = pd.concat([own.assign(key=key) for key, own in known.items()], ignore_index=True)
            write_cache(paths.differences, frame)
    parts = []
    for pair in (pair for pair in pairs if len(known.get(keys[pair], []))):
        labels = {other: label for other, label in zip(axes, pair[0]) if other != axis}
        head = pd.DataFrame({**labels, "a": pair[0][at], "b": pair[1][at]}, index=known[keys[pair]].index)
        parts.append(pd.concat([head, known[keys[pair]]], axis=1))
    return _adjust(pd.concat(parts, ignore_index=True)) if parts else pd.DataFrame()


def count_uncompared(paths: StudyPaths, plan: Plan, results: pd.DataFrame, axis: str) -> int:
    """Return how many pairs `differences` would compare along an axis, a second or two each; it keeps what it compares.

    Raises:
        ConfigError: the study has no such axis.
    """
    known = _read_cache(paths)
    return sum(key not in known for key in _pair_keys(plan, results, axis).values())


def _pair_keys(plan: Plan, results: pd.DataFrame, axis: str) -> dict[tuple[Cell, Cell], str]:
    """Return the pairs along an axis with the keys under which their differences are kept."""
    cells, name, finished = cells_of(plan), comparison_set(results), set(results["run"])
    ids = {cell: [run.id for run in runs if run.id in finished] for cell, runs in cells.items()}
    pairs = pairs_along(plan, cells, axis)
    return {pair: _cache_key([RULES, name, *(ids[cell] for cell in pair)]) for pair in pairs}


def _compare_pairs(
    paths: StudyPaths, plan: Plan, set_name: str, pairs: Sequence[tuple[Cell, Cell]], progress: Progress
) -> dict[tuple[Cell, Cell], pd.DataFrame]:
    """Compare pairs of cells whose runs have scores; return the rows of each."""
    cells, overlaps = cells_of(plan), overlaps_of(plan) if pairs else {}
    recipes: dict[Cell, Recipe | None] = {}
    compared = {}
    for place, pair in enumerate(pairs):
        progress("comparing", place, len(pairs))
        for cell in pair:
            if cell not in recipes:
                recipes[cell] = load_recipe(paths, cell, cells[cell], set_name)
        a, b = (recipes[cell] for cell in pair)
        if a is None or b is None:
            continue
        overlap = max(overlaps[cell] for cell in pair)
        size = {"volumes": len(common(a, b)[0].volumes), "overlap": overlap}
        rows = [row | size for one in compare(a, b, overlap).values() for row in difference_rows(one)]
        compared[pair] = pd.DataFrame(rows)
    return compared


def _cache_key(parts: Sequence[object]) -> str:
    return hashlib.sha256(dump_json(list(parts)).encode()).hexdigest()[:16]


def _read_cache(paths: StudyPaths) -> dict[str, pd.DataFrame]:
    """Return the stored rows of every pair by its key."""
    frame = read_cache(paths.differences, ["key"])
    return {str(key): own.drop(columns="key") for key, own in frame.groupby("key", sort=False)}


def pairs_along(plan: Plan, cells: Mapping[Cell, object], axis: str) -> list[tuple[Cell, Cell]]:
    """Return the pairs of cells that differ in one axis alone.

    Raises:
        ConfigError: the study has no such axis.
    """
    axes = cell_axes(plan)
    if axis not in axes:
        raise ConfigError(f"The study has no axis {axis!r} to compare. Its axes: {', '.join(axes)}.")
    at = axes.index(axis)
    groups: dict[Cell, list[Cell]] = {}
    for cell in cells:
        groups.setdefault((*cell[:at], *cell[at + 1 :]), []).append(cell)
    return [pair for group in groups.values() for pair in itertools.combinations(group, 2)]


def difference_rows(one: Difference) -> list[dict[str, Any]]:
    """Return one row a column of a difference; the finding of the macro mean is empty."""
    macro = one.at(MACRO)
    return [
        {"metric": one.metric, "finding": "" if place == macro else column, **one.row(place)}
        for place, column in enumerate(one.columns)
    ]


def _adjust(frame: pd.DataFrame) -> pd.DataFrame:
    frame.insert(list(frame).index("p") + 1, "p_adjusted", benjamini_hochberg(frame["p"].to_numpy(float)))
    frame.insert(list(frame).index("p_adjusted") + 1, "family", int(frame["p"].notna().sum()))
    return frame


def compared_axes(plan: Plan) -> list[str]:
    """Return the axes along which a study is compared: all but the budget, unless it is the only one."""
    axes = [axis for axis, options in plan.study.axes().items() if axis in cell_axes(plan) and len(options) > 1]
    return [axis for axis in axes if axis != BUDGET] or axes


def difference_records(plan: Plan, frame: pd.DataFrame, axis: str) -> list[dict[str, Any]]:
    """Return the differences along an axis as `compare` has them in JSON, recipes named by their cells."""
    axes = cell_axes(plan)
    names = [*_RECORD, *(name for name in MODELS_COLUMNS if name in frame)]
    return [
        {
            "axis": axis,
            **{side: " · ".join(row[side] if name == axis else row[name] for name in axes) for side in ("a", "b")},
            "label": row["finding"] or MACRO,
            **{name: row[name] for name in names},
        }
        for row in frame.to_dict("records")
    ]


def overlaps_of(plan: Plan) -> dict[Cell, float]:
    """Return the mean share of training patients that two seeds of each cell have in common."""
    configs, cache = plan.configs(), ManifestCache()
    return {cell: seed_overlap(configs[runs[0].id], cache) for cell, runs in cells_of(plan).items()}


def best_of(recipes: Sequence[Recipe], metric: str, overlap: float = 0.0) -> pd.DataFrame:
    """Find the best of several recipes, finding by finding, and whether it may be called so.

    A finding's best is marked when it beats all others (max-T; of two recipes their test, with the ``overlap`` of their
    seeds; of a K-fold the corrected t of all pairs, by Bonferroni), and its p, adjusted over the findings by Benjamini and Hochberg, is below 5 %.

    Returns:
        One row a finding: finding, best (place in ``recipes``), p, p_adjusted, marked.
    """
    names = [name for name in recipes[0].findings if all(name in recipe.findings for recipe in recipes)]
    volumes = recipes[0].volumes
    for recipe in recipes[1:]:
        volumes = pd.Index(volumes).intersection(pd.Index(recipe.volumes), sort=False).to_numpy()
    same = [recipe.over(volumes, recipe.seeds, names) for recipe in recipes]
    best = _best_on_test(same, metric, overlap) if same[0].folds is None else _best_of_folds(same, metric)
    frame = pd.DataFrame([{"finding": name, "best": place, "p": p} for name, (place, p) in zip(names, best)])
    frame["p_adjusted"] = benjamini_hochberg(frame["p"].to_numpy(dtype=float))
    frame["marked"] = frame["p_adjusted"] < ALPHA
    return frame


def _best_on_test(recipes: Sequence[Recipe], metric: str, overlap: float) -> list[tuple[int | None, float]]:
    """Return the place of the best recipe of each finding, and the largest p against the others."""
    first, scores = recipes[0], np.concatenate([recipe.scores for recipe in recipes])
    groups = np.split(np.arange(len(scores)), np.cumsum([len(recipe.seeds) for recipe in recipes])[:-1])
    figures = measure(first.targets, scores, first.patients, first.findings, [metric])[metric]
    seeds = [recipe.seeds for recipe in recipes]
    found = [
        best_column(figures, [list(group) for group in groups], seeds, name, overlap=overlap) for name in first.findings
    ]
    return [(one.index, float(np.nanmax(one.p)) if np.isfinite(one.p).any() else np.nan) for one in found]


def _best_of_folds(recipes: Sequence[Recipe], metric: str) -> list[tuple[int | None, float]]:
    """Return the same from the pairs of a K-fold."""
    first = recipes[0]
    assert first.folds is not None
    targets, folds, patients, names = first.targets, first.folds, first.patients, first.findings
    share = mean_test_share(folds, patients)
    gaps = [
        kfold_difference(targets, a.scores, b.scores, folds, patients, names, share, metrics=[metric])[metric]
        for a, b in itertools.combinations(recipes, 2)
    ]
    figures = [kfold_figures(targets, one.scores, folds, patients, names, [metric])[metric] for one in recipes]
    values = np.stack([one.value.mean(axis=0) for one in figures])
    return [best_of_folds(gaps, values[:, c], c) for c in range(len(first.findings))]
