"""Thresholds from validation, against trying every score, and cross-fitted by patients."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score, recall_score

from ctbench_core.errors import ConfigError, InputError
from ctbench_core.metrics import (
    choose_thresholds,
    cross_fitted_calls,
    f1_of_calls,
    patient_folds,
    sensitivity_at_specificity,
    specificity_at_sensitivity,
)


def sample(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    y = (draw.random((rows, 2)) < [0.2, 0.5]).astype(float)
    return y, np.round((y + draw.normal(size=y.shape)) / 6 + 0.4, 2).clip(0, 1)


def rates(y: np.ndarray, p: np.ndarray, t: float) -> dict[str, float]:
    predicted = p >= t
    sensitivity, specificity = recall_score(y, predicted), recall_score(1 - y, ~predicted)
    return {"f1": f1_score(y, predicted), "sensitivity": sensitivity, "specificity": specificity}


@pytest.mark.parametrize("seed", range(3))
def test_thresholds_equal_trying_every_score(seed: int) -> None:
    y, p = sample(150, seed)
    for c in range(2):
        by_threshold = {t: rates(y[:, c], p[:, c], t) for t in np.unique(p[:, c])}
        best = max(by_threshold, key=lambda t: (by_threshold[t]["f1"], t))
        assert choose_thresholds(y, p, "f1").values[c] == best
        youden = max(
            by_threshold, key=lambda t: (round(by_threshold[t]["sensitivity"] + by_threshold[t]["specificity"], 12), t)
        )
        assert choose_thresholds(y, p, "youden").values[c] == youden
        sensitive = [t for t in by_threshold if by_threshold[t]["sensitivity"] >= 0.9]
        assert choose_thresholds(y, p, "sensitivity=.9").values[c] == max(sensitive)
        specific = [t for t in by_threshold if by_threshold[t]["specificity"] >= 0.8]
        most = max(by_threshold[t]["sensitivity"] for t in specific)
        assert by_threshold[choose_thresholds(y, p, "specificity=.8").values[c]]["sensitivity"] == most


def test_the_most_specific_threshold_is_chosen_if_none_reaches_the_specificity() -> None:
    y, p = np.array([[1.0], [0.0]]), np.array([[0.2], [0.8]])
    assert choose_thresholds(y, p, "specificity=.9").values[0] == 0.8


def test_one_class_keeps_one_half_with_a_reason() -> None:
    result = choose_thresholds([[1.0, 0.0], [1.0, 1.0]], [[0.1, 0.2], [0.3, 0.7]])
    assert result.values.tolist() == [0.5, 0.7]
    assert result.reasons == ["validation holds one class only", None]


@pytest.mark.parametrize("rule", ["best", "sensitivity", "sensitivity=2", "f1=.3", "specificity=high"])
def test_unknown_rules_are_refused(rule: str) -> None:
    with pytest.raises(ConfigError, match="Known: f1, youden"):
        choose_thresholds([[1.0], [0.0]], [[0.2], [0.1]], rule)


def test_folds_keep_patients_whole_and_even() -> None:
    patients = np.repeat([f"p{i}" for i in range(23)], 3)
    at = patient_folds(patients)
    assert all(len(set(at[patients == name])) == 1 for name in set(patients))
    assert np.ptp(np.bincount(at) // 3) <= 1
    assert not np.array_equal(at, patient_folds(patients, seed=1))


def test_cross_fitted_calls_use_the_other_folds_threshold() -> None:
    y, p = sample(200, 5)
    patients = np.repeat(np.arange(100), 2)
    at = patient_folds(patients)
    calls = cross_fitted_calls(y, p, patients)
    for fold in range(5):
        mine = at == fold
        chosen = choose_thresholds(y[~mine], p[~mine]).values
        np.testing.assert_array_equal(calls[mine], p[mine] >= chosen)
    for c, value in enumerate(f1_of_calls(y, calls)):
        assert value == pytest.approx(f1_score(y[:, c], calls[:, c]), abs=1e-12)


def test_noise_looks_better_fitted_than_cross_fitted() -> None:
    draw = np.random.default_rng(2)
    gaps = []
    for _ in range(20):
        y = (draw.random((80, 1)) < 0.2).astype(float)
        p = draw.random((80, 1))
        fitted = f1_of_calls(y, p >= choose_thresholds(y, p).values)[0]
        gaps.append(fitted - f1_of_calls(y, cross_fitted_calls(y, p, np.arange(80)))[0])
    assert np.mean(gaps) > 0.05


def by_trial(targets, scores, weights, minimum, fixed):
    """Try every threshold: return (sensitivity, specificity) of the best one whose `fixed` rate meets the minimum."""
    mask = ~np.isnan(targets)
    truth, values, weight = targets[mask] == 1, scores[mask], weights[mask]
    best = (-1.0, -1.0)
    for threshold in [np.inf, *values]:
        predicted = values >= threshold
        rates = (
            np.average(predicted[truth], weights=weight[truth]),
            np.average(~predicted[~truth], weights=weight[~truth]),
        )
        if rates[fixed] >= minimum - 1e-12 and rates[1 - fixed] > best[1 - fixed]:
            best = rates
    return best


@pytest.mark.parametrize("minimum", [0.0, 0.5, 0.9, 0.95, 1.0])
def test_both_ways_equal_trying_every_threshold(case, minimum):
    compared = 0
    for seed in range(120):
        targets, scores, weights = (x[:, 0] if x.ndim == 2 else x + 0.1 for x in case(seed))
        at_specificity = sensitivity_at_specificity(targets, scores, minimum, weights)
        at_sensitivity = specificity_at_sensitivity(targets, scores, minimum, weights)
        if at_specificity.reason:
            assert np.isnan(at_specificity[:3]).all() and np.isnan(at_sensitivity[:3]).all()
            continue
        expected = by_trial(targets, scores, weights, minimum, fixed=1)[0]
        assert at_specificity.sensitivity == pytest.approx(expected, abs=1e-12)
        assert at_specificity.specificity >= minimum - 1e-12
        expected = by_trial(targets, scores, weights, minimum, fixed=0)[1]
        assert at_sensitivity.specificity == pytest.approx(expected, abs=1e-12)
        assert at_sensitivity.sensitivity >= minimum - 1e-12
        compared += 1
    assert compared > 30


def test_the_threshold_yields_the_rates():
    draw = np.random.default_rng(0)
    targets, scores = draw.integers(0, 2, 300), np.round(draw.random(300), 2)
    point = sensitivity_at_specificity(targets, scores, 0.9)
    predicted = scores >= point.threshold
    assert point.sensitivity == pytest.approx(predicted[targets == 1].mean())
    assert point.specificity == pytest.approx((~predicted[targets == 0]).mean())


def test_nothing_is_positive_if_no_score_reaches_the_specificity():
    point = sensitivity_at_specificity([1, 0], [0.1, 0.9], 1.0)
    assert point == (np.inf, 0.0, 1.0, None)


def test_one_class_has_a_reason_and_per_cent_is_refused():
    assert sensitivity_at_specificity([1, 1], [0.1, 0.9], 0.9).reason == "no negative rows"
    with pytest.raises(InputError, match="not per cent"):
        specificity_at_sensitivity([0, 1], [0.1, 0.9], 90)
