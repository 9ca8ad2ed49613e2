"""Intervals of means and medians over queries: against statistics computed another way, and by coverage."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.special import expit, logit

from ctbench_core.errors import InputError
from ctbench_core.inference.means import CONSTANT, UNBOUNDED, mean_difference, mean_intervals, median_intervals
from tests.inference.cohorts import effective, left_out


def clusters(rng: np.random.Generator, patients: int, spread: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Return the patient of each query, one to six a patient, and a level (Q,) that a patient's queries share."""
    codes = np.repeat(np.arange(patients), rng.integers(1, 7, patients))
    return codes, (spread * rng.standard_normal(patients))[codes]


def test_a_mean_is_that_of_the_scored_queries_with_a_logit_t_interval() -> None:
    rng = np.random.default_rng(0)
    codes, level = clusters(rng, 12)
    values = expit(level + rng.standard_normal(len(codes)))
    values[rng.random(len(codes)) < 0.2] = np.nan
    known = ~np.isnan(values)
    found = mean_intervals({"map": values}, codes)["map"]
    assert found.value == pytest.approx(np.nanmean(values), abs=1e-15)
    assert found.patients == len(np.unique(codes[known]))
    rows = np.flatnonzero(known)
    deviations = left_out(lambda kept: float(values[rows[kept]].mean()), codes[rows])
    dof = effective(codes, known) - 1
    half = stats.t.ppf(0.975, dof) * np.sqrt((deviations**2).sum()) / (found.value * (1 - found.value))
    expected = expit(logit(found.value) + np.array([-half, half]))
    np.testing.assert_allclose([found.lo, found.hi], expected, rtol=1e-10)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_mean_at_an_end_has_the_exact_bound_in_effective_patients(value: float) -> None:
    sizes = np.array([9, *[1] * 19])
    codes = np.repeat(np.arange(20), sizes)
    found = mean_intervals({"recall": np.full(len(codes), value)}, codes)["recall"]
    exact = 0.025 ** (1 / (sizes.sum() ** 2 / (sizes**2).sum()))
    assert (found.lo, found.hi) == pytest.approx((exact, 1) if value else (0, 1 - exact), abs=1e-12)
    alone = mean_intervals({"recall": np.full(20, value)}, np.arange(20))["recall"]
    # Clopper and Pearson's interval of 0 or 20 in 20.
    wanted = stats.binomtest(int(20 * value), 20).proportion_ci(method="exact")
    assert (alone.lo, alone.hi) == pytest.approx(tuple(wanted), abs=1e-12)


def test_a_range_only_maps_the_values() -> None:
    rng = np.random.default_rng(1)
    values = rng.random(50)
    plain, wide = mean_intervals({"x": values, "y": 4 * values - 1}, np.arange(50), {"y": (-1, 3)}).values()
    assert [wide.value, wide.lo, wide.hi] == pytest.approx([4 * x - 1 for x in (plain.value, plain.lo, plain.hi)])


def test_what_has_no_interval_says_why() -> None:
    nine = np.where(np.arange(30) < 9, 0.5 * (np.arange(30) % 2), np.nan)
    halves = np.tile([0.0, 1.0], 15)
    found = mean_intervals({"few": nine, "same": np.full(30, 0.3), "none": np.full(30, np.nan)}, np.arange(30))
    assert found["few"].reason == "patients with a scored query 9: an interval needs 10"
    assert found["same"].reason == mean_intervals({"x": halves}, np.arange(30) // 2)["x"].reason == CONSTANT
    assert np.isnan(found["none"].value)
    assert "0: an interval needs 10" in str(found["none"].reason)
    assert all(np.isnan([one.lo, one.hi]).all() for one in found.values())
    assert median_intervals({"few": nine}, np.arange(30))["few"].reason == found["few"].reason
    assert median_intervals({"x": halves}, np.arange(30) // 2)["x"].reason == CONSTANT
    codes = np.repeat(np.arange(12), [200, *[1] * 11])
    assert median_intervals({"x": np.ones(len(codes))}, codes)["x"].reason == UNBOUNDED
    assert mean_intervals({}, np.arange(30)) == {}
    with pytest.raises(InputError, match="values outside 0 to 1, such as 3"):
        mean_intervals({"x": np.full(30, 3.0)}, np.arange(30))
    with pytest.raises(InputError, match="one value for each"):
        mean_intervals({"x": np.ones(29)}, np.arange(30))


def test_a_few_patients_with_most_queries_leave_a_mark() -> None:
    codes = np.repeat(np.arange(40), [400, *[1] * 39])
    values = np.random.default_rng(0).random(len(codes))
    for interval in (mean_intervals, median_intervals):
        assert interval({"x": values}, codes)["x"].mark.startswith("few patients hold most")
        assert interval({"x": values[400:]}, codes[400:])["x"].mark == ""


def test_rounding_is_neither_an_error_nor_beyond_the_end() -> None:
    found = mean_intervals({"ndcg": np.full(30, 1 + 1e-8), "map": 1 - 1e-9 * np.arange(30)}, np.arange(30))
    for one in found.values():
        assert (one.lo, one.hi) == (pytest.approx(0.025 ** (1 / 30)), 1.0)


@pytest.mark.parametrize("distinct", [12, 1000])
def test_a_median_interval_holds_every_rank_that_is_not_excluded(distinct: int) -> None:
    rng = np.random.default_rng(distinct)
    codes, level = clusters(rng, 40)
    ranks = np.ceil(np.minimum(np.exp(2 + level + rng.standard_normal(len(codes))), distinct))
    found = median_intervals({"rank": ranks}, codes)["rank"]
    assert found.value == np.median(ranks)
    kept = []
    for rank in np.unique(ranks):
        below = (ranks <= rank).astype(float)
        if below.all():
            continue
        share, without = below.mean(), np.array([below[codes != p].mean() for p in range(40)])
        deviations = np.sqrt(39 / 40) * (without - without.mean())
        reach = stats.t.ppf(0.975, 39) * np.sqrt((deviations**2).sum()) / (share * (1 - share))
        kept.append((rank, *expit(logit(share) + reach * np.array([-1, 1]))))
    assert found.lo == min(rank for rank, _, high in kept if high >= 0.5)
    assert found.hi == min((rank for rank, low, _ in kept if low >= 0.5), default=ranks.max())


def test_a_median_interval_of_single_queries_agrees_with_order_statistics() -> None:
    ranks = np.random.default_rng(3).permutation(200) + 1.0
    found = median_intervals({"rank": ranks}, np.arange(200))["rank"]
    # The exact interval of the sign test: order statistics 86 and 115 of 200.
    exact = stats.binom.ppf([0.025, 0.975], 200, 0.5) + np.array([0, 1])
    assert (found.lo, found.hi) == pytest.approx(tuple(exact), abs=1.0)


def test_a_median_interval_holds_where_a_few_patients_have_most_queries() -> None:
    rng = np.random.default_rng(7)
    holds = []
    for _ in range(400):
        codes = np.repeat(np.arange(12), np.minimum(rng.zipf(2.0, 12), 30))
        ranks = np.exp((1.5 * rng.standard_normal(12))[codes] + rng.standard_normal(len(codes)))
        found = median_intervals({"x": ranks}, codes)["x"]
        holds += [found.lo <= 1 <= found.hi] * (found.reason is None)
    assert len(holds) > 350
    assert np.mean(holds) > 0.93  # the linearised standard error: .89 to .91


@pytest.mark.parametrize("patients", [12, 60])
def test_intervals_hold_the_truth_and_row_wise_ones_do_not(patients: int) -> None:
    rng = np.random.default_rng(patients)
    many, level = clusters(rng, 40_000, spread=2)
    truth = (expit(level + 1) > rng.random(len(many))).mean()
    middle = np.exp(1.0)
    hits = dict.fromkeys(("mean", "median", "rows"), 0)
    repeats = 200
    for _ in range(repeats):
        codes, level = clusters(rng, patients, spread=2)
        values = (expit(level + 1) > rng.random(len(codes))).astype(float)
        ranks = np.exp(1 + level + rng.standard_normal(len(codes)))
        mean = mean_intervals({"x": values}, codes)["x"]
        rows = mean_intervals({"x": values}, np.arange(len(codes)))["x"]
        median = median_intervals({"x": ranks}, codes)["x"]
        hits["mean"] += mean.reason is not None or mean.lo <= truth <= mean.hi
        hits["rows"] += rows.reason is not None or rows.lo <= truth <= rows.hi
        hits["median"] += median.reason is not None or median.lo <= middle <= median.hi
    # 200 repeats of 95 % have a standard deviation of 1.5 points.
    assert hits["mean"] / repeats > 0.91
    assert hits["median"] / repeats > 0.91
    assert hits["rows"] / repeats < 0.91


def test_the_interval_of_a_paired_difference_holds_and_is_that_of_the_differences() -> None:
    rng, holds, runs = np.random.default_rng(3), 0, 400
    for _ in range(runs):
        codes, level = clusters(rng, 30)
        first = (rng.random(len(codes)) < expit(level + 0.8)).astype(float)
        second = (rng.random(len(codes)) < expit(level)).astype(float)
        found = mean_difference(first, second, codes)
        truth = float(np.mean(expit(_NORMAL + 0.8) - expit(_NORMAL)))
        holds += found.lo <= truth <= found.hi
    assert 0.92 <= holds / runs <= 0.98
    second[:4] = np.nan
    assert mean_difference(first, second, codes).value == pytest.approx((first - second)[4:].mean(), abs=1e-15)
    assert mean_difference(first, first, codes).reason == CONSTANT
    assert "an interval needs" in str(mean_difference(first, second, np.zeros(len(codes))).reason)
    with pytest.raises(InputError, match="one pair of values"):
        mean_difference(first, second, codes[1:])


_NORMAL = stats.norm.ppf((np.arange(10_000) + 0.5) / 10_000)
