"""Budget curves recover the parameters of their data; seeds, not points, are resampled."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import curve_fit

from ctbench_core.errors import InputError
from ctbench_core.studies import find_crossing, fit_curve, labels_needed
from ctbench_core.studies.budget_curves import curve_at

N = np.array([20, 50, 100, 250, 500, 1000])


def _curves(ceiling: float, slope: float, exponent: float, seeds: int = 10, noise: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(3)
    return ceiling - slope * N**-exponent + noise * rng.normal(size=(seeds, len(N)))


def test_exact_points_recover_their_curve() -> None:
    curve = fit_curve(N, _curves(0.8, 1.5, 0.5))
    assert curve.parameters == pytest.approx([0.8, 1.5, 0.5])
    assert curve.lo == pytest.approx(curve.fitted)
    needed = labels_needed(curve, 0.7)
    assert needed.n == pytest.approx((1.5 / 0.1) ** 2)
    assert (needed.share, needed.beyond) == (1.0, False)
    assert labels_needed(curve, 0.79).beyond


def test_the_fit_is_the_least_squares_of_scipy() -> None:
    values = _curves(0.75, 1.2, 0.6, noise=0.01)
    curve = fit_curve(N, values)
    parameters, _ = curve_fit(
        lambda n, c, a, b: c - a * n**-b, N, values.mean(axis=0), p0=[0.7, 1.0, 0.5], maxfev=10_000
    )
    ours = ((values.mean(axis=0) - curve_at(curve.parameters, N.astype(float))) ** 2).sum()
    best = ((values.mean(axis=0) - curve_at(parameters, N.astype(float))) ** 2).sum()
    assert ours <= best * 1.05
    assert (curve.lo < curve.hi).all()


def test_a_value_above_the_ceiling_is_never_reached() -> None:
    needed = labels_needed(fit_curve(N, _curves(0.6, 1.0, 0.5)), 0.7)
    assert (needed.n, needed.share) == (np.inf, 0.0)


def test_one_seed_has_no_band() -> None:
    curve = fit_curve(N, _curves(0.8, 1.5, 0.5, seeds=1))
    assert np.isnan(curve.lo).all()
    assert np.isnan(labels_needed(curve, 0.7).lo)


def test_the_band_covers_the_true_curve() -> None:
    truth = curve_at(np.array([0.8, 1.5, 0.5]), N.astype(float))
    is_inside = []
    for k in range(60):
        rng = np.random.default_rng(k)
        seeds = truth + 0.02 * rng.normal(size=(20, 1)) + 0.01 * rng.normal(size=(20, len(N)))
        curve = fit_curve(N, seeds, resamples=300, seed=k)
        is_inside.append((curve.lo[0] <= truth[0] <= curve.hi[0], curve.lo[-1] <= truth[-1] <= curve.hi[-1]))
    assert np.mean(is_inside) > 0.85


def test_crossings_are_between_the_right_budgets() -> None:
    first = np.log(N) / 10
    second = np.full(len(N), np.log(150) / 10)
    noise = 0.001 * np.random.default_rng(0).normal(size=(8, len(N)))
    crossing = find_crossing(N, first + noise, np.tile(second, (8, 1)))
    assert crossing.n == pytest.approx(150, rel=0.05)
    assert crossing.lo < 150 < crossing.hi or abs(crossing.n - 150) < 3
    assert (crossing.share, crossing.ahead_at_first, crossing.ahead_at_last) == (1.0, "second", "first")
    none = find_crossing(N, first + 1 + noise, np.tile(second, (8, 1)))
    assert np.isnan(none.n)
    assert none.share == 0


def test_too_few_budgets_are_refused() -> None:
    with pytest.raises(InputError, match="at least 3"):
        fit_curve([1, 2], np.ones((3, 2)))
