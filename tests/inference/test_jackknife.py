"""The jackknife of AUPRC: against scikit-learn without each patient, and as the product's errors."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from ctbench_core.inference import measure
from ctbench_core.inference.jackknife import auprc_without_each

LABELS = ["a", "b", "c"]


def brute_force(targets: np.ndarray, scores: np.ndarray, codes: np.ndarray, patients: int) -> np.ndarray:
    values = []
    for patient in range(patients):
        kept = (codes != patient) & ~np.isnan(targets)
        has_classes = len(np.unique(targets[kept])) == 2
        values.append(average_precision_score(targets[kept], scores[kept]) if has_classes else np.nan)
    return np.array(values)


@pytest.mark.parametrize("seed", range(40))
def test_auprc_without_each_patient_is_scikit_learns(seed: int) -> None:
    draw = np.random.default_rng(seed)
    rows, patients = int(draw.integers(6, 90)), int(draw.integers(2, 25))
    codes = draw.integers(0, patients, rows)
    if seed % 7 == 0:
        codes[: rows * 4 // 5] = 0  # one patient with many rows
    targets = np.where(draw.random(rows) < 0.1, np.nan, draw.random(rows) < 0.3)
    scores = draw.integers(0, 8, rows).astype(float) if seed % 2 else draw.normal(size=rows)
    expected = brute_force(targets, scores, codes, patients)
    defined = ~np.isnan(expected)
    found = auprc_without_each(targets, scores, codes, patients)
    np.testing.assert_allclose(found[defined], expected[defined], rtol=0, atol=1e-12)


def test_patients_with_more_rows_than_running_sums_are_left_out_too() -> None:
    draw = np.random.default_rng(1)
    codes = np.repeat([0, 1, 2], [70, 51, 29])
    targets, scores = (draw.random(150) < 0.4).astype(float), draw.normal(size=150).round(1)
    found = auprc_without_each(targets, scores, codes, 3)
    np.testing.assert_allclose(found, brute_force(targets, scores, codes, 3), rtol=0, atol=1e-12)


def test_a_patient_without_rows_of_a_finding_changes_nothing() -> None:
    targets, scores = np.array([1.0, 0.0, np.nan, 1.0]), np.array([0.9, 0.8, 0.7, 0.2])
    found = auprc_without_each(targets, scores, np.array([0, 1, 2, 3]), 5)
    assert found[2] == found[4] == pytest.approx(average_precision_score([1, 0, 1], [0.9, 0.8, 0.2]), abs=1e-15)
    assert np.isnan(auprc_without_each(np.full(4, np.nan), scores, np.array([0, 1, 2, 3]), 5)).all()


def test_errors_of_auprc_and_its_macro_are_of_one_patient_left_out() -> None:
    draw = np.random.default_rng(3)
    codes = np.repeat(np.arange(80), draw.integers(1, 4, 80))
    targets = (draw.random((len(codes), 3)) < 0.4).astype(float)
    scores = targets + draw.normal(size=(2, *targets.shape))
    figures = measure(targets, scores, codes, LABELS, ["auprc"], resamples=20)["auprc"]
    left_out = np.stack(
        [[brute_force(targets[:, c], scores[n, :, c], codes, 80) for c in range(3)] for n in range(2)]
    )  # (L, C, P)
    columns = np.concatenate([left_out, left_out.mean(axis=1, keepdims=True)], axis=1)
    for k in range(4):
        expected = np.cov(columns[:, k]) * (80 - 1) ** 2 / 80
        np.testing.assert_allclose(figures.covariance[k], expected, rtol=1e-9)
