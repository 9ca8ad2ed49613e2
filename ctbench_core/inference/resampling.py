"""Resample patients with replacement: rows of one patient are not independent, so they are drawn together.

A resample is a vector of row weights (how often the row's patient was drawn). Metrics are computed from weights, so
all resamples share one sort (`ranking_metrics`) or one matrix product.

Shapes: N rows, C labels, P patients, R resamples; ``...`` leading axes such as models or seeds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ctbench_core.errors import InputError
from ctbench_core.metrics import Floats, MetricFn, as_targets

RESAMPLES = 1000
# Resamples per chunk: limits the weights in memory to 64 x 50,188 x 8 B = 26 MB.
_CHUNK = 64


@dataclass(frozen=True)
class PatientCounts:
    """The patients on whom a label's interval rests: those with a positive and with a negative row, each (C,)."""

    positive: NDArray[np.intp]
    negative: NDArray[np.intp]

    @property
    def scarcer(self) -> NDArray[np.intp]:
        """Return the patients of the scarcer class, (C,)."""
        return np.minimum(self.positive, self.negative)


def patient_codes(patients: ArrayLike) -> NDArray[np.intp]:
    """Number the patients 0, 1, ... in the order of their names; return the number of each row, (N,)."""
    return np.asarray(np.unique(np.asarray(patients).astype(str), return_inverse=True)[1], np.intp)


def count_patients(targets: ArrayLike, patients: ArrayLike) -> PatientCounts:
    """Count the patients of each class and label: targets (N, C) in {0, 1, NaN}, patients (N,)."""
    truth = as_targets(targets, axes=2)
    codes = patient_codes(patients)
    classes = [[len(np.unique(codes[column == value])) for column in truth.T] for value in (1, 0)]
    return PatientCounts(*(np.array(counts, np.intp) for counts in classes))


def draw_counts(count: int, resamples: int, seed: int) -> Iterator[NDArray[np.intp]]:
    """Draw `count` patients with replacement; yield how often each was drawn, (up to 64, P), until R resamples."""
    rng = np.random.default_rng(seed)
    for start in range(0, resamples, _CHUNK):
        draws = rng.integers(0, count, (min(_CHUNK, resamples - start), count))
        yield np.stack([np.bincount(row, minlength=count) for row in draws])


def patient_weights(patients: ArrayLike, resamples: int = RESAMPLES, seed: int = 0) -> Iterator[Floats]:
    """Yield the row weights of resamples of patients, in chunks of shape (up to 64, N)."""
    codes = patient_codes(patients)
    for times in draw_counts(int(codes.max(initial=-1)) + 1, resamples, seed):
        yield times[:, codes].astype(np.float64)


def resampled(
    metric_fn: MetricFn,
    targets: ArrayLike,
    scores: ArrayLike,
    patients: ArrayLike,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Floats]:
    """Compute metrics in every resample of patients: (R, ..., C) by name, NaN where undefined.

    targets (N, C) in {0, 1, NaN}; scores (..., N, C); patients (N,). The same seed draws the same patients, so the
    metrics of several calls are paired. Raises InputError for wrong shapes.
    """
    truth = as_targets(targets, axes=2)
    values = np.asarray(scores, np.float64)
    if len(np.asarray(patients)) != len(truth):
        raise InputError(f"Patients must be one a row, got {len(np.asarray(patients))} for {len(truth)} rows.")
    parts = [metric_fn(truth, values, weights) for weights in patient_weights(patients, resamples, seed)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
