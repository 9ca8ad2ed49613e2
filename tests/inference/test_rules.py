"""The rules of intervals, against SciPy and the words of their sources."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import brentq

from ctbench_core.inference.rules import (
    logit_bounds,
    midway_dof,
    near_end_bounds,
    newcombe_variance,
    satterthwaite,
    seed_factor,
    t_quantile,
)


def test_t_is_that_of_scipy() -> None:
    np.testing.assert_allclose(t_quantile([1, 9.5, np.inf]), stats.t.ppf(0.975, [1, 9.5, np.inf]), rtol=1e-12)
    assert t_quantile(7, level=0.9) == pytest.approx(stats.t.ppf(0.95, 7))


def test_bounds_stay_inside_and_mirror() -> None:
    low, high = logit_bounds([0.99, 0.01], [0.01, 0.01], stats.t.ppf(0.975, 9), [10, 10])
    assert 0 < low[0] < 0.99 < low[1] < 1
    np.testing.assert_allclose(1 - high[::-1], low, atol=1e-12)


def test_rates_of_0_and_1_have_the_exact_binomial_bound() -> None:
    bounds = logit_bounds([1.0, 0.0, np.nan], [0.0, 0.0, 0.0], 2.0, [20, 12, 12])
    for row, (hits, n) in zip(bounds, ((20, 20), (0, 12))):
        exact = stats.binomtest(hits, n).proportion_ci(0.95, "exact")
        np.testing.assert_allclose(row, [exact.low, exact.high], rtol=1e-9)
    assert np.isnan(bounds[2]).all()


def test_newcombes_variance_without_its_correction_is_hanley_and_mcneils() -> None:
    """Method 5 replaces both numbers of cases by their mean; with equal numbers it is Hanley and McNeil's of 1982."""
    area, n = 0.87, 40
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    expected = (area * (1 - area) + (n - 1) * (q1 + q2 - 2 * area**2)) / n**2
    assert newcombe_variance(np.array(area), np.array(n), np.array(n)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("area", [0.999, 0.97, 1.0, 0.01])
def test_bounds_near_an_end_solve_their_equation(area: float) -> None:
    arguments = [np.array([x]) for x in (area, 1e-5, 2e-4, 2.1, 12.0, 150.0)]
    low, high = near_end_bounds(*arguments)[0]
    assert low < area < high or (area == 1 and high == 1)

    def excess(theta: float) -> float:
        variance = newcombe_variance(np.array(theta), np.array(12.0), np.array(150.0))
        return abs(area - theta) - 2.1 * float(np.sqrt(max(1e-5, variance) + 2e-4))

    if area > 0.5:
        assert low == pytest.approx(brentq(excess, 0, area - 1e-9), abs=1e-9)
    else:
        assert high == pytest.approx(brentq(excess, area + 1e-9, 1), abs=1e-9)


def test_satterthwaite_of_equal_parts_adds_their_dof() -> None:
    assert satterthwaite([2.0, 2.0], [5, 5]) == pytest.approx(10)
    assert satterthwaite([2.0, 1e-12], [5, 1]) == pytest.approx(5)
    # Welch's degrees of freedom are Satterthwaite's of two means.
    one, other = np.arange(5.0) ** 2, np.arange(9.0)
    welch = stats.ttest_ind(one, other, equal_var=False).df
    parts = [one.var(ddof=1) / 5, other.var(ddof=1) / 9]
    assert satterthwaite(parts, [4, 8]) == pytest.approx(welch, rel=1e-12)


def test_half_way_between_two_rules() -> None:
    weighted = (4 * stats.t.ppf(0.975, 30) + 1 * stats.t.ppf(0.975, 2)) / 5
    t = (weighted + stats.t.ppf(0.975, satterthwaite([4.0, 1.0], [30, 2]))) / 2
    assert stats.t.ppf(0.975, midway_dof([4.0, 1.0], [30, 2])) == pytest.approx(t, rel=1e-9)
    assert midway_dof([2.0, 0.0], [30, 2]) == pytest.approx(30)
    assert midway_dof([1e-12, 1.0], [30, 2]) == pytest.approx(2, rel=1e-6)
    draw = np.random.default_rng(0)
    for _ in range(500):
        variances = 10.0 ** draw.uniform(-40, 2, 3) * (draw.random(3) < 0.8)
        dofs = draw.choice([1, 2, 7.5, 300, np.inf], 3)
        assert min(dofs.min(), 1e9) * (1 - 1e-9) <= midway_dof(variances, dofs) <= 3e9


def test_seeds_that_share_patients_count_for_less_up_to_half() -> None:
    assert seed_factor(4, 0.0) == (0.25, True)
    assert seed_factor(4, 0.2) == (pytest.approx(0.25 + 0.25), True)
    assert seed_factor(4, 0.5) == (0.25, False)
    assert seed_factor(4, 1.0) == (0.25, False)
