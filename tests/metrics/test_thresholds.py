"""Thresholds from validation, against trying every score, and cross-fitted by patients."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score, recall_score

from ctbench_core.errors import ConfigError
from ctbench_core.metrics import (
    choose_thresholds,
    cross_fitted_calls,
    patient_folds,
    thresholded_metrics,
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
    for c, value in enumerate(thresholded_metrics(y, calls).f1):
        assert value == pytest.approx(f1_score(y[:, c], calls[:, c]), abs=1e-12)


def test_noise_looks_better_fitted_than_cross_fitted() -> None:
    draw = np.random.default_rng(2)
    gaps = []
    for _ in range(20):
        y = (draw.random((80, 1)) < 0.2).astype(float)
        p = draw.random((80, 1))
        fitted = thresholded_metrics(y, p >= choose_thresholds(y, p).values).f1[0]
        gaps.append(fitted - thresholded_metrics(y, cross_fitted_calls(y, p, np.arange(80))).f1[0])
    assert np.mean(gaps) > 0.05
