"""Fit curves of a metric over label budgets: how many labels reach a target, and where two recipes cross.

The budgets of one seed are nested, so their points are not independent: whole seeds are resampled, never points.

Shapes: S seeds, B budgets, R resamples of seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ctbench_core.errors import InputError
from ctbench_core.metrics import Floats

RESAMPLES = 1000
_QUANTILES = (0.025, 0.975)
# Exponents tried: from nearly logarithmic growth to a curve that is flat after the first budgets.
_EXPONENTS = np.round(np.arange(0.02, 2.01, 0.01), 2)
GRID_POINTS = 60


@dataclass(frozen=True)
class Curve:
    """The fit value = ceiling - slope n^-exponent, with its band over seeds.

    Attributes:
        n: budgets (B,); mean, sd: over the seeds (B,).
        grid, fitted, lo, hi: the curve between the budgets and its 95 % band, each (60,).
        parameters: ceiling, slope, exponent of the fit, (3,); draws: of the resamples, (R, 3).
    """

    n: Floats
    mean: Floats
    sd: Floats
    grid: Floats
    fitted: Floats
    lo: Floats
    hi: Floats
    parameters: Floats
    draws: Floats


@dataclass(frozen=True)
class LabelsNeeded:
    """How many labels reach a value; ``share`` of the resamples reach it at all; ``beyond`` the largest budget or not."""

    value: float
    n: float
    lo: float
    hi: float
    share: float
    beyond: bool


def fit_curve(n: Sequence[float] | Floats, values: Floats, resamples: int = RESAMPLES, seed: int = 0) -> Curve:
    """Fit a power law to values (S, B) at budgets n (B,), NaN where a seed has no value; seeds are resampled.

    The ceiling is at most 1 and the slope at least 0; both are least squares for each exponent of a grid.
    Source of the form: Cortes et al., NIPS 1993.

    Raises:
        InputError: fewer than three budgets.
    """
    sizes = np.asarray(n, np.float64)
    table = np.asarray(values, np.float64)
    if len(sizes) < 3 or table.ndim != 2 or table.shape[1] != len(sizes):
        raise InputError(f"A scaling curve needs at least 3 budgets, got {len(sizes)}.")
    means = _seed_means(table, resamples, seed)
    draws = _least_squares(sizes, means)
    parameters = draws[0]
    grid = np.geomspace(sizes.min(), sizes.max(), GRID_POINTS)
    lines = curve_at(draws[1:], grid)
    lo, hi = np.nanquantile(lines, _QUANTILES, axis=0) if len(table) > 1 else np.full((2, GRID_POINTS), np.nan)
    sd = np.nanstd(table, axis=0, ddof=1) if len(table) > 1 else np.full(len(sizes), np.nan)
    return Curve(sizes, means[0], sd, grid, curve_at(parameters, grid), lo, hi, parameters, draws[1:])


def _seed_means(table: Floats, resamples: int, seed: int) -> Floats:
    """Return the mean over seeds (B,) of the sample, then of resampled seeds: (1 + R, B)."""
    seeds = len(table)
    times = np.random.default_rng(seed).multinomial(seeds, np.full(seeds, 1 / seeds), resamples)
    weights = np.concatenate([np.ones((1, seeds)), times])
    known = ~np.isnan(table)
    count = weights @ known
    total = weights @ np.where(known, table, 0.0)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)


def _least_squares(sizes: Floats, means: Floats) -> Floats:
    """Fit ceiling, slope and exponent to every row of means (R, B): (R, 3)."""
    usable = ~np.isnan(means).any(axis=1)
    parameters = np.full((len(means), 3), np.nan)
    y = means[usable]
    best = np.full(len(y), np.inf)
    for exponent in _EXPONENTS:
        x = sizes**-exponent
        centred = x - x.mean()
        slope = np.maximum(-(y @ centred) / (centred @ centred), 0.0)
        ceiling = y.mean(axis=1) + slope * x.mean()
        slope = np.where(ceiling > 1, ((1 - y) @ x) / (x @ x), slope)  # least squares through a ceiling of 1
        ceiling = np.minimum(ceiling, 1.0)
        error = ((y - ceiling[:, None] + slope[:, None] * x) ** 2).sum(axis=1)
        better = error < best
        best = np.where(better, error, best)
        parameters[np.flatnonzero(usable)[better]] = np.stack([ceiling, slope, np.full(len(y), exponent)], axis=1)[
            better
        ]
    return parameters


def curve_at(parameters: Floats, n: Floats) -> Floats:
    """Return the curve of parameters (..., 3) at budgets n (B,): (..., B)."""
    ceiling, slope, exponent = (parameters[..., i, None] for i in range(3))
    return ceiling - slope * n**-exponent


def labels_needed(curve: Curve, value: float) -> LabelsNeeded:
    """Return how many labels reach a value, with the interval over resampled seeds.

    A resample that does not reach it counts as infinitely many. Beyond the largest budget, the fit is extrapolated.
    """
    n = float(_inverse(curve.parameters[None], value)[0])
    draws = _inverse(curve.draws, value)
    lo, hi = np.quantile(draws, _QUANTILES, method="inverted_cdf") if len(draws) else (np.nan, np.nan)
    if np.isnan(curve.lo).all():  # one seed
        lo = hi = np.nan
    return LabelsNeeded(value, n, float(lo), float(hi), float(np.isfinite(draws).mean()), bool(n > curve.n.max()))


def _inverse(parameters: Floats, value: float) -> Floats:
    ceiling, slope, exponent = parameters.T
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        n = (slope / (ceiling - value)) ** (1 / exponent)
    return np.where(ceiling > value, n, np.inf)


@dataclass(frozen=True)
class Crossing:
    """Where the first recipe overtakes the second (or the other way round); NaN where they do not cross.

    ``share`` is the share of resamples that cross between the smallest and the largest budget.
    """

    n: float
    lo: float
    hi: float
    share: float
    ahead_at_first: str
    ahead_at_last: str


def find_crossing(
    n: Sequence[float] | Floats, first: Floats, second: Floats, resamples: int = RESAMPLES, seed: int = 0
) -> Crossing:
    """Find where the means of two recipes first cross, on log n between budgets.

    Values are (S, B) of the same seeds, which are resampled.
    """
    sizes = np.log(np.asarray(n, np.float64))
    means = _seed_means(np.asarray(first, np.float64) - np.asarray(second, np.float64), resamples, seed)
    places = np.array([_first_zero(sizes, row) for row in means])
    crossed = places[1:][~np.isnan(places[1:])]
    lo, hi = np.exp(np.quantile(crossed, _QUANTILES)) if len(crossed) else (np.nan, np.nan)
    names = [{1: "first", -1: "second"}.get(int(np.sign(value)), "neither") for value in (means[0][0], means[0][-1])]
    return Crossing(float(np.exp(places[0])), float(lo), float(hi), len(crossed) / max(resamples, 1), *names)


def _first_zero(sizes: Floats, differences: Floats) -> float:
    for place in range(len(sizes) - 1):
        here, there = differences[place], differences[place + 1]
        if here * there < 0:
            return float(sizes[place] + (sizes[place + 1] - sizes[place]) * here / (here - there))
    return np.nan
