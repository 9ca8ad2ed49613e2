"""One data set of a K-fold design: heads are trained on simulated features of two encoders, and compared over folds.

The truth is what heads trained on as many other patients reach among all patients. Two encoders add noise of their own
to the same signal: without a gap, unlike recipes of equal strength. Shapes: N rows, D features, C findings, S seeds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from benchmarks.coverage.designs import Design
from benchmarks.coverage.tally import Tally
from benchmarks.coverage.truths import RANKING, key_of
from ctbench_core.inference.figures import MACRO, place_of
from ctbench_core.inference.kfold import kfold_difference, kfold_estimate, kfold_figures
from ctbench_core.metrics import ranking_metrics

FOLDS, DIMENSIONS = 5, 12
RIDGE = 3.0
SEED_SHARE = 0.8  # of the training patients that a seed learns from
ENCODER_NOISE, LABEL_NOISE = 0.7, 1.0
_TRAININGS, _TEST = 120, 60_000  # behind the truth
_MODELS_TEST = 20_000  # behind the truth of trained models
TRAINED = "trained models by fold, auroc"


@dataclass(frozen=True)
class Rows:
    """Rows of some patients: patient codes (N,), targets (N, C), features (2, N, D) of two encoders."""

    patient: np.ndarray
    targets: np.ndarray
    features: np.ndarray


@dataclass(frozen=True)
class FoldTruth:
    """True figures of the two recipes by metric, (C,), and a large test set for the models of a repeat."""

    first: dict[str, np.ndarray]
    second: dict[str, np.ndarray]
    test: Rows


def draw_rows(draw: np.random.Generator, design: Design, patients: int, is_single: bool = False) -> Rows:
    """Draw patients of one to three similar rows; a single one for a test set that is large anyway."""
    directions = np.random.default_rng(0).normal(size=(DIMENSIONS, len(design.prevalence))) / np.sqrt(DIMENSIONS)
    patient = np.repeat(np.arange(patients), 1 if is_single else draw.integers(1, 4, patients))
    signal = draw.normal(size=(patients, DIMENSIONS))[patient] + 0.3 * draw.normal(size=(len(patient), DIMENSIONS))
    scale = np.sqrt(1.09 * (directions**2).sum(axis=0) + LABEL_NOISE**2)
    logits = (signal @ directions + LABEL_NOISE * draw.normal(size=(patients, len(scale)))[patient]) / scale
    targets = (logits > ndtri(1 - np.array(design.prevalence))).astype(float)
    noise = draw.normal(size=(2, patients, DIMENSIONS))[:, patient]
    levels = np.array([ENCODER_NOISE, ENCODER_NOISE * (1 + 4 * design.gap)])
    return Rows(patient, targets, signal + levels[:, None, None] * noise)


def train(draw: np.random.Generator, features: np.ndarray, targets: np.ndarray, patient: np.ndarray) -> np.ndarray:
    """Fit ridge heads (D + 1, C) on a random share of the patients: what a seed draws."""
    names = np.unique(patient)
    chosen = np.isin(patient, draw.choice(names, int(SEED_SHARE * len(names)), replace=False))
    x = np.c_[features[chosen], np.ones(chosen.sum())]
    return np.linalg.solve(x.T @ x + RIDGE * np.eye(x.shape[1]), x.T @ targets[chosen])


def predict(features: np.ndarray, head: np.ndarray) -> np.ndarray:
    return features @ head[:-1] + head[-1]


def truth_of_folds(design: Design) -> FoldTruth:
    """Train on many samples of the size of a training part, and measure on a large test set."""
    draw = np.random.default_rng([99, key_of(design)])
    size = round(design.patients * (FOLDS - 1) / FOLDS)
    test = draw_rows(draw, design, _TEST, is_single=True)
    sums: list[dict[str, np.ndarray]] = [{}, {}]
    for _ in range(_TRAININGS):
        rows = draw_rows(draw, design, size)
        for encoder, total in enumerate(sums):
            head = train(draw, rows.features[encoder], rows.targets, rows.patient)
            result = ranking_metrics(test.targets, predict(test.features[encoder], head))
            for name in RANKING:
                total[name] = total.get(name, 0.0) + getattr(result, name) / _TRAININGS
    first, second = sums
    if design.is_null:  # equal by design: the large samples tell them apart by their error only
        first = second = {name: (first[name] + second[name]) / 2 for name in RANKING}
    part = slice(_MODELS_TEST)
    return FoldTruth(first, second, Rows(test.patient[part], test.targets[part], test.features[:, part]))


def repeat(draw: np.random.Generator, design: Design, truth: FoldTruth, tally: Tally) -> None:
    """Draw one data set, train all folds and seeds, and count intervals and tests."""
    rows = draw_rows(draw, design, design.patients)
    folds = (draw.permutation(design.patients) % FOLDS)[rows.patient]
    labels = [f"finding {c}" for c in range(rows.targets.shape[1])]
    # The first encoder twice: the same recipe with other seeds.
    scores, heads = zip(*(_out_of_fold(draw, rows, folds, encoder, max(design.seeds)) for encoder in (0, 1, 0)))
    share = 1 / (FOLDS - 1)
    for seeds in design.seeds:
        own = [one[:seeds] for one in scores]
        figures = kfold_figures(rows.targets, own[0], folds, rows.patient, labels, RANKING)
        for name, one in figures.items():
            found = kfold_estimate(one, share)
            for title, columns, true in _columns(one.columns, truth.first[name]):
                tally.add(f"{title}K-fold x {seeds}, {name}", found.bounds[columns], true, value=found.value[columns])
        for title, other, gaps in (
            ("two recipes", own[1], {name: truth.first[name] - truth.second[name] for name in RANKING}),
            ("same recipe, other seeds", own[2], {name: np.zeros(len(labels)) for name in RANKING}),
        ):
            differences = kfold_difference(rows.targets, own[0], other, folds, rows.patient, labels, share, 1, RANKING)
            for name, gap in differences.items():
                for prefix, columns, true in _columns(gap.columns, gaps[name]):
                    tally.add(
                        f"{prefix}K-fold x {seeds}, {title}, {name}",
                        gap.bounds[columns],
                        true,
                        value=gap.delta[columns],
                        p=gap.p[columns],
                    )
            if seeds == 1 and title == "two recipes":
                trained = differences["auroc"]
                true = np.array([_trained_gap(truth.test, heads[0], heads[1])])
                tally.add(TRAINED, trained.models_bounds[:1], true, value=trained.delta[:1], p=trained.models_p[:1])


def _columns(columns: list[str], truth: np.ndarray) -> list[tuple[str, np.ndarray, np.ndarray]]:
    macro = place_of(columns, MACRO)
    return [("", np.arange(len(truth)), truth), ("macro ", np.array([macro]), truth.mean(keepdims=True))]


def _out_of_fold(
    draw: np.random.Generator, rows: Rows, folds: np.ndarray, encoder: int, seeds: int
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return scores (S, N, C) by heads that did not learn from the row, and the first seed's head of each fold."""
    features = rows.features[encoder]
    scores, first = np.empty((seeds, *rows.targets.shape)), []
    for fold in range(FOLDS):
        test = folds == fold
        for seed in range(seeds):
            head = train(draw, features[~test], rows.targets[~test], rows.patient[~test])
            scores[seed, test] = predict(features[test], head)
            if seed == 0:
                first.append(head)
    return scores, first


def _trained_gap(test: Rows, first: list[np.ndarray], second: list[np.ndarray]) -> float:
    """Return the true difference of the mean AUROC of trained heads, of the first finding."""
    means = [
        np.mean([ranking_metrics(test.targets[:, :1], predict(features, head[:, :1])).auroc[0] for head in heads])
        for features, heads in zip(test.features, (first, second))
    ]
    return float(means[0] - means[1])
