"""Percentile intervals from resamples of patients: bands of curves, and means over retrieval queries.

Shapes: N rows or queries, P patients, M metrics, R resamples, G points of a band.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ctbench_core.inference.intervals import LEVEL, MIN_PATIENTS
from ctbench_core.inference.resampling import RESAMPLES, count_patients, draw_counts, patient_codes, patient_weights
from ctbench_core.metrics import Floats, as_scores, as_targets, divide

POINTS, BAND_RESAMPLES = 61, 200
_TAILS = (1 - LEVEL) / 2, (1 + LEVEL) / 2


class Band(NamedTuple):
    """Lower and upper limits (G,) of a curve at x (G,): pointwise, not for the whole curve at once."""

    x: Floats
    lower: Floats
    upper: Floats


def curve_bands(
    targets: ArrayLike, scores: ArrayLike, patients: ArrayLike, resamples: int = BAND_RESAMPLES, seed: int = 0
) -> dict[str, Band]:
    """Return pointwise 95 % bands of precision at each recall (``pr``) and sensitivity at each FPR (``roc``).

    targets (N,) in {0, 1, NaN}; scores (N,); patients (N,). Empty where a class has fewer than 10 patients. Raises
    InputError for wrong shapes.
    """
    truth = as_targets(targets, axes=1)
    values = as_scores(scores, truth)
    if count_patients(truth[:, None], patients).scarcer[0] < MIN_PATIENTS or np.isnan(values).any():
        empty = Band(np.empty(0), np.empty(0), np.empty(0))
        return {"pr": empty, "roc": empty}
    order = np.argsort(-values, kind="stable")
    order = order[~np.isnan(truth[order])]
    hit = truth[order] == 1
    last = np.append(np.flatnonzero(np.diff(values[order])), len(order) - 1)  # the ends of the tie blocks
    grid = np.linspace(0, 1, POINTS)
    curves: dict[str, list[Floats]] = {"pr": [], "roc": []}
    for weights in patient_weights(patients, resamples, seed):
        ranked = weights[:, order]
        tp, fp = np.cumsum(ranked * hit, axis=1)[:, last], np.cumsum(ranked * ~hit, axis=1)[:, last]
        for t, f in zip(tp, fp):
            if t[-1] and f[-1]:
                curves["pr"].append(_precision(grid, t, f))
                curves["roc"].append(np.interp(grid, np.append(0.0, f / f[-1]), np.append(0.0, t / t[-1])))
    return {name: Band(grid, *np.nanquantile(np.stack(rows), _TAILS, axis=0)) for name, rows in curves.items()}


def _precision(grid: Floats, tp: Floats, fp: Floats) -> Floats:
    """Return precision where each recall of the grid is first reached: a step, as in average precision."""
    precision = divide(tp, tp + fp)
    at = np.searchsorted(tp / tp[-1], grid - 1e-12)
    return precision[np.minimum(at, len(precision) - 1)]


def query_intervals(
    metrics: dict[str, np.ndarray], patients: np.ndarray, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """Return 95 % percentile intervals of mean retrieval metrics by resampling query patients; the gallery stays.

    metrics: values by query (N,), NaN where a query is not scored; patients: (N,) of any hashable kind. NaN bounds
    where fewer than ten patients have a scored query.
    """
    codes = patient_codes(patients)
    count = int(codes.max(initial=-1)) + 1
    values = np.stack(list(metrics.values()), axis=1)
    sums, scored = (
        np.stack([np.bincount(codes, column, minlength=count) for column in table.T], axis=1)
        for table in (np.nan_to_num(values), ~np.isnan(values))
    )
    draws = np.concatenate([_means(times, sums, scored) for times in draw_counts(count, resamples, seed)])
    bounds = {}
    for column, name in enumerate(metrics):
        known = draws[:, column][~np.isnan(draws[:, column])]
        enough = (scored[:, column] > 0).sum() >= MIN_PATIENTS and len(known) >= 0.95 * resamples
        low, high = np.quantile(known, _TAILS) if enough else (np.nan, np.nan)
        bounds[name] = (float(low), float(high))
    return bounds


def _means(times: np.ndarray, sums: np.ndarray, scored: np.ndarray) -> np.ndarray:
    """Return means (R, M) from patient counts (R, P) and the sums and scored queries of each patient, both (P, M)."""
    weights = times.astype(np.float64)
    return divide(weights @ sums, weights @ scored)
