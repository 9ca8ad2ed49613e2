"""Figures of the product's rules from fast resamples of patients, for simulations: compiled by numba where it is installed.

Only the resamples of AUROC and AUPRC are a shortcut, and `check` compares them with the product's. numba is no requirement
of the project: `pip install numba`. Without it the product's own functions resample, some ten times slower.

Shapes: L layers, N rows, C findings, P patients, R resamples.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ctbench_core.inference.figures import Figures, figures_of
from ctbench_core.metrics import metric_values

try:
    from numba import njit  # type: ignore[import-not-found, unused-ignore]
except ImportError:
    njit = None

RANKING = ("auroc", "auprc")
_TOLERANCE = 1e-9


def patient_counts(draw: np.random.Generator, patients: int, resamples: int) -> np.ndarray:
    """Draw patients with replacement; return how often each was drawn, (R, P)."""
    drawn = draw.integers(0, patients, (resamples, patients)) + patients * np.arange(resamples)[:, None]
    return np.bincount(drawn.ravel(), minlength=resamples * patients).reshape(resamples, patients).astype(np.uint8)


def fast_figures(
    names: Sequence[str],
    targets: np.ndarray,
    scores: np.ndarray,
    patient: np.ndarray,
    counts: np.ndarray,
    thresholds: np.ndarray | float = 0.5,
) -> dict[str, Figures]:
    """Measure metrics as `ctbench_core.inference.measure`, in given resamples.

    targets (N, C) or (L, N, C), NaN left out; scores (L, N, C); patient (N,) codes; counts (R, P); thresholds () or (C,).
    """
    limits = np.broadcast_to(np.asarray(thresholds, float), targets.shape[-1:])
    labels = [f"finding {c}" for c in range(targets.shape[-1])]
    exact = _values(names, targets, scores, None, limits)
    draws = _values(names, targets, scores, (patient, counts), limits)
    layers = targets if targets.ndim == 3 else targets[None]
    return {name: figures_of(name, exact[name], draws[name], layers, scores, patient, labels, limits) for name in names}


def check(targets: np.ndarray, scores: np.ndarray, patient: np.ndarray, counts: np.ndarray) -> None:
    """Compare fast resamples with the product's. Raises AssertionError where they differ."""
    fast = resampled_areas(targets, scores, patient, counts)
    plain = _plain(RANKING, targets, scores, counts[:, patient].astype(float), np.full(targets.shape[-1], 0.5))
    for name, draws in fast.items():
        gap = float(np.nanmax(np.abs(draws - plain[name]), initial=0.0))
        assert gap < _TOLERANCE, f"{name} differs by {gap:.2g} between fast and plain resamples"
        assert (np.isnan(draws) == np.isnan(plain[name])).all(), f"{name} is undefined in other resamples"


def resampled_areas(
    targets: np.ndarray, scores: np.ndarray, patient: np.ndarray, counts: np.ndarray
) -> dict[str, np.ndarray]:
    """Return AUROC and AUPRC in resamples, each (R, L, C); arguments as `fast_figures`."""
    layers, _, findings = scores.shape
    areas = np.empty((2, len(counts), layers, findings))
    codes, times = patient.astype(np.int32), np.ascontiguousarray(counts.T)
    for at in np.ndindex(layers, findings):
        column = targets[..., at[1]] if targets.ndim == 2 else targets[at[0], :, at[1]]
        order = np.argsort(-scores[at[0], :, at[1]], kind="stable")
        order = order[~np.isnan(column[order])]
        sorted_scores = scores[at[0], order, at[1]]
        ends = np.flatnonzero(np.append(sorted_scores[1:] != sorted_scores[:-1], True)) + 1
        found = np.empty((2, len(counts)))
        _areas(times, codes[order], column[order] == 1, np.append(0, ends), found)
        areas[:, :, at[0], at[1]] = found
    return dict(zip(RANKING, areas))


def _values(
    names: Sequence[str],
    targets: np.ndarray,
    scores: np.ndarray,
    resamples: tuple[np.ndarray, np.ndarray] | None,
    limits: np.ndarray,
) -> dict[str, np.ndarray]:
    """Return metrics (L, C), or (R, L, C) in resamples (patient codes, counts)."""
    if resamples is None:
        return _plain(names, targets, scores, None, limits)
    patient, counts = resamples
    ranking = [name for name in names if name in RANKING and njit is not None]
    values = resampled_areas(targets, scores, patient, counts) if ranking else {}
    others = [name for name in names if name not in values]
    weights = counts[:, patient].astype(float) if others else None
    return values | (_plain(others, targets, scores, weights, limits) if others else {})


def _plain(
    names: Sequence[str],
    targets: np.ndarray,
    scores: np.ndarray,
    weights: np.ndarray | None,
    limits: np.ndarray,
) -> dict[str, np.ndarray]:
    if targets.ndim == 2:
        return metric_values(names, targets, scores, weights, limits)
    layers = [metric_values(names, one, own, weights, limits) for one, own in zip(targets, scores)]
    return {name: np.stack([layer[name] for layer in layers], axis=-2) for name in names}


def _areas(times: np.ndarray, patient: np.ndarray, hit: np.ndarray, starts: np.ndarray, out: np.ndarray) -> None:
    """Fill out (2, R) with AUROC and AUPRC. Rows are in falling order of score; ``starts`` are those of equal scores, and N.

    times (P, R): how often a patient was drawn; the inner loops run over resamples, so that they are vectorised.
    """
    resamples = times.shape[1]
    hits, misses = np.zeros(resamples, np.int32), np.zeros(resamples, np.int32)
    block_hits, block_misses = np.zeros(resamples, np.int32), np.zeros(resamples, np.int32)
    lost, precision = np.zeros(resamples), np.zeros(resamples)
    for k in range(len(starts) - 1):
        first, end = starts[k], starts[k + 1]
        if not hit[first:end].any():
            for i in range(first, end):
                row = times[patient[i]]
                for r in range(resamples):
                    misses[r] += row[r]
            continue
        block_hits[:] = 0
        block_misses[:] = 0
        for i in range(first, end):
            row, into = times[patient[i]], block_hits if hit[i] else block_misses
            for r in range(resamples):
                into[r] += row[r]
        for r in range(resamples):
            lost[r] += block_hits[r] * (misses[r] + 0.5 * block_misses[r])
            hits[r] += block_hits[r]
            misses[r] += block_misses[r]
            called = max(hits[r] + misses[r], 1)
            precision[r] += block_hits[r] * (hits[r] / called)
    for r in range(resamples):
        defined = hits[r] > 0 and misses[r] > 0
        out[0, r] = 1 - lost[r] / (float(hits[r]) * misses[r]) if defined else np.nan
        out[1, r] = precision[r] / hits[r] if defined else np.nan


if njit is not None:
    _areas = njit(cache=True)(_areas)
