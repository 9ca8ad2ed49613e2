"""True values of the figures of a design, from one large sample of single rows.

A sample of `PATIENTS` has an error of at most sqrt(patients of the design / PATIENTS) standard errors of the figure: .06
at 1,500 patients, which costs .04 points of coverage. Shapes: N rows, C findings.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit

from benchmarks.cohorts import draw_cohort, marginal, noise
from benchmarks.coverage.designs import Design
from ctbench_core.metrics import brier_score, logistic_fit, ranking_metrics

PATIENTS = 400_000
PAIR_SHARE, SEED_SHARE = 0.5, 0.8  # of the noise's variance that two models, and two seeds, have in common
NODES = 5  # of the integral over seeds
RANKING = ("auroc", "auprc")
# Forecasts are too extreme and too high: logit p = 1.25 x (true logit) + .3, so that the slope is .8; but no flatter than
# .3 a deviation of the score, where scores say nothing.
STEEP, HIGH, FLATTEST = 1.25, 0.3, 0.3


@dataclass(frozen=True)
class Truth:
    """True figures by finding: ``values`` (C,) by name; sorted scores of positive and negative rows, a list each.

    forecast (C, 2): intercept and slope of the logit of the forecasts as a line of the score.
    """

    values: dict[str, np.ndarray]
    positives: list[np.ndarray]
    negatives: list[np.ndarray]
    prevalence: np.ndarray
    forecast: np.ndarray

    def gap(self, name: str) -> np.ndarray:
        """Return first - second of ``auroc``, ``recipe auprc``, ..., (C,)."""
        return self.values[name] - self.values[f"second {name}"]

    def probabilities(self, scores: np.ndarray) -> np.ndarray:
        """Return the forecasts (N, C) of scores of the first model."""
        return expit(self.forecast[:, 0] + self.forecast[:, 1] * scores)

    def rates(self, thresholds: np.ndarray) -> dict[str, np.ndarray]:
        """Return true figures (C,) of calling scores at or above thresholds (C,)."""
        hits, alarms = self._called(thresholds)
        misses, spared = self.prevalence - hits, 1 - self.prevalence - alarms
        with np.errstate(invalid="ignore"):
            return {
                "f1": 2 * hits / (2 * hits + alarms + misses),
                "recall": hits / self.prevalence,
                "specificity": spared / (1 - self.prevalence),
                "precision": hits / (hits + alarms),
                "npv": spared / (spared + misses),
            }

    def net_benefit_gain(self, threshold: float) -> np.ndarray:
        """Return the net benefit (C,) of acting on forecasts from a threshold on, less the better of all and none."""
        cost = threshold / (1 - threshold)
        hits, alarms = self._called((logit(threshold) - self.forecast[:, 0]) / self.forecast[:, 1])
        treat_all = self.prevalence - (1 - self.prevalence) * cost
        return hits - alarms * cost - np.maximum(treat_all, 0.0)

    def _called(self, thresholds: np.ndarray) -> np.ndarray:
        """Return the fractions of rows that are hits and false alarms of scores at or above thresholds (C,), (2, C)."""
        above = [
            [1 - np.searchsorted(scores, limit) / len(scores) for scores, limit in zip(own, thresholds)]
            for own in (self.positives, self.negatives)
        ]
        return np.array(above) * [self.prevalence, 1 - self.prevalence]


def key_of(design: Design) -> int:
    """Return the number by which streams of a design differ from those of others."""
    return zlib.crc32(design.name.encode())


def truth_of(design: Design, patients: int = PATIENTS) -> Truth:
    """Measure the true figures of a design. Figures of equal findings are averaged."""
    draw = np.random.default_rng([99, key_of(design)])
    cohort = draw_cohort(draw, patients, marginal(design.law))
    targets = cohort.targets
    means, spread = np.array(design.means()), design.spread
    weaker, other_spread = (np.array(part) for part in design.second())
    is_alike = len(set(design.prevalence)) == len(set(design.auroc)) == 1

    def alike(values: np.ndarray) -> np.ndarray:
        return np.full(len(values), values.mean()) if is_alike else values

    def own(share: float) -> np.ndarray:
        drawn = noise(draw, cohort.patient, cohort.exam, len(cohort.shared))
        return np.sqrt(share) * cohort.shared + np.sqrt(1 - share) * drawn

    values: dict[str, np.ndarray] = {}
    pair = own(PAIR_SHARE)
    first = cohort.shifted(pair, means, spread)
    _add(values, "", targets, [first], [1.0])
    _add(values, "second ", targets, [cohort.shifted(pair, weaker, float(other_spread))], [1.0])
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    seed = own(SEED_SHARE)
    for name, mean, deviation in zip(
        ("recipe ", "second recipe "), (means, np.array(design.second_recipe())), design.seed_spread
    ):
        scores = (cohort.shifted(seed, mean + deviation * node, spread) for node in nodes)
        _add(values, name, targets, scores, weights / weights.sum())
    lines = np.stack([_line(targets[:, c], first[:, c]) for c in range(targets.shape[1])])
    if is_alike:
        lines[:] = lines.mean(axis=0)
    slopes = np.maximum(lines[:, 1], FLATTEST)
    forecast = np.stack([STEEP * lines[:, 0] + HIGH, STEEP * slopes], axis=1)
    logits = forecast[:, 0] + forecast[:, 1] * first
    values["brier"] = brier_score(targets, expit(logits)).brier
    values["slope"] = lines[:, 1] / forecast[:, 1]
    values["intercept"] = np.array(
        [logistic_fit(np.ones((len(z), 1)), y, offset=z)[0] for y, z in zip(targets.T, logits.T)]
    )
    values = {name: alike(value) for name, value in values.items()}
    if design.is_null:
        _equalise(values, design)
    columns = [(first[hits, c], first[~hits, c]) for c, hits in enumerate(targets.T == 1)]
    if is_alike:
        pooled = [np.concatenate(side) for side in zip(*columns)]
        columns = [(pooled[0], pooled[1])] * len(columns)
    return Truth(
        values,
        [np.sort(high) for high, _ in columns],
        [np.sort(low) for _, low in columns],
        alike(targets.mean(axis=0)),
        forecast,
    )


def _add(
    values: dict[str, np.ndarray],
    name: str,
    targets: np.ndarray,
    scores: Iterable[np.ndarray],
    weights: Iterable[float],
) -> None:
    """Add the weighted mean of AUROC and AUPRC over scores."""
    for one, weight in zip(scores, weights):
        result = ranking_metrics(targets, one)
        for metric in RANKING:
            values[name + metric] = values.get(name + metric, 0.0) + weight * getattr(result, metric)


def _equalise(values: dict[str, np.ndarray], design: Design) -> None:
    """Take equal figures as equal: the large sample tells them apart by its error only."""
    is_same = design.second_spread in (None, design.spread)
    for metric in ("auroc", *(["auprc"] if is_same else [])):
        values[f"second {metric}"] = values[metric]
    is_same = len(set(design.seed_spread)) == 1
    for metric in ("auroc", *(["auprc"] if is_same else [])):
        values[f"second recipe {metric}"] = values[f"recipe {metric}"]


def _line(target: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Return intercept and slope of the logistic fit of one finding."""
    return np.asarray(logistic_fit(np.column_stack([np.ones(len(score)), score]), target))
