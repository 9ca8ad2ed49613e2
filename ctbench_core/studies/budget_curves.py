"""Read curves of a metric over label budgets: how many labels reach a target, and where two recipes cross.

The answer is a set of budgets: those at which the target is inside the interval of the recipe, or zero inside that of
the difference of two recipes, at that budget. Between budgets all curves are linear in log n. Source of the principle:
Fieller, JRSS B 1954. The power law that is drawn through the means is a line to look at, and nothing is read from it.

Shapes: B budgets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ctbench_core.errors import InputError
from ctbench_core.metrics import Floats

# Below this many seeds (or folds) the range over them is given instead: three have no interval of their own shape.
FEWEST_SEEDS = 5
# Exponents tried: from nearly logarithmic growth to a curve that is flat after the first budgets.
_EXPONENTS = np.round(np.arange(0.02, 2.01, 0.01), 2)
GRID_POINTS = 60


@dataclass(frozen=True)
class Curve:
    """The fit value = ceiling - slope n^-exponent: ``parameters`` (3,), and its line at the budgets ``grid`` (60,)."""

    grid: Floats
    fitted: Floats
    parameters: Floats


def fit_curve(n: Sequence[float] | Floats, means: Sequence[float] | Floats) -> Curve:
    """Fit a power law to means (B,) at budgets n (B,).

    The ceiling is at most 1 and the slope at least 0; both are least squares for each exponent of a grid.
    Source of the form: Cortes et al., NIPS 1993.

    Raises:
        InputError: fewer than three budgets with a mean.
    """
    sizes, values = np.asarray(n, np.float64), np.asarray(means, np.float64)
    known = ~np.isnan(values)
    if known.sum() < 3:
        raise InputError(f"A scaling curve needs at least 3 budgets, got {known.sum()}.")
    parameters = _least_squares(sizes[known], values[known])
    grid = np.geomspace(sizes.min(), sizes.max(), GRID_POINTS)
    return Curve(grid, curve_at(parameters, grid), parameters)


def _least_squares(sizes: Floats, means: Floats) -> Floats:
    """Fit ceiling, slope and exponent to means (B,): (3,)."""
    fits = []
    for exponent in _EXPONENTS:
        x = sizes**-exponent
        centred = x - x.mean()
        slope = max(-float(means @ centred) / float(centred @ centred), 0.0)
        ceiling = float(means.mean()) + slope * float(x.mean())
        if ceiling > 1:  # least squares through a ceiling of 1
            ceiling, slope = 1.0, float((1 - means) @ x) / float(x @ x)
        error = float(((means - ceiling + slope * x) ** 2).sum())
        fits.append((error, ceiling, slope, float(exponent)))
    return np.array(min(fits)[1:])


def curve_at(parameters: Floats, n: Floats) -> Floats:
    """Return the curve of parameters (3,) at budgets n (B,)."""
    ceiling, slope, exponent = parameters
    return np.asarray(ceiling - slope * n**-exponent)


@dataclass(frozen=True)
class Budgets:
    """The budgets at which a target is plausible; -inf is below the grid of budgets, inf above it.

    Attributes:
        n: where the mean first meets the target; NaN where two recipes do not cross.
        lo, hi: the ends of the set; NaN without an interval.
    """

    n: float
    lo: float
    hi: float


def labels_needed(
    n: Sequence[float] | Floats, mean: Sequence[float] | Floats, bounds: Floats, target: float
) -> Budgets:
    """Return how many labels a recipe needs to reach a target.

    Args:
        n: budgets in rising order (B,). mean: (B,). bounds: the interval at each budget (B, 2), or the range over seeds.
    """
    sizes, values = np.log(np.asarray(n, np.float64)), np.asarray(mean, np.float64)
    if values[0] >= target:
        first = -np.inf
    else:
        meets = np.flatnonzero((values[:-1] < target) & (values[1:] >= target))
        first = _between(sizes, values - target, int(meets[0])) if len(meets) else np.inf
    return Budgets(float(np.exp(first)) if np.isfinite(first) else float(first), *_set_ends(sizes, bounds, target))


def crossing(n: Sequence[float] | Floats, delta: Sequence[float] | Floats, bounds: Floats) -> Budgets:
    """Return where two recipes cross, from their paired differences (B,) and the intervals of these (B, 2).

    The set holds the budgets at which they are not told apart.
    """
    sizes, values = np.log(np.asarray(n, np.float64)), np.asarray(delta, np.float64)
    changes = np.flatnonzero(values[:-1] * values[1:] < 0)
    place = float(np.exp(_between(sizes, values, int(changes[0])))) if len(changes) else np.nan
    return Budgets(place, *_set_ends(sizes, bounds, 0.0))


def _between(sizes: Floats, values: Floats, at: int) -> float:
    """Return where the line from point `at` to the next is zero."""
    here, there = values[at], values[at + 1]
    return float(sizes[at] + (sizes[at + 1] - sizes[at]) * here / (here - there))


def _set_ends(sizes: Floats, bounds: Floats, target: float) -> tuple[float, float]:
    """Return the smallest and largest budget whose interval (B, 2) contains the target; NaN where one is unknown."""
    low, high = np.asarray(bounds, np.float64).T
    if np.isnan(low).any() or np.isnan(high).any():
        return np.nan, np.nan
    inside = (low <= target) & (target <= high)
    ends = [
        sizes[at] + share * (sizes[at + 1] - sizes[at])
        for at in range(len(sizes) - 1)
        for share in _share_inside(low[at : at + 2] - target, high[at : at + 2] - target)
    ]
    if not ends and not inside.any():  # the whole curve lies on one side
        side = np.inf if high[0] < target else -np.inf
        return side, side
    first = -np.inf if inside[0] else float(np.exp(min(ends)))
    return first, np.inf if inside[-1] else float(np.exp(max(ends)))


def _share_inside(low: Floats, high: Floats) -> tuple[float, ...]:
    """Return the ends of the part of a segment, as shares of it, where low <= 0 <= high; both are linear, given at its ends."""
    start, stop = 0.0, 1.0
    for here, there in (high, -low):  # where a line is at least 0
        if here < 0 and there < 0:
            return ()
        if here < 0:
            start = max(start, here / (here - there))
        elif there < 0:
            stop = min(stop, here / (here - there))
    return (start, stop) if start <= stop else ()
