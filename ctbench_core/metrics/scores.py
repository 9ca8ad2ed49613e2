"""Scores beside chance: the Brier score of probabilities, and skill over a forecast of the prevalence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ctbench_core.errors import InputError
from ctbench_core.metrics.arrays import (
    Floats,
    any_head,
    as_scores,
    as_targets,
    as_weights,
    divide,
    has_resamples,
    nan_scores,
)


@dataclass(frozen=True)
class BrierScore:
    """Brier score and its skill per label, NaN where undefined; the reasons are of the score itself."""

    brier: Floats
    skill: Floats
    reasons: list[str | None]


def brier_score(targets: ArrayLike, probabilities: ArrayLike, weights: ArrayLike | None = None) -> BrierScore:
    """Compute the mean squared error of probabilities per label, and its skill 1 - brier / (p (1 - p)).

    targets (N, C) in {0, 1, NaN = unknown, left out}; probabilities (..., N, C) in [0, 1]; weights None, (N,) or
    (R, N). Shapes (..., C), with a leading R axis for weights (R, N). p is the prevalence, whose constant forecast
    scores p (1 - p); skill is NaN with one class. Source: Brier, Monthly Weather Review 1950; scikit-learn
    `brier_score_loss`. Raises InputError for wrong shapes and for a probability outside [0, 1].

    >>> brier_score([[0], [1]], [[0.5], [1.0]]).brier
    array([0.125])
    """
    truth = as_targets(targets, axes=2)
    values = as_scores(probabilities, truth)
    draws = as_weights(weights, len(truth))
    known = ~np.isnan(truth)
    if ((values < 0) | (values > 1)).any():
        raise InputError("Probabilities must lie in [0, 1]: pass the sigmoid of logits.")
    error = np.where(known, (values - truth) ** 2, 0.0)
    total, count = draws @ error, draws @ known
    prevalence = divide(draws @ (truth == 1), count)
    brier = np.moveaxis(divide(total, count), -2, 0)
    chance = np.expand_dims(prevalence * (1 - prevalence), tuple(range(1, brier.ndim - 1)))
    skill = 1 - divide(brier, chance)
    broken = any_head(nan_scores(truth, values))
    reasons = [_reason(bool(some), bool(bad)) for some, bad in zip(any_head(known), broken)]
    return BrierScore(brier, skill, reasons) if has_resamples(weights) else BrierScore(brier[0], skill[0], reasons)


def auprc_skill(auprc: ArrayLike, prevalence: ArrayLike) -> Floats:
    """Compute how far average precision stands above chance: (auprc - prevalence) / (1 - prevalence).

    Arrays of one shape; 1 is perfect, 0 is a random order, NaN where auprc is NaN or the prevalence 1.

    >>> float(auprc_skill(0.625, 0.25))
    0.5
    """
    share = np.asarray(prevalence, np.float64)
    return divide(np.asarray(auprc, np.float64) - share, 1 - share)


def _reason(known: bool, broken: bool) -> str | None:
    if not known:
        return "no known rows"
    return "scores are NaN" if broken else None
