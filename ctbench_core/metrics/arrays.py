"""Check arrays and convert them to float64.

Shapes, in all files of this package: N rows, C labels, R resamples; ``...`` leading axes such as heads.
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
    """Return targets with this number of axes as float64 in {0, 1, NaN}; InputError for another value or shape."""
    array = to_numpy(targets).astype(np.float64)
    if array.ndim != axes:
        raise InputError(f"Targets must have shape {('(rows,)', '(rows, labels)')[axes - 1]}, got {array.shape}.")
    valid = (array == 0) | (array == 1) | np.isnan(array)
    if not valid.all():
        raise InputError(
            f"Targets must be 0, 1 or NaN (unknown), got {array[~valid][0]:g}. Recode it or leave it blank."
        )
    return array


def as_scores(scores: ArrayLike, targets: Floats) -> Floats:
    """Return scores (..., *targets.shape) as float64; InputError when the last axes differ from the targets'."""
    array = to_numpy(scores).astype(np.float64)
    if array.shape[-targets.ndim :] != targets.shape:
        raise InputError(f"Scores must end in the targets' shape {targets.shape}, got {array.shape}.")
    return array


def as_weights(weights: ArrayLike | None, rows: int) -> Floats:
    """Return row weights as float64 (R, N), ones for None; InputError for a wrong length or an unusable weight."""
    if weights is None:
        return np.ones((1, rows))
    array = to_numpy(weights).astype(np.float64)
    if array.ndim not in (1, 2) or array.shape[-1] != rows:
        raise InputError(f"Weights must have shape ({rows},) or (resamples, {rows}), got {array.shape}.")
    if not (np.isfinite(array).all() and (array >= 0).all()):
        raise InputError("Weights must be finite and not negative. Give a row weight 0 to leave it out.")
    return np.atleast_2d(array)


def as_arrays(targets: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None) -> tuple[Floats, Floats, Floats]:
    """Return targets (N, C), scores (..., N, C) and row weights (R, N) as `as_targets`, `as_scores`, `as_weights`."""
    truth = as_targets(targets, axes=2)
    return truth, as_scores(scores, truth), as_weights(weights, len(truth))


def has_resamples(weights: ArrayLike | None) -> bool:
    """Return whether results have a leading R axis: only for weights with two axes."""
    return weights is not None and np.ndim(to_numpy(weights)) == 2


def divide(numerator: ArrayLike, denominator: ArrayLike) -> Floats:
    """Divide, giving NaN where the denominator is 0."""
    top, bottom = np.asarray(numerator, np.float64), np.asarray(denominator, np.float64)
    shape = np.broadcast_shapes(top.shape, bottom.shape)
    return np.divide(top, bottom, out=np.full(shape, np.nan), where=bottom != 0)


def nan_scores(targets: Floats, scores: Floats) -> Bools:
    """Return for each head and label (..., C) whether a row with a known target has a NaN score."""
    is_nan = np.isnan(scores)
    if not is_nan.any():
        return np.zeros(scores.shape[:-2] + scores.shape[-1:], bool)
    return np.asarray((is_nan & ~np.isnan(targets)).any(axis=-2))


def class_reasons(targets: Floats, nan_labels: Bools) -> list[str | None]:
    """Return per label why a metric of both classes is undefined, else None; `nan_labels` (..., C) of `nan_scores`."""
    has_positive, has_negative = (targets == 1).any(axis=0), (targets == 0).any(axis=0)
    reasons: list[str | None] = ["scores are NaN" if is_nan else None for is_nan in any_head(nan_labels)]
    for c, (positive, negative) in enumerate(zip(has_positive, has_negative)):
        if not (positive and negative):
            reasons[c] = "no negative rows" if positive else "no positive rows" if negative else "no known rows"
    return reasons


def any_head(flags: Bools) -> Bools:
    """Return per label whether a flag (..., C) is set in any head."""
    return np.asarray(flags.any(axis=tuple(range(flags.ndim - 1))))
