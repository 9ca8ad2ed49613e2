"""Patients as the unit: resampling them with replacement, and how many stand behind a figure.

Rows of one patient are not independent, so they are drawn together. A resample is a vector of row weights (how often
the row's patient was drawn), and all resamples of a metric share one sort.

Shapes: N rows, C labels, P patients, R resamples; ``...`` leading axes such as models or seeds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ctbench_core.metrics import Floats, divide

RESAMPLES = 1000
# Resamples per chunk: limits the weights in memory to 64 x 50,188 x 8 B = 26 MB.
_CHUNK = 64
# Kish's effective patients, as a share of all patients, below which intervals carry a mark.
FEW_EFFECTIVE = 0.3


@dataclass(frozen=True)
class Evidence:
    """The patients behind a set of rows: their number, and Kish's effective number, which uneven clusters lower."""

    patients: int
    effective: float

    @property
    def mark(self) -> str:
        """The mark of intervals that a few patients with many rows dominate; else empty."""
        if self.effective >= FEW_EFFECTIVE * self.patients:
            return ""
        return f"few patients hold most volumes: {self.effective:.0f} effective of {self.patients} patients"


def fewest(parts: Iterable[Evidence]) -> Evidence:
    """Return the least number of patients and the least effective number: of classes or layers, the one that limits."""
    found = list(parts)
    return Evidence(min(one.patients for one in found), min(one.effective for one in found))


def evidence(codes: NDArray[np.intp], mask: np.ndarray) -> Evidence:
    """Count the patients of the marked rows: codes (N,), mask (N,). Source: Kish, Survey Sampling, 1965."""
    rows = np.bincount(codes[mask])
    return Evidence(int(np.count_nonzero(rows)), float(divide(float(rows.sum()) ** 2, float((rows**2.0).sum()))))


def patient_codes(patients: ArrayLike) -> NDArray[np.intp]:
    """Number the patients 0, 1, ... in the order of their names; return the number of each row, (N,)."""
    return np.asarray(np.unique(np.asarray(patients).astype(str), return_inverse=True)[1], np.intp)


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
