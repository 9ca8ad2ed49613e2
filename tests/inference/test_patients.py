"""Resampling of patients against drawing whole patients one by one; Kish's number of patients."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from ctbench_core.declared import METRICS, Metric
from ctbench_core.inference import evidence, measure, patient_weights
from ctbench_core.metrics import metric_values, ranking_metrics
from tests.inference.cohorts import clustered


def draws_one_by_one(patients: int, count: int, seed: int) -> np.ndarray:
    """Draw the patients of every resample as the package does: 64 resamples a call."""
    draw = np.random.default_rng(seed)
    return np.concatenate(
        [draw.integers(0, patients, (min(64, count - start), patients)) for start in range(0, count, 64)]
    )


def test_resamples_equal_drawing_whole_patients_one_by_one() -> None:
    targets, scores, codes = clustered(60, seed=1)
    names = np.char.zfill(codes.astype(str), 3)  # sorted as text, in the order of the codes
    weights = np.concatenate(list(patient_weights(names, 150, seed=4)))
    found = metric_values(["auroc", "auprc", "f1"], targets, scores, weights, 0.8)
    rows_of = [np.flatnonzero(codes == code) for code in range(60)]
    for i, patients in enumerate(draws_one_by_one(60, 150, seed=4)):
        rows = np.concatenate([rows_of[patient] for patient in patients])
        y, s = targets[rows, 0], scores[rows, 0]
        assert found["auroc"][i, 0] == pytest.approx(roc_auc_score(y, s), abs=1e-12)
        assert found["auprc"][i, 0] == pytest.approx(average_precision_score(y, s), abs=1e-12)
        assert found["f1"][i, 0] == pytest.approx(f1_score(y, s >= 0.8), abs=1e-12)


def squares(targets: np.ndarray, scores: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    return ranking_metrics(targets, scores**2, weights).auroc


def test_a_metric_with_a_function_of_its_own_has_the_error_of_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    own = Metric("squares", "Squares", "Sq.", kind="ranking", function=f"{__name__}:squares", interval="bootstrap")
    monkeypatch.setitem(METRICS._items, "squares", own)
    targets, scores, codes = clustered(60, seed=1)
    figures = measure(targets, np.stack([scores, 2 * scores + 1]), codes, ["x"], ["squares"], resamples=200, seed=3)[
        "squares"
    ]
    weights = np.concatenate(list(patient_weights(codes, 200, seed=3)))
    draws = np.stack([ranking_metrics(targets, one**2, weights).auroc[:, 0] for one in (scores, 2 * scores + 1)])
    np.testing.assert_allclose(figures.covariance[0], np.cov(draws), rtol=1e-9)
    np.testing.assert_allclose(figures.bias[:, 0], draws.mean(axis=1) - figures.value[:, 0], atol=1e-12)


def test_kishs_number_of_patients() -> None:
    even = evidence(np.repeat(np.arange(10), 3), np.ones(30, bool))
    assert (even.patients, even.effective, even.mark) == (10, 10, "")
    codes = np.concatenate([np.zeros(90, int), np.arange(1, 11)])  # one patient with 90 of 100 rows
    uneven = evidence(codes, np.ones(100, bool))
    assert uneven.patients == 11
    assert uneven.effective == pytest.approx(100**2 / (90**2 + 10))
    assert uneven.mark == "few patients hold most volumes: 1 effective of 11 patients"
