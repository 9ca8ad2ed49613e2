"""One test set of a design: intervals of a model, a pair, recipes, subgroups, thresholds and calibration, against truths.

Shapes: L layers, N rows, C findings, R resamples, K columns (findings and macro means). Draws are (R, L, C).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmarks.cohorts import Cohort, draw_cohort
from benchmarks.coverage.designs import IN_GROUP, Design
from benchmarks.coverage.tally import Tally
from benchmarks.coverage.truths import PAIR_SHARE, RANKING, SEED_SHARE, Truth
from ctbench_core.inference import (
    MACRO,
    benjamini_hochberg,
    best_of,
    calibration_lines,
    difference,
    estimate,
    measure,
    net_benefit,
    patient_weights,
    place_of,
    rank_swap,
)
from ctbench_core.inference.figures import Figures
from ctbench_core.inference.net_benefit import THRESHOLDS
from ctbench_core.metrics import Floats, choose_thresholds, metric_values

RESAMPLES = 400  # of the plain bootstrap that stands beside
RATES = ("f1", "recall", "specificity", "precision", "npv")
# What is counted of a test set; a rerun counts the parts of the figures that were outside.
PARTS = ("ranking", "subgroup", "rates", "calibration", "extra")
SWAPS = 199
BENEFITS = (0.05, 0.1, 0.2, 0.3)


@dataclass(frozen=True)
class Layers:
    """Scores (L, N, C) of all models of a test set, and which layers are what."""

    scores: Floats
    pair: tuple[int, int]
    first: list[int]
    second: list[int]
    equals: list[int]


def part_of(figure: str) -> str:
    """Return which part of `PARTS` a figure belongs to."""
    if "subgroup" in figure:
        return "subgroup"
    if any(name in figure for name in ("rank swap", "any mark", "best of")):
        return "extra"
    if figure.removeprefix("macro ") in RATES:
        return "rates"
    is_calibration = any(name in figure for name in ("brier", "slope", "intercept", "net benefit"))
    return "calibration" if is_calibration else "ranking"


def repeat(
    draw: np.random.Generator,
    design: Design,
    truth: Truth,
    tally: Tally,
    has_plain: bool = False,
    parts: Collection[str] = PARTS,
) -> None:
    """Draw one test set, and count its intervals and tests, on request with those of the plain bootstrap beside them."""
    cohort = draw_cohort(draw, design.patients, design.law)
    layers = draw_layers(draw, design, cohort)
    if "ranking" in parts or "extra" in parts:
        figures = figures_of(RANKING, cohort, layers.scores)
    if "ranking" in parts:
        plain = _draws(RANKING, cohort, layers.scores) if has_plain else {}
        _count_ranking(tally, design, cohort, layers, figures, truth, plain)
    if "subgroup" in parts:
        _count_subgroup(draw, tally, design, cohort, layers.scores[list(layers.pair)], truth)
    if "rates" in parts:
        _count_thresholded(draw, tally, design, cohort, layers.scores[:1], truth, has_plain)
    if "calibration" in parts:
        _count_calibration(tally, cohort, layers.scores[:1], truth)
    if "extra" in parts and design.extra:
        _count_extra(tally, design, cohort, layers, figures)


def figures_of(
    names: Sequence[str],
    cohort: Cohort,
    scores: Floats,
    thresholds: Floats | float = 0.5,
    targets: Floats | None = None,
) -> dict[str, Figures]:
    """Measure metrics of scores (L, N, C) on a cohort; targets (L, N, C) where layers have rows of their own."""
    labels = [f"finding {c}" for c in range(cohort.targets.shape[1])]
    return measure(cohort.targets if targets is None else targets, scores, cohort.patient, labels, names, thresholds)


def _draws(names: Sequence[str], cohort: Cohort, scores: Floats, thresholds: Floats | float = 0.5) -> dict[str, Floats]:
    """Resample patients, metric by metric."""
    limits = np.broadcast_to(np.asarray(thresholds, float), cohort.targets.shape[1:])
    parts = [
        metric_values(names, cohort.targets, scores, weights, limits)
        for weights in patient_weights(cohort.patient, RESAMPLES)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in names}


def _count_ranking(
    tally: Tally,
    design: Design,
    cohort: Cohort,
    layers: Layers,
    figures: dict[str, Figures],
    truth: Truth,
    plain: dict[str, Floats],
) -> None:
    """Count one model, a pair, recipes, and the naive intervals, in AUROC and AUPRC."""
    for name, one in figures.items():
        draws = plain.get(name)
        _count_model(tally, name, one, [0], truth.values[name], draws)
        _count_pair(tally, f"two models, {name}", one, [layers.pair, truth.gap(name)], design, draws)
        for seeds in design.seeds:
            first, second = layers.first[:seeds], layers.second[:seeds]
            _count_model(
                tally, f"recipe of {seeds}, {name}", one, first, truth.values[f"recipe {name}"], draws, design.overlap
            )
            groups = ((first, second), truth.gap(f"recipe {name}"))
            _count_pair(tally, f"two recipes of {seeds}, {name}", one, groups, design, draws)
    _count_rows(tally, cohort, layers.scores[:1], truth)


def draw_layers(draw: np.random.Generator, design: Design, cohort: Cohort) -> Layers:
    """Draw the scores of a pair of models, of the seeds of two recipes, and of two more models equal to the first."""
    means, (weaker, spread) = np.array(design.means()), design.second()
    scores = [
        cohort.scores(draw, PAIR_SHARE, means, design.spread),
        cohort.scores(draw, PAIR_SHARE, np.array(weaker), spread),
    ]
    seeds, o = max(design.seeds), design.overlap
    common, *own = draw.normal(size=(3, seeds))
    for deviation, mean, luck in zip(design.seed_spread, (means, np.array(design.second_recipe())), own):
        of_seed = np.sqrt(0.5) * (common + luck) if design.is_paired else luck
        strengths = deviation * (np.sqrt(o) * draw.normal() + np.sqrt(1 - o) * of_seed)
        scores += [cohort.scores(draw, SEED_SHARE, mean + more, design.spread) for more in strengths]
    if design.extra:
        scores += [cohort.scores(draw, PAIR_SHARE, means, design.spread) for _ in range(2)]
    places = iter(range(2, len(scores)))
    first, second = ([next(places) for _ in range(seeds)] for _ in range(2))
    return Layers(np.stack(scores), (0, 1), first, second, list(places))


def _count_model(
    tally: Tally,
    name: str,
    figures: Figures,
    layers: Sequence[int],
    truth: Floats,
    draws: Floats | None = None,
    overlap: float = 0.0,
) -> None:
    one = estimate(figures, layers, overlap)
    plain = None if draws is None else _percentiles(_with_macros(figures, draws[:, layers].mean(axis=1)))
    for title, columns in _columns(figures):
        tally.add(
            title + name,
            one.bounds[columns],
            truth if len(columns) > 1 else truth.mean(),
            value=one.value[columns],
            marks=[one.marks[k] for k in columns],
            plain=None if plain is None else plain[columns],
            minor=_minor(figures, one.value)[columns],
        )


def _count_pair(
    tally: Tally, name: str, figures: Figures, pair: Sequence, design: Design, draws: Floats | None
) -> None:
    (first, second), gap = pair
    first, second = (list(np.atleast_1d(group)) for group in (first, second))
    one = difference(figures, first, second, design.is_paired, design.overlap)
    plain = None
    if draws is not None:
        plain = _percentiles(_with_macros(figures, draws[:, first].mean(axis=1) - draws[:, second].mean(axis=1)))
    minor = _minor(figures, figures.value[[*first, *second]].mean(axis=0))
    reverse = difference(figures, second, first, design.is_paired, design.overlap)
    margin: Any = np.concatenate([gap, np.full(len(one.delta) - len(gap), gap.mean())])
    for title, columns in _columns(figures):
        tally.add(
            title + name,
            one.bounds[columns],
            gap if len(columns) > 1 else gap.mean(),
            value=one.delta[columns],
            p=one.p[columns],
            marks=[one.marks[k] for k in columns],
            plain=None if plain is None else plain[columns],
            minor=minor[columns],
        )
        if not design.is_null:
            has = ~np.isnan(one.p[columns])
            tally.add_test(f"{title}non-inferior, {name}", reverse.non_inferiority(margin)[columns] < 0.025, has)
            tally.add_test(f"{title}equivalent, {name}", reverse.equivalence(margin)[columns] < 0.05, has)


def _columns(figures: Figures) -> list[tuple[str, np.ndarray]]:
    """Return the prefix of the findings' figures and of the macro mean's, with their columns."""
    macro = place_of(figures.columns, MACRO)
    return [("", np.arange(len(figures.is_eligible))), ("macro ", np.array([macro]))]


def _with_macros(figures: Figures, draws: Floats) -> Floats:
    """Return draws (R, K) of all columns from those of the findings (R, C)."""
    return np.stack([draws[:, chosen].mean(axis=1) for chosen in figures.averaged], axis=1)


def _percentiles(draws: Floats) -> Floats:
    """Return the percentile intervals (K, 2) of the defined draws of (R, K)."""
    ordered = np.sort(draws, axis=0)  # NaN last
    last = (~np.isnan(ordered)).sum(axis=0) - 1
    places = np.array([0.025, 0.975])[:, None] * np.maximum(last, 0)
    low, part = places.astype(int), places % 1
    columns = np.arange(draws.shape[1])
    bounds = (1 - part) * ordered[low, columns] + part * ordered[np.minimum(low + 1, np.maximum(last, 0)), columns]
    return np.asarray(bounds.T)


def _minor(figures: Figures, value: Floats) -> Floats:
    """Return the patients expected on the rarer side of a metric, (K,)."""
    rate = np.abs(value)
    return figures.patients * np.minimum(rate, 1 - rate)


def _count_rows(tally: Tally, cohort: Cohort, scores: Floats, truth: Truth) -> None:
    """Count the naive intervals of AUROC that take rows for patients."""
    rows, findings = np.arange(len(cohort.patient)), cohort.targets.shape[1]
    value = figures_of(["auroc"], replace(cohort, patient=rows), scores)["auroc"]
    tally.add("rows taken for patients, auroc", estimate(value).bounds[:findings], truth.values["auroc"])


def _count_subgroup(
    draw: np.random.Generator,
    tally: Tally,
    design: Design,
    cohort: Cohort,
    pair: Floats,
    truth: Truth,
) -> None:
    """Count the gap of a group to its complement, whose rows the second model scores."""
    is_in = (draw.random(design.patients) < IN_GROUP)[cohort.patient][:, None]
    targets = np.stack([np.where(side, cohort.targets, np.nan) for side in (is_in, ~is_in)])
    for name, one in figures_of(RANKING, cohort, pair, targets=targets).items():
        gap = difference(one, [0], [1])
        for title, columns in _columns(one):
            true = truth.gap(name)
            tally.add(
                f"{title}subgroup, {name}",
                gap.bounds[columns],
                true if len(columns) > 1 else true.mean(),
                value=gap.delta[columns],
                p=gap.p[columns],
                marks=[gap.marks[k] for k in columns],
                minor=_minor(one, one.value.mean(axis=0))[columns],
            )


def _count_thresholded(
    draw: np.random.Generator,
    tally: Tally,
    design: Design,
    cohort: Cohort,
    scores: Floats,
    truth: Truth,
    has_plain: bool,
) -> None:
    """Count rates at thresholds that a validation cohort of half the size chose by F1."""
    there = draw_cohort(draw, max(design.patients // 2, 50), design.law)
    validation = there.scores(draw, PAIR_SHARE, np.array(design.means()), design.spread)
    thresholds = choose_thresholds(there.targets, validation).values
    true = truth.rates(thresholds)
    plain = _draws(RATES, cohort, scores, thresholds) if has_plain else {}
    for name, one in figures_of(RATES, cohort, scores, thresholds).items():
        _count_model(tally, name, one, [0], true[name], plain.get(name))


def _count_calibration(tally: Tally, cohort: Cohort, scores: Floats, truth: Truth) -> None:
    forecasts = truth.probabilities(scores[0])
    brier = figures_of(["brier"], cohort, forecasts[None])["brier"]
    _count_model(tally, "brier", brier, [0], truth.values["brier"])
    lines = calibration_lines(cohort.targets, forecasts, cohort.patient)
    scarcer = brier.classes[: cohort.targets.shape[1]].min(axis=1)
    tally.add("slope", lines.slope_bounds, truth.values["slope"], value=lines.slope, minor=scarcer)
    tally.add("intercept", lines.intercept_bounds, truth.values["intercept"], value=lines.intercept, minor=scarcer)
    gains = [net_benefit(target, p, cohort.patient) for target, p in zip(cohort.targets.T, forecasts.T)]
    for limit in BENEFITS:
        at = int(np.searchsorted(THRESHOLDS, limit - 1e-9))
        bounds = np.array([[one.lower[at], one.upper[at]] for one in gains])
        value = np.array([one.gain[at] for one in gains])
        called = (forecasts >= limit) & (cohort.targets == 1)
        rate = called.sum(axis=0) / np.maximum(cohort.targets.sum(axis=0), 1)
        tally.add(
            f"net benefit at {limit:g}",
            bounds,
            truth.net_benefit_gain(limit),
            value=value,
            marks=[one.mark for one in gains],
            minor=scarcer * np.minimum(rate, 1 - rate),
        )


def _count_extra(tally: Tally, design: Design, cohort: Cohort, layers: Layers, figures: dict[str, Figures]) -> None:
    """Count rank swaps of the pair, tables with a mark, and how often one of four models or two recipes is called best."""
    first, second = layers.scores[:2, :, :1]
    p = rank_swap(cohort.targets[:, :1], first, second, cohort.patient, swaps=SWAPS)
    tally.add_test("rank swap, auroc", p < 0.05, ~np.isnan(p))
    family = np.concatenate([difference(one, [0], [1]).p for one in figures.values()])
    is_marked = bool((benjamini_hochberg(family) < 0.05).any())
    tally.add_test("any mark in a table, adjusted", is_marked, not np.isnan(family).all())
    for name, one in figures.items():
        models = best_of(one, [[layer] for layer in (0, 1, *layers.equals)])
        tally.add_test(f"best of four models, {name}", models.marked, models.index is not None)
        for seeds in design.seeds:
            recipes = best_of(one, [layers.first[:seeds], layers.second[:seeds]])
            tally.add_test(f"best of two recipes of {seeds}, {name}", recipes.marked, recipes.index is not None)
