"""Bands of precision-recall and ROC curves: pointwise percentiles over resamples of patients.

Shapes: N rows, C findings, R resamples, G points of a band.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ctbench_core.inference.patients import draw_counts, evidence, patient_codes
from ctbench_core.inference.rules import LEVEL, MIN_PATIENTS
from ctbench_core.metrics import Floats, as_scores, as_targets, divide

POINTS, BAND_RESAMPLES = 61, 200
_GRID = np.linspace(0, 1, POINTS)
_TAILS = (1 - LEVEL) / 2, (1 + LEVEL) / 2


class Band(NamedTuple):
    """Lower and upper limits (G,) of a curve at x (G,): pointwise, not for the whole curve at once."""

    x: Floats
    lower: Floats
    upper: Floats


def curve_bands(
    targets: ArrayLike, scores: ArrayLike, patients: ArrayLike, resamples: int = BAND_RESAMPLES, seed: int = 0
) -> list[dict[str, Band]]:
    """Return for each finding pointwise 95 % bands of precision at each recall (``pr``) and sensitivity at each FPR (``roc``).

    targets (N, C) in {0, 1, NaN}; scores (N, C); patients (N,). All findings share the resamples. Empty where a class
    has fewer than 10 patients. Raises InputError for wrong shapes.
    """
    truth = as_targets(targets, axes=2)
    values = as_scores(scores, truth)
    codes = patient_codes(patients)
    rankings = [_ranking(labels, column, codes) for labels, column in zip(truth.T, values.T)]
    drawn: list[tuple[list[Floats], list[Floats]]] = [([], []) for _ in rankings]
    for chunk in draw_counts(int(codes.max(initial=-1)) + 1, resamples, seed):
        for times in chunk:
            for ranking, (precisions, rates) in zip(rankings, drawn):
                if ranking is not None and (curves := ranking.curves(times)) is not None:
                    precisions.append(curves[0])
                    rates.append(curves[1])
    return [{"pr": _band(precisions), "roc": _band(rates)} for precisions, rates in drawn]


def _band(rows: list[Floats]) -> Band:
    if not rows:
        return Band(np.empty(0), np.empty(0), np.empty(0))
    return Band(_GRID, *np.nanquantile(np.stack(rows), _TAILS, axis=0))


def _ranking(truth: Floats, values: Floats, codes: NDArray[np.intp]) -> _Ranking | None:
    """Return the rows of one finding by falling score; None where it has no band."""
    scarcer = min(evidence(codes, truth == value).patients for value in (0, 1))
    if scarcer < MIN_PATIENTS or np.isnan(values).any():
        return None
    order = np.argsort(-values, kind="stable")
    order = order[~np.isnan(truth[order])]
    hit = truth[order] == 1
    last = np.append(np.flatnonzero(np.diff(values[order])), len(order) - 1)
    return _Ranking(*(_Class(codes[order[rows]], np.flatnonzero(rows), last) for rows in (hit, ~hit)))


class _Class:
    """The rows of one class in rank order: their patients, their tie blocks, and how many stand up to each block's end.

    Attributes:
        patients, block: (rows of the class,). up_to: (blocks + 1,), from 0 before the first block.
    """

    def __init__(self, patients: NDArray[np.intp], places: NDArray[np.intp], ends: NDArray[np.intp]) -> None:
        self.patients = patients
        self.block = np.searchsorted(ends, places)
        self.up_to = np.append(0, np.searchsorted(places, ends, side="right"))

    def sums(self, times: NDArray[np.intp]) -> NDArray[np.intp]:
        """Return how many rows of a resample stand up to each row of the class, from 0: (rows + 1,)."""
        return np.append(0, np.cumsum(times[self.patients]))


@dataclass(frozen=True)
class _Ranking:
    """The rows of one finding; a curve is looked up where the grid crosses it, and not made as a whole."""

    positive: _Class
    negative: _Class

    def curves(self, times: NDArray[np.intp]) -> tuple[Floats, Floats] | None:
        """Return both curves (G,) of a resample, by how often each patient was drawn; None without both classes."""
        hits, misses = self.positive.sums(times), self.negative.sums(times)
        if not (hits[-1] and misses[-1]):
            return None
        return self._precision(hits, misses), self._sensitivity(hits, misses)

    def _precision(self, hits: NDArray[np.intp], misses: NDArray[np.intp]) -> Floats:
        """Return precision where each recall is first reached: a step, as in average precision."""
        at = np.searchsorted(hits[1:], (_GRID - 1e-12) * hits[-1])
        block = self.positive.block[np.minimum(at, len(self.positive.block) - 1)]
        block[0] = 0  # recall 0 is reached by the first block, of whatever class
        tp, fp = hits[self.positive.up_to[block + 1]], misses[self.negative.up_to[block + 1]]
        return divide(tp, tp + fp)

    def _sensitivity(self, hits: NDArray[np.intp], misses: NDArray[np.intp]) -> Floats:
        """Return sensitivity at each false positive rate, on the line between the ends of two blocks."""
        beyond = np.searchsorted(misses[1:] / misses[-1], _GRID, side="right")
        inside = beyond < len(self.negative.block)
        block = self.negative.block[beyond[inside]]
        x, y = ((sums / sums[-1])[one.up_to] for sums, one in ((misses, self.negative), (hits, self.positive)))
        sensitivity = np.ones(POINTS)
        slope = (y[block + 1] - y[block]) / (x[block + 1] - x[block])
        sensitivity[inside] = y[block] + slope * (_GRID[inside] - x[block])
        return sensitivity
