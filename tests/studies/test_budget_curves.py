"""Budget curves: the drawn fit recovers its data, and labels needed are the budgets whose interval holds the target."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import curve_fit

from ctbench_core.errors import InputError
from ctbench_core.studies import crossing, fit_curve, labels_needed
from ctbench_core.studies.budget_curves import curve_at

N = np.array([20.0, 50, 100, 250, 500, 1000])
MEAN = np.array([0.50, 0.56, 0.62, 0.70, 0.74, 0.76])
BOUNDS = np.stack([MEAN - 0.03, MEAN + 0.03], axis=-1)


def test_exact_points_recover_their_curve() -> None:
    curve = fit_curve(N, 0.8 - 1.5 * N**-0.5)
    assert curve.parameters == pytest.approx([0.8, 1.5, 0.5])
    assert curve.fitted == pytest.approx(curve_at(curve.parameters, curve.grid))


def test_a_curve_never_falls_with_more_labels() -> None:
    curve = fit_curve(N, np.linspace(0.8, 0.6, len(N)))
    assert curve.fitted == pytest.approx(np.full(len(curve.fitted), 0.7))


def test_the_fit_is_the_least_squares_of_scipy() -> None:
    values = 0.75 - 1.2 * N**-0.6 + 0.003 * np.random.default_rng(3).normal(size=len(N))
    curve = fit_curve(N, values)
    parameters, _ = curve_fit(lambda n, c, a, b: c - a * n**-b, N, values, p0=[0.7, 1.0, 0.5], maxfev=10_000)
    ours, best = (((values - curve_at(one, N)) ** 2).sum() for one in (curve.parameters, parameters))
    assert ours <= best * 1.05


def test_too_few_budgets_are_refused() -> None:
    with pytest.raises(InputError, match="at least 3"):
        fit_curve([1, 2, 3], [0.1, 0.2, np.nan])


@pytest.mark.parametrize("target", [0.53, 0.6, 0.66, 0.72, 0.735])
def test_labels_needed_are_the_budgets_whose_interval_holds_the_target(target: float) -> None:
    """Against a fine grid of budgets, with the bounds interpolated by NumPy on log n."""
    needed = labels_needed(N, MEAN, BOUNDS, target)
    fine = np.geomspace(N[0], N[-1], 400_001)
    low, high = (np.interp(np.log(fine), np.log(N), side) for side in BOUNDS.T)
    inside = fine[(low <= target) & (target <= high)]
    expected = [-np.inf if inside[0] == fine[0] else inside[0], np.inf if inside[-1] == fine[-1] else inside[-1]]
    assert [needed.lo, needed.hi] == pytest.approx(expected, rel=1e-4)
    mean = np.interp(np.log(needed.n), np.log(N), MEAN)
    assert mean == pytest.approx(target)


def test_ends_beyond_the_grid() -> None:
    assert labels_needed(N, MEAN, BOUNDS, 0.52).lo == -np.inf  # the smallest budget may reach it
    assert labels_needed(N, MEAN, BOUNDS, 0.78).hi == np.inf
    above = labels_needed(N, MEAN, BOUNDS, 0.9)
    assert (above.n, above.lo, above.hi) == (np.inf, np.inf, np.inf)
    below = labels_needed(N, MEAN, BOUNDS, 0.3)
    assert (below.n, below.lo, below.hi) == (-np.inf, -np.inf, -np.inf)
    unknown = labels_needed(N, MEAN, np.full((6, 2), np.nan), 0.6)
    assert np.isnan([unknown.lo, unknown.hi]).all()
    assert 50 < unknown.n < 100


def test_a_jump_between_two_budgets_is_seen() -> None:
    """No interval holds the target, but the curve passes it: the set lies between the two budgets."""
    needed = labels_needed([10, 1000], [0.2, 0.8], np.array([[0.19, 0.21], [0.79, 0.81]]), 0.5)
    assert needed.n == pytest.approx(100)
    assert needed.lo == pytest.approx(100 / 10 ** (2 * 0.01 / 0.6))
    assert needed.hi == pytest.approx(100 * 10 ** (2 * 0.01 / 0.6))


def test_crossings_are_where_the_difference_changes_sign() -> None:
    delta = np.log(N / 150) / 10
    found = crossing(N, delta, np.stack([delta - 0.05, delta + 0.05], axis=-1))
    assert found.n == pytest.approx(150)
    assert [found.lo, found.hi] == pytest.approx([150 * np.exp(-0.5), 150 * np.exp(0.5)])
    none = crossing(N, delta + 1, np.stack([delta + 0.9, delta + 1.1], axis=-1))
    assert np.isnan(none.n)
    assert (none.lo, none.hi) == (-np.inf, -np.inf)


def test_the_set_covers_the_truth_as_often_as_the_intervals_do() -> None:
    """Fieller's principle: a pointwise 95 % interval at every budget gives a set that holds the truth 95 % of times."""
    rng = np.random.default_rng(0)
    truth = 0.8 - 1.2 * N**-0.5
    target, hits = truth[2], 0
    for _ in range(2000):
        mean = truth + 0.01 * rng.normal(size=len(N))
        needed = labels_needed(N, mean, np.stack([mean - 0.0196, mean + 0.0196], axis=-1), target)
        hits += needed.lo <= N[2] <= needed.hi
    assert 0.935 < hits / 2000 < 0.97
