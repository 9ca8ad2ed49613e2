"""Resamples of patients: rows of one patient are not independent, so patients are drawn and their rows come along.

A resample is a vector of row weights (how often the row's patient came), and every figure is computed from weights, so
all resamples share one sort (`ranking_metrics`) or one product of matrices.

Shapes: N rows, C labels, R resamples; ``...`` leading axes such as models or seeds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ctbench_core.errors import InputError
from ctbench_core.metrics import Floats, MetricFn, as_targets

RESAMPLES = 1000
# Resamples a call: bounds memory at 64 x 50,188 x 8 B = 26 MB of weights.
_CHUNK = 64


@dataclass(frozen=True)
class Evidence:
    """What a label's interval rests on: distinct patients with a positive and with a negative row, each (C,)."""

    positive: NDArray[np.intp]
    negative: NDArray[np.intp]

    @property
    def scarcer(self) -> NDArray[np.intp]:
        """Patients on the scarcer side, (C,)."""
        return np.minimum(self.positive, self.negative)


def patient_codes(patients: ArrayLike) -> NDArray[np.intp]:
    """Number the patients 0, 1, ... in the order of their names; return the number of each row, (N,)."""
    return np.asarray(np.unique(np.asarray(patients).astype(str), return_inverse=True)[1], np.intp)


def evidence(targets: ArrayLike, patients: ArrayLike) -> Evidence:
    """Count the patients behind each label: targets (N, C) in {0, 1, NaN}, patients (N,)."""
    truth = as_targets(targets, axes=2)
    codes = patient_codes(patients)
    sides = [[len(np.unique(codes[column == side])) for column in truth.T] for side in (1, 0)]
    return Evidence(*(np.array(side, np.intp) for side in sides))


def patient_weights(patients: ArrayLike, resamples: int = RESAMPLES, seed: int = 0) -> Iterator[Floats]:
    """Draw patients with replacement; yield row weights of shape (up to 64, N) until all resamples are out."""
    codes = patient_codes(patients)
    rng = np.random.default_rng(seed)
    count = int(codes.max(initial=-1)) + 1
    for start in range(0, resamples, _CHUNK):
        drawn = rng.integers(0, count, (min(_CHUNK, resamples - start), count))
        times = np.stack([np.bincount(row, minlength=count) for row in drawn])
        yield times[:, codes].astype(np.float64)


def resampled(
    figures: MetricFn,
    targets: ArrayLike,
    scores: ArrayLike,
    patients: ArrayLike,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Floats]:
    """Compute figures in every resample of patients: (R, ..., C) by name, NaN where a resample leaves one undefined.

    targets (N, C) in {0, 1, NaN}; scores (..., N, C); patients (N,). The same seed draws the same patients, so figures
    of several calls are paired. Raises InputError for wrong shapes.
    """
    truth = as_targets(targets, axes=2)
    values = np.asarray(scores, np.float64)
    if len(np.asarray(patients)) != len(truth):
        raise InputError(f"Patients must be one a row, got {len(np.asarray(patients))} for {len(truth)} rows.")
    parts = [figures(truth, values, weights) for weights in patient_weights(patients, resamples, seed)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
