"""Calibration maps and errors, against scikit-learn, SciPy and forecasts whose calibration is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize, stats
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss

from ctbench_core.errors import ConfigError, InputError
from ctbench_core.inference import calibration_lines
from ctbench_core.metrics import brier_score, ece, fit_calibration, logistic_fit, reliability
from ctbench_core.metrics.calibration import equal_mass_bins
from tests.inference.cohorts import dof_of, effective


def tilted(rows: int, slope: float, shift: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw logits z and targets of P(y) = sigmoid(slope z + shift), each (rows, 1)."""
    draw = np.random.default_rng(seed)
    z = draw.normal(0, 2, (rows, 1))
    return (draw.random((rows, 1)) < expit(slope * z + shift)).astype(float), z


def test_logistic_fit_equals_scikit_learn() -> None:
    y, z = tilted(400, 0.7, -1.5, seed=1)
    reference = LogisticRegression(C=np.inf, tol=1e-12, max_iter=1000).fit(z, y[:, 0])
    intercept, slope = logistic_fit(np.column_stack([np.ones(400), z[:, 0]]), y[:, 0])
    assert slope == pytest.approx(reference.coef_[0, 0], abs=1e-6)
    assert intercept == pytest.approx(reference.intercept_[0], abs=1e-6)


def test_platt_minimises_its_smoothed_loss() -> None:
    y, z = tilted(60, 0.5, -1, seed=2)
    n1, n0 = y.sum(), (1 - y).sum()
    t = np.where(y == 1, (n1 + 1) / (n1 + 2), 1 / (n0 + 2))

    def loss(beta: np.ndarray) -> float:
        return float((np.logaddexp(0, beta[0] * z + beta[1]) - t * (beta[0] * z + beta[1])).sum())

    best = optimize.minimize(loss, [1.0, 0.0], method="BFGS", options={"gtol": 1e-10}).x
    result = fit_calibration(y, z)
    np.testing.assert_allclose([result.slope[0], result.intercept[0]], best, atol=1e-6)


def test_platt_undoes_a_shifted_intercept_and_a_temperature_cannot() -> None:
    y, z = tilted(20000, 0.6, -2.0, seed=3)
    platt, heat = fit_calibration(y, z), fit_calibration(y, z, "temperature")
    assert platt.slope[0] == pytest.approx(0.6, abs=0.03)
    assert platt.intercept[0] == pytest.approx(-2.0, abs=0.06)
    assert heat.intercept[0] == 0
    assert ece(y[:, 0], platt.apply(z)[:, 0]) < 0.01 < 0.1 < ece(y[:, 0], heat.apply(z)[:, 0])


def test_separable_and_one_class_labels() -> None:
    z = np.array([[-2.0, 1.0], [-1.0, 2.0], [1.0, 3.0], [2.0, 4.0]])
    y = np.array([[0.0, 1.0], [0.0, 1.0], [1.0, 1.0], [1.0, 1.0]])
    result = fit_calibration(y, z)
    assert np.isfinite(result.slope).all()
    assert result.slope[0] > 0
    assert result.reasons == [None, "validation holds one class only"]
    np.testing.assert_array_equal(result.apply(z)[:, 1], expit(z[:, 1]))
    assert np.isfinite(logistic_fit(np.ones((4, 1)), np.ones(4))).all()


def test_unknown_method_lists_the_known() -> None:
    with pytest.raises(ConfigError, match="platt, temperature"):
        fit_calibration([[0.0], [1.0]], [[0.0], [1.0]], "isotonic")


def test_ece_by_hand_and_in_bins_of_equal_mass() -> None:
    draw = np.random.default_rng(4)
    p = draw.random(600)
    y = (draw.random(600) < p**2).astype(float)
    order = np.argsort(p)
    parts = np.array_split(order, 15)
    plain = sum(abs(p[part].sum() - y[part].sum()) for part in parts) / 600
    # The bias of the plain estimate, by resampling each bin's rate from a normal, as the source does.
    rates, errors = (np.array([f(y[part]) for part in parts]) for f in (np.mean, lambda v: v.std(ddof=1) / np.sqrt(40)))
    forecasts = np.array([p[part].mean() for part in parts])
    resampled = np.abs(forecasts - rates - errors * draw.normal(size=(200_000, 15))).mean()
    assert ece(y, p) == pytest.approx(2 * plain - resampled, abs=3e-4)
    assert ece(y, p) < plain
    assert (reliability(y, p).rows == 40).all()
    shuffled = draw.permutation(600)
    assert ece(y[shuffled], p[shuffled]) == pytest.approx(ece(y, p), abs=1e-12)


def test_equal_scores_share_a_bin() -> None:
    assert set(equal_mass_bins(np.full(100, 0.3))) == {0}
    at = equal_mass_bins(np.repeat([0.1, 0.2, 0.9], [50, 3, 47]))
    assert len({tuple(np.unique(at[part])) for part in (slice(0, 50), slice(50, 53), slice(53, 100))}) >= 2
    assert np.isnan(ece([np.nan], [0.5]))


def test_a_debiased_ece_of_perfect_forecasts_is_small_whatever_the_patients() -> None:
    draw = np.random.default_rng(7)
    plain, ours, by_row = [], [], []
    for _ in range(60):
        p = np.repeat(draw.uniform(0.1, 0.9, 150), 4)
        y = np.repeat((draw.random(150) < p[::4]).astype(float), 4)  # four volumes of one label a patient
        bins = reliability(y, p)
        plain.append((bins.rows * np.abs(bins.forecast - bins.observed)).sum() / 600)
        ours.append(ece(y, p, np.repeat(np.arange(150), 4)))
        by_row.append(ece(y, p))
    assert np.mean(ours) < 0.6 * np.mean(plain)
    assert np.mean(ours) < np.mean(by_row) < np.mean(plain)


def test_certain_bins_have_no_bias() -> None:
    assert ece([0.0] * 50 + [1.0] * 50, [0.1] * 50 + [0.8] * 50) == pytest.approx(0.15)


def test_bins_count_by_their_rows() -> None:
    """90 rows are off by .2 and 10 by .4, for certain."""
    forecasts, targets = np.repeat([0.2, 0.6], [90, 10]), np.repeat([0.0, 1.0], [90, 10])
    assert ece(targets, forecasts) == pytest.approx(0.9 * 0.2 + 0.1 * 0.4, abs=1e-12)


def test_lines_of_calibrated_forecasts_are_one_and_zero_and_their_intervals_hold() -> None:
    draw, fixed = np.random.default_rng(7), np.zeros(2)
    for _ in range(200):
        shift = np.repeat(draw.normal(0, 1, 150), 2)  # two equal rows a patient: half the evidence that they seem
        p = expit(shift)
        y = np.repeat(draw.random(150) < p[::2], 2).astype(float)
        result = calibration_lines(y[:, None], p[:, None], np.repeat(np.arange(150), 2))
        for at, (bounds, truth) in enumerate(((result.slope_bounds, 1), (result.intercept_bounds, 0))):
            fixed[at] += bounds[0, 0] <= truth <= bounds[0, 1]
    assert (fixed / 200 > 0.90).all()
    assert (fixed / 200 < 0.99).all()


def test_intervals_of_lines_are_sandwiches_by_patient_with_the_degrees_of_freedom_of_their_variance() -> None:
    y, z = (np.repeat(one, 2, axis=0)[:, 0] for one in tilted(60, 0.8, 0.3, seed=8))
    codes = np.repeat(np.arange(40), 3)
    line = calibration_lines(y[:, None], expit(z)[:, None], codes)
    fit = LogisticRegression(C=np.inf, tol=1e-12, max_iter=1000).fit(z[:, None], y)
    slope, start = fit.coef_[0, 0], fit.intercept_[0]
    p = expit(start + slope * z)
    bread, scores = np.zeros((2, 2)), np.zeros((40, 2))
    for row, value in enumerate(z):
        bread += p[row] * (1 - p[row]) * np.outer([1, value], [1, value])
        scores[codes[row]] += (y[row] - p[row]) * np.array([1, value])
    deviations = np.sqrt(40 / 39) * (scores @ np.linalg.inv(bread))[:, 1]
    sides = [effective(codes, y == side) for side in (0, 1)]
    dof = dof_of(deviations, min(sides) - 1)
    half_width = stats.t.ppf(0.975, dof) * np.sqrt((deviations**2).sum())
    np.testing.assert_allclose(line.slope_bounds[0], slope + np.array([-half_width, half_width]), rtol=1e-5)


def test_slope_and_intercept_of_forecasts_too_extreme_and_too_low() -> None:
    y, z = tilted(20000, 0.5, 0.0, seed=8)
    result = calibration_lines(y, expit(z), np.arange(20000))
    assert result.slope[0] == pytest.approx(0.5, abs=0.03)
    y, z = tilted(20000, 1.0, 0.8, seed=9)
    result = calibration_lines(y, expit(z), np.arange(20000))
    assert result.intercept[0] == pytest.approx(0.8, abs=0.06)
    assert logit(0.5) == 0


def test_lines_of_too_few_patients_are_undefined() -> None:
    result = calibration_lines([[0.0], [1.0]] * 5, [[0.2], [0.7]] * 5, np.arange(10))
    assert result.reasons == ["5 patients in the scarcer class: 10 are needed"]
    assert np.isnan(result.slope).all()


def test_random_brier_scores_equal_scikit_learn(case):
    for seed in range(200):
        targets, scores, weights = case(seed)
        actual = brier_score(targets, scores, weights)
        for c, (column, values) in enumerate(zip(targets.T, scores.T)):
            mask = ~np.isnan(column) & (weights > 0)
            if not mask.any():
                assert np.isnan(actual.brier[c])
                continue
            options = {"sample_weight": weights[mask]}
            expected = np.average((values[mask] - column[mask]) ** 2, weights=weights[mask])
            if len(set(column[mask])) == 2:
                expected = brier_score_loss(column[mask], values[mask], **options)
                constant = np.full(mask.sum(), np.average(column[mask], weights=weights[mask]))
                chance = brier_score_loss(column[mask], constant, **options)
                assert actual.skill[c] == pytest.approx(1 - expected / chance, abs=1e-9)
            else:
                assert np.isnan(actual.skill[c])
            assert actual.brier[c] == pytest.approx(expected, abs=1e-12)


def test_brier_of_heads_and_resamples_equals_single_calls(case):
    targets, first, _ = case(31)
    scores, weights = np.stack([first, 1 - first]), np.random.default_rng(0).random((4, len(targets)))
    actual = brier_score(targets, scores, weights)
    for r, h in np.ndindex(4, 2):
        one = brier_score(targets, scores[h], weights[r])
        np.testing.assert_allclose([actual.brier[r, h], actual.skill[r, h]], [one.brier, one.skill], atol=1e-12)


def test_undefined_brier_has_a_reason():
    actual = brier_score([[np.nan, 1, 1], [np.nan, 1, 0]], [[0.5, 1.0, np.nan], [0.5, 1.0, 0.5]])
    assert actual.reasons == ["no known rows", None, "scores are NaN"]
    np.testing.assert_array_equal(actual.brier, [np.nan, 0.0, np.nan])
    assert np.isnan(brier_score(np.empty((0, 1)), np.empty((0, 1))).brier[0])


def test_logits_are_refused():
    with pytest.raises(InputError, match="sigmoid"):
        brier_score([[1]], [[3.0]])


def test_a_line_that_no_data_identify_says_so() -> None:
    y = np.repeat([0.0, 1.0], 20)[:, None]
    for p, reason in (
        (np.full((40, 1), 0.3), "all forecasts are equal"),
        (np.linspace(0.1, 0.9, 40)[:, None], "forecasts separate the classes"),
        (np.where(np.arange(40) == 0, 1.0, np.tile([0.3, 0.4], 20))[:, None], "exactly 0 or 1 was wrong"),
    ):
        result = calibration_lines(y, p, np.arange(40))
        assert reason in (result.reasons[0] or "")
        assert np.isnan([*result.slope, *result.intercept, *result.slope_bounds[0], *result.intercept_bounds[0]]).all()
