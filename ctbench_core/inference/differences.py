"""Compare two models, two recipes, or two sides of one model: difference, interval and p of one t.

Every p is that of the t of the printed interval, so that the two never contradict. Shapes: S seeds, N rows, C findings,
L layers, K columns (findings and macro means).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtr

from ctbench_core.declared import METRICS
from ctbench_core.inference.estimates import TWO_SEEDS, shared_variance
from ctbench_core.inference.figures import Figures, measure, place_of, wide_near_end
from ctbench_core.inference.patients import patient_codes
from ctbench_core.inference.rules import (
    MARK_NEAR_END,
    NO_ERROR,
    POWER,
    is_near_end,
    mark_near_end,
    midway_dof,
    satterthwaite,
    seed_factor,
    t_quantile,
    t_test,
)
from ctbench_core.metrics import Floats

MODELS = "these trained models"
RECIPES = "this way of training"
SAME_PATIENTS = "this way of training, for these training patients"
NEAR_RATE = "rates near 0 or 1, or the same calls: the error of their difference is not known"
ONE_SEED = "one seed of a recipe: its spread over seeds is unknown. Compare the runs as models"
# Up to this many seeds that both recipes have, t lies between two rules (`midway_dof`).
FEW_SEEDS = 4


@dataclass(frozen=True)
class Difference:
    """The difference first - second of one metric, by column.

    Attributes:
        delta: (K,). bounds: 95 % intervals (K, 2); p: (K,), both NaN where `reasons` says why.
        error, dof: (K,) standard error and degrees of freedom. patient_error, seed_error: its parts; the latter NaN for models.
        spread: (K, 2), range of the differences over common seeds; NaN otherwise.
        marks: (K,), what to know of each interval, or empty.
        findings: (K,), how many a column averages. seeds: of each recipe. question: what the answer holds for.
    """

    metric: str
    columns: list[str]
    delta: Floats
    bounds: Floats
    p: Floats
    error: Floats
    dof: Floats
    patient_error: Floats
    seed_error: Floats
    spread: Floats
    reasons: list[str | None]
    marks: list[str]
    findings: np.ndarray
    seeds: tuple[int, int]
    question: str

    def at(self, column: str) -> int | None:
        """Return the place of a column, of a macro mean or a finding; None if there is none."""
        return place_of(self.columns, column)

    def row(self, place: int) -> dict[str, Any]:
        """Return what tables say of a column; numbers without a value are NaN."""
        low, high = self.bounds[place]
        range_low, range_high = self.spread[place]
        return {
            "delta": float(self.delta[place]),
            "lo": float(low),
            "hi": float(high),
            "p": float(self.p[place]),
            "reason": self.reasons[place] or "",
            "mark": self.marks[place],
            "detectable": float(self.detectable[place]),
            "seeds": min(self.seeds),
            "question": self.question,
            "range_lo": float(range_low),
            "range_hi": float(range_high),
        }

    @property
    def detectable(self) -> Floats:
        """The smallest difference (K,) that this test set shows with 80 % power: (t.975 + t.8) times the error."""
        return np.where(
            np.isnan(self.p), np.nan, (t_quantile(self.dof) + t_quantile(self.dof, 2 * POWER - 1)) * self.error
        )

    def non_inferiority(self, margin: float) -> Floats:
        """Return p (K,) of "the first is worse by the margin or more": below .025 where the limit of `bounds` lies inside it.

        NaN near 1, where such a test is not reliable (docs/metrics.md).
        """
        gain = self.delta if METRICS.get(self.metric) is None or METRICS[self.metric].larger_is_better else -self.delta
        return self._upper_p(gain + margin)

    def equivalence(self, margin: float) -> Floats:
        """Return p (K,) of "they differ by the margin or more": below .05 where the 90 % interval lies inside it.

        Source: Schuirmann, J. Pharmacokinet. Biopharm. 1987 (two one-sided tests).
        """
        return np.maximum(self._upper_p(self.delta + margin), self._upper_p(margin - self.delta))

    def _upper_p(self, distance: Floats) -> Floats:
        """Return the one-sided p of t = distance / error; NaN without an interval, and near 1."""
        with np.errstate(divide="ignore", invalid="ignore"):
            statistic = np.where(self.error > 0, distance / self.error, np.sign(distance) * np.inf)
        p = stdtr(self.dof, -np.nan_to_num(statistic, nan=0.0))
        has_test = ~np.isnan(self.p) & np.array([MARK_NEAR_END not in mark for mark in self.marks], bool)
        return np.where(has_test, p, np.nan)


def difference(
    figures: Figures, first: Sequence[int], second: Sequence[int], paired: bool = True, overlap: float = 0.0
) -> Difference:
    """Compare two groups of layers: two models by one layer each, two recipes by several seeds each.

    The variance of the difference of two recipes is the covariance, over patients, of the differences of two seeds,
    plus the variance between seeds (`seed_factor`); sources as `estimate`. With up to four common seeds, t is half-way
    between Satterthwaite's and Cochran and Cox's, otherwise Satterthwaite's. Two common seeds have a range, but no interval; nor
    has a recipe of one seed beside one of several, or a rate near 0 or 1. Near 1, AUROCs have at least Newcombe's variance (`wide_near_end`).

    Args:
        paired: the i-th layers of both share a seed, such as the draw of training patients.
        overlap: the mean share of training patients that two seeds have in common.
    """
    a, b = np.asarray(first), np.asarray(second)
    delta = figures.value[a].mean(axis=0) - figures.value[b].mean(axis=0)
    errors, is_near = wide_near_end(figures)
    near = np.asarray(is_near[[*a, *b]].any(axis=0))
    weights = np.bincount(a, minlength=len(figures)) / len(a) - np.bincount(b, minlength=len(figures)) / len(b)
    reasons = _reasons(figures, weights)
    of_patients = figures.dof(weights, near)
    if len(a) == len(b) == 1:
        nothing = np.full(len(delta), np.nan)
        parts = _Parts(_contrasts(errors, a, b)[:, 0, 0], nothing, of_patients, np.stack([nothing, nothing], 1), MODELS)
    else:
        reasons = [reason or _few_seeds(len(a), len(b)) for reason in reasons]
        parts = _recipe_parts(figures, errors, of_patients, (a, b), paired and len(a) == len(b), overlap)
    error = np.sqrt(np.maximum(parts.patient, 0.0) + np.nan_to_num(parts.seed))
    has_interval = np.array([reason is None for reason in reasons], bool)
    bounds, p = t_test(delta, error, parts.dof, has_interval)
    return Difference(
        metric=figures.metric,
        columns=figures.columns,
        delta=delta,
        bounds=bounds,
        p=p,
        error=error,
        dof=parts.dof,
        patient_error=np.sqrt(np.maximum(parts.patient, 0.0)),
        seed_error=np.sqrt(parts.seed),
        spread=parts.spread,
        reasons=reasons,
        marks=[mark_near_end(figures.mark, one) if has else "" for one, has in zip(near, has_interval)],
        findings=figures.findings,
        seeds=(len(a), len(b)),
        question=parts.question,
    )


def _reasons(figures: Figures, weights: Floats) -> list[str | None]:
    """Return why a weighted sum of layers has no interval, by column: `Figures.reasons`, and of rates `NEAR_RATE`.

    Where few patients are expected on one side of a rate, or both call the same rows positive, these patients do not show how
    much the difference varies.
    """
    declared = METRICS.get(figures.metric)
    if declared is None or declared.kind != "thresholded":
        return list(figures.reasons)
    is_near = is_near_end(figures.value[weights != 0], figures.patients).any(axis=0) & (figures.findings == 1)
    is_same = np.abs(np.einsum("dlk,l->dk", figures.deviations, weights)).max(axis=0, initial=0.0) < NO_ERROR
    return [reason or (NEAR_RATE if none else None) for reason, none in zip(figures.reasons, is_near | is_same)]


class _Parts(NamedTuple):
    """Variances (K,) of patients and of seeds, degrees of freedom (K,), range over seeds (K, 2), and the question."""

    patient: Floats
    seed: Floats
    dof: Floats
    spread: Floats
    question: str


def _recipe_parts(
    figures: Figures,
    errors: Floats,
    of_patients: Floats,
    groups: tuple[np.ndarray, np.ndarray],
    paired: bool,
    overlap: float,
) -> _Parts:
    """Return the parts of the difference of two recipes, from covariances (K, L, L) and the layers of both.

    of_patients (K,) are the degrees of freedom of what patients add.
    """
    a, b = groups
    factors = [seed_factor(len(group), overlap) for group in groups]
    spread = np.full((len(figures.columns), 2), np.nan)
    if paired:
        gaps = figures.value[a] - figures.value[b]
        patient, seeds = shared_variance(_contrasts(errors, a, b)), [_variance(gaps) * factors[0][0]]
        spread = np.stack([gaps.min(axis=0), gaps.max(axis=0)], axis=-1)
    else:
        patient = _shared_by_means(errors, a, b)
        seeds = [_variance(figures.value[group]) * factor for group, (factor, _) in zip(groups, factors)]
    counts = [len(a) - 1] if paired else [len(a) - 1, len(b) - 1]
    rule = midway_dof if paired and len(a) <= FEW_SEEDS else satterthwaite
    dof = np.array([_dof(rule, [p, *v], [f, *counts]) for p, f, *v in zip(patient, of_patients, *seeds)])
    question = RECIPES if factors[0][1] else SAME_PATIENTS
    return _Parts(patient, np.asarray(np.sum(seeds, axis=0)), dof, spread, question)


def _few_seeds(first: int, second: int) -> str | None:
    if min(first, second) == 1:
        return ONE_SEED
    return TWO_SEEDS if min(first, second) == 2 else None


def _contrasts(errors: Floats, a: np.ndarray, b: np.ndarray) -> Floats:
    """Return the covariance (K, S, S) of the differences of layers a and b, pair by pair, from theirs (K, L, L)."""
    return np.asarray(errors[:, a][:, :, a] + errors[:, b][:, :, b] - errors[:, a][:, :, b] - errors[:, b][:, :, a])


def _shared_by_means(errors: Floats, a: np.ndarray, b: np.ndarray) -> Floats:
    """Return the variance (K,) of the difference of two recipes that their seeds share, without common seeds."""
    own = sum(shared_variance(errors[:, group][:, :, group]) for group in (a, b) if len(group) > 1)
    return np.asarray(np.maximum(own - 2 * errors[:, a][:, :, b].mean(axis=(1, 2)), 0.0))


def _variance(values: Floats) -> Floats:
    return values.var(axis=0, ddof=1) if len(values) > 1 else np.full(values.shape[1], np.nan)


def _dof(rule: Callable[[list[float], list[float]], float], variances: list[float], dofs: list[float]) -> float:
    return rule(variances, dofs) if np.isfinite(variances).all() else np.nan


def match_seeds(first: Sequence[str], second: Sequence[str]) -> tuple[list[int], list[int], bool]:
    """Return which layers of two recipes to compare and whether they are paired: common seeds, else all of both.

    Seeds are sorted by name, so that the order in which runs were given changes no digit.
    """
    common = sorted(seed for seed in first if seed in second)
    if not common:
        return list(range(len(first))), list(range(len(second))), False
    return [list(first).index(seed) for seed in common], [list(second).index(seed) for seed in common], True


def recipe_difference(
    targets: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    seeds: tuple[Sequence[str], Sequence[str]],
    patients: ArrayLike,
    labels: Sequence[str],
    overlap: float = 0.0,
    metrics: Iterable[str] | None = None,
) -> dict[str, Difference]:
    """Compare two recipes on the same rows in every compared metric, over their common seeds if there are any.

    targets (N, C) in {0, 1, NaN}; first (S, N, C) and second (S', N, C) scores; seeds: the names of the layers of both;
    patients (N,); labels: C names. With one common seed, the question is that of two models. Raises InputError for
    wrong shapes.
    """
    rows, others, paired = match_seeds(*seeds)
    scores = np.concatenate([np.asarray(first, np.float64)[rows], np.asarray(second, np.float64)[others]])
    # Rows in one order whatever the order of the tables: sums then agree to the last digit.
    order = np.lexsort([*scores.max(axis=0).T, *scores.min(axis=0).T, patient_codes(patients)])
    truth, scores, groups = np.asarray(targets, np.float64)[order], scores[:, order], np.asarray(patients)[order]
    figures = measure(truth, scores, groups, labels, metrics)
    layers = list(range(len(scores)))
    return {
        name: difference(one, layers[: len(rows)], layers[len(rows) :], paired, overlap)
        for name, one in figures.items()
    }
