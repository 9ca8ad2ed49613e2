"""The false discovery rate over a family of tests."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ctbench_core.errors import InputError
from ctbench_core.metrics.arrays import Floats


def benjamini_hochberg(p: ArrayLike) -> Floats:
    """Adjust p-values (T,) so that marks below q hold the false discovery rate at q; NaN stays out of the family.

    The i-th smallest of m becomes min over j >= i of p_j m / j. Source: Benjamini and Hochberg, JRSS B 1995; SciPy
    `false_discovery_control`. Raises InputError for values outside [0, 1].

    >>> benjamini_hochberg([0.01, 0.04, 0.03]).round(3).tolist()
    [0.03, 0.04, 0.04]
    """
    values = np.asarray(p, np.float64)
    known = ~np.isnan(values)
    given = values[known]
    if ((given < 0) | (given > 1)).any():
        raise InputError("p-values must lie in [0, 1].")
    order = np.argsort(given)
    scaled = given[order] * len(given) / np.arange(1, len(given) + 1)
    adjusted = np.empty_like(given)
    adjusted[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    found = np.full(values.shape, np.nan)
    found[known] = adjusted
    return found
