"""DeLong's and Obuchowski's variances, against published examples, a jackknife and all pairs written out."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from ctbench_core.errors import InputError
from ctbench_core.inference import auroc_covariance, measure, patient_weights
from ctbench_core.metrics import ranking_metrics

# Two readers of 65 arteries of 36 patients (patient, diseased, reader 1, reader 2): the worked example of Obuchowski's own
# software (funcs_clusteredROC.R, Cleveland Clinic), whose help prints the components below.
ARTERIES = """
1 1 87 87, 1 1 79 83, 2 1 88 94, 2 1 95 93, 3 1 100 100, 3 1 68 79, 4 1 65 61, 4 1 89 91, 5 1 97 97, 5 1 100 100,
6 1 100 99, 6 1 89 88, 7 1 77 77, 8 1 94 89, 8 0 45 44, 9 1 89 92, 9 0 -11 -17, 10 1 95 91, 10 0 30 14, 11 1 95 95,
11 0 10 -122, 12 1 100 100, 12 0 19 -3, 13 1 75 75, 14 0 70 73, 14 1 70 81, 15 0 26 27, 15 1 86 93, 16 0 0 8,
16 1 65 70, 17 0 6 23, 17 1 100 100, 18 0 76 79, 18 1 96 95, 19 0 44 55, 19 1 100 100, 20 0 73 67, 20 1 97 94,
21 1 85 86, 22 0 58 60, 22 1 100 99, 23 0 -2 -2, 23 1 100 100, 24 0 -3 -14, 24 0 0 -11, 25 0 47 -3, 25 0 -94 -90,
26 0 -16 17, 26 0 75 85, 27 0 5 -22, 27 0 -1 -14, 28 0 -6 -52, 29 0 37 38, 29 0 47 35, 30 0 42 40, 30 0 4 6,
31 0 55 23, 31 0 55 45, 32 0 4 -87, 32 0 -13 -65, 33 0 49 24, 33 0 35 9, 34 0 53 66, 35 0 2 -15, 36 0 -48 -78
"""


def test_obuchowskis_worked_example() -> None:
    patients, diseased, *readers = np.array([row.split() for row in ARTERIES.split(",")], float).T
    areas, covariance = auroc_covariance(diseased, readers, patients.astype(int))
    m, n = 29, 36
    # S10, S01 and the cross products S11 as printed, to ten digits.
    printed = [
        [(0.0013151307, 0.0022375873, 2 * 0.0051785478), (0.0008484357, 0.0019241250, 0.0028648340 - 0.0015136931)],
        [(0.0008484357, 0.0019241250, 0.0028648340 - 0.0015136931), (0.0009284122, 0.0022598583, -2 * 0.0005015760)],
    ]
    expected = [[s10 / m + s01 / n + s11 / (m * n) for s10, s01, s11 in row] for row in printed]
    np.testing.assert_allclose(covariance, expected, rtol=0, atol=1e-11)
    np.testing.assert_allclose(areas, [0.9837, 0.9852], atol=5e-5)
    delta, error = areas[1] - areas[0], np.sqrt(np.array([-1, 1]) @ covariance @ [-1, 1])
    p = 2 * stats.norm.sf(abs(delta) / error)
    assert (round(delta, 4), round(error, 4), round(p, 4)) == (0.0014, 0.0066, 0.8271)


def test_delongs_variance_as_proc_prints_it() -> None:
    # pROC 1.18, data(aSAH): WFNS grade 1 to 5 by outcome; its tests print var(roc) to 15 digits.
    good, poor = (np.repeat(np.arange(5), counts) for counts in ([37, 20, 3, 8, 4], [2, 12, 1, 8, 18]))
    areas, covariance = auroc_covariance(np.repeat([0, 1], [len(good), len(poor)]), np.concatenate([good, poor]))
    assert areas[0] == pytest.approx(0.823678861788618, abs=1e-12)
    assert covariance[0, 0] == pytest.approx(0.00146991470882363, abs=1e-14)


@pytest.mark.parametrize("decimals", [1, 6])  # one decimal gives many ties
def test_delong_is_the_jackknife_of_both_classes(decimals: int) -> None:
    """AUROC by scikit-learn, leaving one row out at a time: the errors of positives and negatives add (Arvesen 1969)."""
    draw = np.random.default_rng(3)
    targets = (draw.random(60) < 0.3).astype(float)
    scores = np.round(draw.normal(size=(2, 60)) + targets, decimals)
    covariance = auroc_covariance(targets, scores)[1]
    expected = np.zeros((2, 2))
    for side in (0, 1):
        rows = np.flatnonzero(targets == side)
        left = np.array([[roc_auc_score(np.delete(targets, r), np.delete(s, r)) for r in rows] for s in scores])
        expected += np.cov(left) * (len(rows) - 1) ** 2 / len(rows)
    np.testing.assert_allclose(covariance, expected, rtol=1e-10)


@pytest.mark.parametrize("decimals", [1, 6])
def test_obuchowski_counts_pairs_of_rows_by_patient(decimals: int) -> None:
    """From the matrix of all pairs: a patient's rows are summed before they are squared."""
    draw = np.random.default_rng(2)
    patients = np.sort(draw.integers(0, 14, 40))
    targets = draw.random(40) < 0.4
    scores = np.round(draw.normal(size=(3, 40)) + targets + draw.normal(size=14)[patients], decimals)
    areas, covariance = auroc_covariance(targets.astype(float), scores, patients)
    won = np.sign(scores[:, targets, None] - scores[:, None, ~targets]) / 2 + 0.5
    differences = won - won.mean(axis=(1, 2), keepdims=True)
    ill, well = (np.equal.outer(np.unique(patients), patients[side]).astype(float) for side in (targets, ~targets))
    by_ill, by_well = ill @ differences.mean(axis=2).T, well @ differences.mean(axis=1).T
    few = [int(ill.any(axis=1).sum()), int(well.any(axis=1).sum()), len(ill)]
    parts = [a.T @ b * k / (k - 1) for a, b, k in zip((by_ill, by_well, by_ill), (by_ill, by_well, by_well), few)]
    m, n = int(targets.sum()), int((~targets).sum())
    expected = parts[0] / m**2 + parts[1] / n**2 + (parts[2] + parts[2].T) / (m * n)
    np.testing.assert_allclose(covariance, expected, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(areas, won.mean(axis=(1, 2)), atol=1e-12)


def test_worked_example() -> None:
    # Two positives (.35, .8) among negatives (.1, .4): placements 1/2 and 1 on either side, so
    # var(.5, 1) / 2 + var(.5, 1) / 2 = .125 / 2 + .125 / 2.
    areas, covariance = auroc_covariance([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    assert areas[0] == 0.75
    assert covariance[0, 0] == pytest.approx(0.125, abs=1e-15)


def test_agrees_with_the_bootstrap_on_clustered_rows() -> None:
    draw = np.random.default_rng(5)
    patients = np.repeat(np.arange(300), 3)
    sick = (draw.random(300) < 0.3).astype(float)
    scores = (sick + draw.normal(size=300))[patients] + 0.3 * draw.normal(size=900)
    clustered = auroc_covariance(sick[patients], scores, patients)[1][0, 0]
    draws = np.concatenate(
        [
            ranking_metrics(sick[patients][:, None], scores[:, None], weights).auroc
            for weights in patient_weights(patients)
        ]
    )
    assert np.sqrt(clustered) == pytest.approx(draws.std(ddof=1), rel=0.08)
    assert auroc_covariance(sick[patients], scores)[1][0, 0] < clustered / 2


def test_blank_rows_are_left_out_and_one_class_is_undefined() -> None:
    targets = np.array([0, 0, 1, 1, np.nan])
    scores = np.array([0.1, 0.4, 0.35, 0.8, 9.0])
    assert auroc_covariance(targets, scores)[1][0, 0] == pytest.approx(0.125, abs=1e-15)
    assert np.isnan(auroc_covariance([1, 1, 1], [0.1, 0.2, 0.3])[1]).all()
    assert np.isnan(auroc_covariance([0, 0, 1, 1], [1, 2, 3, 4], ["a", "a", "b", "c"])[1]).all()


def test_sides_of_one_test_set_share_their_patients() -> None:
    """Two groups of rows of the same patients: the covariance of their areas is that of joint resamples."""
    draw = np.random.default_rng(11)
    patients = np.repeat(np.arange(400), 4)
    sick = (draw.random(400) < 0.4).astype(float)[patients]
    scores = (draw.normal(size=400)[patients] + 0.7 * sick + 0.3 * draw.normal(size=1600))[:, None]
    group = np.arange(1600) % 2 == 0
    sides = np.stack([np.where(mask, sick, np.nan)[:, None] for mask in (group, ~group)])
    figures = measure(sides, np.stack([scores] * 2), patients, ["x"])["auroc"]
    draws = [
        np.concatenate([ranking_metrics(side, scores, weights).auroc[:, 0] for weights in patient_weights(patients)])
        for side in sides
    ]
    np.testing.assert_allclose(figures.covariance[0], np.cov(draws), rtol=0.15)
    assert figures.covariance[0, 0, 1] > 0.5 * figures.covariance[0, 0, 0]


def test_patients_must_be_one_a_row() -> None:
    with pytest.raises(InputError, match="one a row"):
        auroc_covariance([0, 1], [0.1, 0.2], ["a"])
