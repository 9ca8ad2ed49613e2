"""DeLong's and Obuchowski's variances, against the formulas written out pair by pair."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from ctbench_core.errors import InputError
from ctbench_core.metrics import auroc_covariance, bootstrap_intervals


def obuchowski(targets: np.ndarray, scores: np.ndarray, patients: np.ndarray) -> np.ndarray:
    """Write out Obuchowski's covariance (Biometrics 1997, section 3) by loops over patients and rows."""
    positive, negative = np.flatnonzero(targets == 1), np.flatnonzero(targets == 0)
    models, m, n = len(scores), len(positive), len(negative)

    def beats(k: int, x: int, y: int) -> float:
        return float(scores[k, x] > scores[k, y]) + 0.5 * float(scores[k, x] == scores[k, y])

    names = sorted(set(patients.tolist()))
    i10 = len({patients[x] for x in positive})
    i01 = len({patients[y] for y in negative})
    area = [np.mean([beats(k, x, y) for x in positive for y in negative]) for k in range(models)]
    sum10, sum01 = np.zeros((models, len(names))), np.zeros((models, len(names)))
    for k in range(models):
        for x in positive:
            sum10[k, names.index(patients[x])] += np.mean([beats(k, x, y) for y in negative]) - area[k]
        for y in negative:
            sum01[k, names.index(patients[y])] += np.mean([beats(k, x, y) for x in positive]) - area[k]
    out = np.zeros((models, models))
    for a in range(models):
        for b in range(models):
            s10 = i10 / ((i10 - 1) * m) * sum(sum10[a, i] * sum10[b, i] for i in range(len(names)))
            s01 = i01 / ((i01 - 1) * n) * sum(sum01[a, i] * sum01[b, i] for i in range(len(names)))
            s11 = sum(sum10[a, i] * sum01[b, i] for i in range(len(names)))
            s11b = sum(sum10[b, i] * sum01[a, i] for i in range(len(names)))
            out[a, b] = s10 / m + s01 / n + (s11 + s11b) / (m * n)
    return out


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("decimals", [1, 6])  # one decimal gives many ties
def test_obuchowski_equals_the_formula_written_out(seed: int, decimals: int) -> None:
    draw = np.random.default_rng(seed)
    patients = np.sort(draw.integers(0, 14, 40))
    targets = (draw.random(40) < 0.4).astype(float)
    scores = np.round(draw.normal(size=(3, 40)) + targets + draw.normal(size=14)[patients], decimals)
    found = auroc_covariance(targets, scores, patients)
    assert found.clustered
    np.testing.assert_allclose(found.covariance, obuchowski(targets, scores, patients), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(found.auroc, [roc_auc_score(targets, s) for s in scores], atol=1e-12)


def test_one_row_a_patient_is_delong() -> None:
    draw = np.random.default_rng(3)
    targets = (draw.random(60) < 0.3).astype(float)
    scores = draw.normal(size=(2, 60)) + targets
    found = auroc_covariance(targets, scores)
    assert not found.clustered
    # DeLong's S10 / m + S01 / n, as covariance matrices of the placements.
    x, y = scores[:, targets == 1], scores[:, targets == 0]
    v10 = np.stack([(a[:, None] > b[None]).mean(axis=1) for a, b in zip(x, y)])
    v01 = np.stack([(a[:, None] > b[None]).mean(axis=0) for a, b in zip(x, y)])
    expected = np.cov(v10) / x.shape[1] + np.cov(v01) / y.shape[1]
    np.testing.assert_allclose(found.covariance, expected, rtol=1e-12)
    delta, error, p = found.difference()
    assert p == pytest.approx(2 * stats.norm.sf(abs(delta) / error), rel=1e-12)


def test_worked_example() -> None:
    # Two positives (.35, .8) among negatives (.1, .4): placements 1/2 and 1 on either side, so
    # var(.5, 1) / 2 + var(.5, 1) / 2 = .125 / 2 + .125 / 2.
    found = auroc_covariance([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    assert found.auroc[0] == 0.75
    assert found.covariance[0, 0] == pytest.approx(0.125, abs=1e-15)


def test_agrees_with_the_bootstrap_on_clustered_rows() -> None:
    draw = np.random.default_rng(5)
    patients = np.repeat(np.arange(300), 3)
    sick = (draw.random(300) < 0.3).astype(float)
    scores = (sick + draw.normal(size=300))[patients] + 0.3 * draw.normal(size=900)
    found = auroc_covariance(sick[patients], scores, patients)
    error = bootstrap_intervals(sick[patients][:, None], scores[:, None], patients)["auroc"].error[0]
    assert np.sqrt(found.covariance[0, 0]) == pytest.approx(error, rel=0.08)
    naive = auroc_covariance(sick[patients], scores)
    assert naive.covariance[0, 0] < found.covariance[0, 0] / 2


def test_blank_rows_are_left_out_and_one_class_is_undefined() -> None:
    targets = np.array([0, 0, 1, 1, np.nan])
    scores = np.array([0.1, 0.4, 0.35, 0.8, 9.0])
    assert auroc_covariance(targets, scores).covariance[0, 0] == pytest.approx(0.125, abs=1e-15)
    found = auroc_covariance([1, 1, 1], [0.1, 0.2, 0.3])
    assert found.reason == "no negative rows"
    assert np.isnan(found.covariance).all()
    assert np.isnan(found.difference(0, 0)[2])
    assert auroc_covariance([0, 0, 1, 1], [1, 2, 3, 4], ["a", "a", "b", "c"]).reason is not None


def test_equal_models_differ_by_nothing() -> None:
    scores = np.array([0.1, 0.4, 0.35, 0.8])
    found = auroc_covariance([0, 0, 1, 1], np.stack([scores, scores**3]))
    assert found.difference() == (0.0, 0.0, 1.0)


def test_patients_must_be_one_a_row() -> None:
    with pytest.raises(InputError, match="one a row"):
        auroc_covariance([0, 1], [0.1, 0.2], ["a"])
