"""AUROC and AUPRC in many resamples of patients, for simulations: compiled by numba, scores without ties only.

The product's `resampled` does the same for any scores (tests/metrics/test_simulation.py holds both to 1e-12). numba is no
requirement of the project: `pip install numba`. Without it the same code runs as plain Python, a hundred times slower.

Shapes: P patients, N rows, M models, R resamples.
"""

from __future__ import annotations

import numpy as np

from ctbench_core.inference import PatientCounts

try:
    from numba import njit
except ImportError:  # the tests run without it

    def njit(**_: object):
        return lambda function: function


def drawn_patients(draw: np.random.Generator, patients: int, resamples: int) -> np.ndarray:
    """Draw patients with replacement; return how often each came, (R, P)."""
    return _count(draw.integers(0, patients, (resamples, patients), dtype=np.int32), patients)


def resampled_areas(
    targets: np.ndarray, scores: np.ndarray, patient: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return AUROC and AUPRC, each (R, M): targets, scores (M, N), no ties; patient (N,); weights (R, P)."""
    order = np.argsort(-scores, axis=1)
    hits = np.take_along_axis(targets, order, axis=1) == 1
    found = np.empty((2, len(weights), len(scores)))
    for m, (hit, rows) in enumerate(zip(hits, order)):
        _areas(weights, patient[rows].astype(np.int32), hit, found[:, :, m])
    return found[0], found[1]


def counted_patients(targets: np.ndarray, patient: np.ndarray) -> PatientCounts:
    """Count the patients behind each label, as `count_patients` does: targets (N, C), patient (N,) of codes."""
    sides = [[np.count_nonzero(np.bincount(patient[column == side])) for column in targets.T] for side in (1, 0)]
    return PatientCounts(*(np.array(side, np.intp) for side in sides))


@njit(cache=True)
def _count(drawn, patients):
    weights = np.zeros((len(drawn), patients), np.uint8)
    for r in range(len(drawn)):
        for k in range(patients):
            weights[r, drawn[r, k]] += 1
    return weights


@njit(cache=True)
def _areas(weights, patient, hit, out):
    """Fill out (2, R): rows stand in falling order of score."""
    for r in range(len(weights)):
        row = weights[r]
        above, alarms, beaten, precision = 0, 0, 0, 0.0
        for i in range(len(patient)):
            times = int(row[patient[i]])
            if hit[i]:
                if times:
                    above += times
                    precision += times * (above / (above + alarms))
            else:
                alarms += times
                beaten += times * above
        out[0, r] = beaten / (above * alarms) if above and alarms else np.nan
        out[1, r] = precision / above if above and alarms else np.nan
