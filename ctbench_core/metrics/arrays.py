"""Check arrays at the door of this package and bring them to float64.

Shapes, here and in the sibling files: N rows, C labels, R resample weights; ``...`` leading axes such as heads.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ctbench_core.errors import InputError

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def to_numpy(values: ArrayLike | Any) -> NDArray[Any]:
    """Return `values` as an array; a torch tensor is detached and copied to the CPU first."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        # NumPy has no bfloat16, in which mixed-precision runs keep their logits.
        values = values.float() if "bfloat16" in str(values.dtype) else values
    return np.asarray(values)


def as_targets(targets: ArrayLike, axes: int) -> Floats:
    """Return targets of so many axes as float64 in {0, 1, NaN}; InputError names any other value or shape."""
    array = to_numpy(targets).astype(np.float64)
    if array.ndim != axes:
        raise InputError(f"Targets must have shape {('(rows,)', '(rows, labels)')[axes - 1]}, got {array.shape}.")
    valid = (array == 0) | (array == 1) | np.isnan(array)
    if not valid.all():
        raise InputError(f"Targets must be 0, 1 or NaN (unknown), got {array[~valid][0]:g}: recode or blank it.")
    return array


def as_scores(scores: ArrayLike, targets: Floats) -> Floats:
    """Return scores (..., *targets.shape) as float64; InputError when the last axes differ from the targets'."""
    array = to_numpy(scores).astype(np.float64)
    if array.shape[-targets.ndim :] != targets.shape:
        raise InputError(f"Scores must end in the targets' shape {targets.shape}, got {array.shape}.")
    return array


def as_weights(weights: ArrayLike | None, rows: int) -> Floats:
    """Return row weights as (R, N) float64, ones when None; InputError for a wrong length or an unusable weight."""
    if weights is None:
        return np.ones((1, rows))
    array = to_numpy(weights).astype(np.float64)
    if array.ndim not in (1, 2) or array.shape[-1] != rows:
        raise InputError(f"Weights must have shape ({rows},) or (resamples, {rows}), got {array.shape}.")
    if not (np.isfinite(array).all() and (array >= 0).all()):
        raise InputError("Weights must be finite and not negative; leave a row out with weight 0.")
    return np.atleast_2d(array)


def has_resamples(weights: ArrayLike | None) -> bool:
    """Tell whether results gain a leading R axis: only for weights of two axes."""
    return weights is not None and np.ndim(to_numpy(weights)) == 2


def divide(numerator: ArrayLike, denominator: ArrayLike) -> Floats:
    """Divide, giving NaN where the denominator is 0."""
    top, bottom = np.asarray(numerator, np.float64), np.asarray(denominator, np.float64)
    shape = np.broadcast_shapes(top.shape, bottom.shape)
    return np.divide(top, bottom, out=np.full(shape, np.nan), where=bottom != 0)


def nan_scores(targets: Floats, scores: Floats) -> Bools:
    """Tell for each head and label (..., C) whether a row of known target has a NaN score."""
    broken = np.isnan(scores)
    if not broken.any():
        return np.zeros(scores.shape[:-2] + scores.shape[-1:], bool)
    return np.asarray((broken & ~np.isnan(targets)).any(axis=-2))


def class_reasons(targets: Floats, broken: Bools) -> list[str | None]:
    """Say per label why a metric over both classes is undefined, None where it is defined; `broken` (..., C)."""
    positive, negative = (targets == 1).any(axis=0), (targets == 0).any(axis=0)
    return [_reason(*flags) for flags in zip(positive, negative, any_head(broken))]


def any_head(flags: Bools) -> Bools:
    """Tell per label whether a flag (..., C) is set in any head."""
    return np.asarray(flags.any(axis=tuple(range(flags.ndim - 1))))


def _reason(positive: bool, negative: bool, broken: bool) -> str | None:
    if not positive:
        return "no positive rows" if negative else "no known rows"
    if not negative:
        return "no negative rows"
    return "scores are NaN" if broken else None
