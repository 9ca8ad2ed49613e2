"""Net benefit against its definition, and its interval by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.special import expit
from sklearn.metrics import confusion_matrix

from ctbench_core.inference.net_benefit import THRESHOLDS, net_benefit


def cohort(seed: int, patients: int = 150) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    codes = np.repeat(np.arange(patients), draw.integers(1, 7, patients))
    z = draw.normal(size=patients)
    y = (draw.random(patients) < expit(1.5 * z - 1)).astype(float)
    return y[codes], expit(1.5 * z - 1)[codes], codes


def test_it_is_the_weighted_count_of_true_and_false_positives() -> None:
    y, p, codes = cohort(1)
    y[::9] = np.nan
    curve = net_benefit(y, p, codes)
    assert ((curve.lower < curve.gain) & (curve.gain < curve.upper)).all()
    known = ~np.isnan(y)
    for g, t in enumerate(THRESHOLDS):
        _, fp, _, tp = confusion_matrix(y[known], p[known] >= t, labels=[0, 1]).ravel()
        assert curve.model[g] == pytest.approx((tp - fp * t / (1 - t)) / known.sum(), abs=1e-12)
        share = y[known].mean()
        everyone = share - (1 - share) * t / (1 - t)
        assert curve.treat_all[g] == pytest.approx(everyone, abs=1e-12)
        assert curve.gain[g] == pytest.approx(curve.model[g] - max(everyone, 0), abs=1e-12)


def _wilson(count: int, size: float, t: float) -> tuple[float, float]:
    """Return Wilson's bounds as the roots of (share - q)^2 = t^2 q (1 - q) / size, by a general solver."""
    share = count / (size + 1)
    roots = np.roots([1 + t**2 / size, -(2 * share + t**2 / size), share**2])
    return float(min(roots.real)), float(max(roots.real))


def test_one_row_a_patient_combines_wilsons_bounds_of_true_and_false_positives() -> None:
    y, p, _ = cohort(2)
    curve = net_benefit(y, p, np.arange(len(y)))
    g, weight = 59, 0.6 / 0.4  # above the prevalence: the better default is to treat none
    assert curve.treat_all[g] < 0
    treated = p >= 0.6
    hits, errors = treated & (y == 1), treated & (y == 0)
    t = stats.t.ppf(0.975, min(y.sum(), (1 - y).sum()) - 1)
    (low, high), (other_low, other_high) = (_wilson(one.sum(), len(y) - 1, t) for one in (hits, errors))
    r = np.corrcoef(hits, errors)[0, 1]
    a, b = hits.mean() - low, weight * (other_high - errors.mean())
    assert curve.lower[g] == pytest.approx(curve.gain[g] - np.sqrt(a**2 + b**2 - 2 * r * a * b), abs=1e-9)
    a, b = high - hits.mean(), weight * (errors.mean() - other_low)
    assert curve.upper[g] == pytest.approx(curve.gain[g] + np.sqrt(a**2 + b**2 - 2 * r * a * b), abs=1e-9)
    # With z in place of t, the bounds of a share are SciPy's.
    assert _wilson(30, 30 + 69, stats.norm.ppf(0.975)) == pytest.approx(
        tuple(stats.binomtest(30, 100).proportion_ci(method="wilson")), abs=0.003
    )


def test_with_many_patients_it_is_the_t_interval_of_a_mean() -> None:
    y, p, _ = cohort(5, 8_000)
    curve = net_benefit(y, p, np.arange(len(y)))
    for g in (9, 59):
        cost = THRESHOLDS[g] / (1 - THRESHOLDS[g])
        value = np.where(y == 1, 1, -cost)
        rows = np.where(p >= THRESHOLDS[g], value, 0) - (value if value.mean() > 0 else 0)
        low, high = stats.t.interval(0.95, len(y) - 1, rows.mean(), stats.sem(rows))
        assert (curve.lower[g], curve.upper[g]) == pytest.approx((low, high), abs=0.03 * (high - low))


def test_the_lower_bound_holds_over_both_defaults() -> None:
    y, p, codes = cohort(6)
    curve = net_benefit(y, p, codes)
    near = int(np.argmin(np.abs(curve.treat_all)))
    whole, sums = len(y), np.bincount(codes)
    for g in (near - 1, near, near + 1):
        cost = THRESHOLDS[g] / (1 - THRESHOLDS[g])
        value = np.where(y == 1, 1, -cost)
        for default in (0.0, value):
            rows = np.where(p >= THRESHOLDS[g], value, 0) - default
            parts = np.bincount(codes, rows - rows.mean())
            error = np.sqrt((parts**2).sum() * len(sums) / (len(sums) - 1)) / whole
            assert curve.lower[g] < rows.mean() - 1.7 * error


def test_decisions_of_the_default_gain_nothing_but_are_not_certain_and_few_patients_have_no_interval() -> None:
    y, p, codes = cohort(3)
    curve = net_benefit(y, np.full(len(p), 0.5), codes)
    alike = (THRESHOLDS <= 0.5) == (curve.treat_all > 0)
    np.testing.assert_allclose(curve.gain[alike], 0, atol=1e-12)
    assert ((curve.lower <= curve.gain) & (curve.gain <= curve.upper)).all()
    assert (curve.upper - curve.lower)[alike].min() > 0.001
    few = net_benefit(np.repeat([0.0, 1.0], [40, 5]), np.linspace(0, 1, 45), np.arange(45))
    assert few.reason == "5 patients in the scarcer class: 10 are needed"
    assert np.isnan(few.lower).all()


def test_one_patient_with_most_rows_is_marked_and_its_rows_count_as_few() -> None:
    """A heavy patient without a call hides what it could have done: the shares have Kish's number of patients."""
    y, p, codes = cohort(4)
    heavy = np.full(400, codes.max() + 1)
    y, p, codes = np.append(y, 0 * heavy), np.append(p, 0 * heavy), np.append(codes, heavy)
    curve = net_benefit(y, p, codes)
    assert "few patients hold most volumes" in curve.mark
    assert not net_benefit(*cohort(4)).mark
    rows = np.bincount(codes)
    effective = rows.sum() ** 2 / (rows**2).sum()
    hits = ((p >= 0.6) & (y == 1)).mean()
    t = stats.t.ppf(0.975, min(len(set(codes[y == one])) for one in (0, 1)) - 1)
    assert (curve.upper - curve.lower)[59] > 2 * t * np.sqrt(hits * (1 - hits) / (effective + t**2))


def test_intervals_hold_over_patients_and_those_of_rows_do_not() -> None:
    y, p, _ = cohort(10**6, 100_000)
    places = [4, 9, 59]
    cost = (THRESHOLDS / (1 - THRESHOLDS))[places]
    value = np.where(y[:, None] == 1, 1, -cost)
    truth = np.where(p[:, None] >= THRESHOLDS[places], value, 0).mean(axis=0) - np.maximum(value.mean(axis=0), 0)
    held, by_row = [], []
    for seed in range(200):
        y, p, codes = cohort(seed)
        for kept, groups in ((held, codes), (by_row, np.arange(len(y)))):
            curve = net_benefit(y, p, groups)
            kept.append((curve.lower[places] <= truth) & (truth <= curve.upper[places]))
    # The interval gain -+ t error holds .83 at a threshold of .05, where few patients are missed.
    assert (np.mean(held, axis=0) > 0.92).all()
    assert (np.mean(by_row, axis=0) < np.mean(held, axis=0) - 0.05).all()
