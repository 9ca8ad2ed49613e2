"""Intervals of retrieval figures: query patients are drawn, the gallery stays as it is.

Shapes: N queries, P patients, F figures, R resamples.
"""

from __future__ import annotations

import numpy as np

RESAMPLES = 1000
LEVEL = 0.95
MIN_PATIENTS = 10
_CHUNK = 64


def query_intervals(
    figures: dict[str, np.ndarray], patients: np.ndarray, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """Return 95 % percentile intervals of means by resampling query patients.

    figures: values by query (N,), NaN where a query is not scored; patients: (N,) of any hashable kind. NaN bounds
    where fewer than ten patients have a scored query.
    """
    code = np.unique(np.asarray(patients).astype(str), return_inverse=True)[1]
    count = int(code.max(initial=-1)) + 1
    values = np.stack(list(figures.values()), axis=1)
    scored = ~np.isnan(values)
    sums = np.stack([np.bincount(code, column, minlength=count) for column in np.nan_to_num(values).T], axis=1)
    rows = np.stack([np.bincount(code, column, minlength=count) for column in scored.T], axis=1)
    draws = _means(sums, rows, resamples, seed)
    tails = (1 - LEVEL) / 2, (1 + LEVEL) / 2
    bounds = {}
    for place, name in enumerate(figures):
        known = draws[:, place][~np.isnan(draws[:, place])]
        enough = (rows[:, place] > 0).sum() >= MIN_PATIENTS and len(known) >= 0.95 * resamples
        low, high = np.quantile(known, tails) if enough else (np.nan, np.nan)
        bounds[name] = (float(low), float(high))
    return bounds


def _means(sums: np.ndarray, rows: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Return resampled means (R, F) from sums and scored rows of each patient, both (P, F)."""
    rng = np.random.default_rng(seed)
    means = np.empty((resamples, sums.shape[1]))
    for start in range(0, resamples, _CHUNK):
        drawn = rng.integers(0, len(sums), (min(_CHUNK, resamples - start), len(sums)))
        times = np.stack([np.bincount(row, minlength=len(sums)) for row in drawn]).astype(np.float64)
        total = times @ rows
        some = np.divide(times @ sums, total, out=np.full(total.shape, np.nan), where=total > 0)
        means[start : start + len(drawn)] = some
    return means
