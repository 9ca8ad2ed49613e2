from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import precision_recall_curve, roc_curve

from ctbench_core.errors import InputError
from ctbench_core.metrics import Curve, curve_points, ranking_metrics, thin, threshold_counts

CLOSE = {"rtol": 0, "atol": 1e-12}


def test_random_curves_equal_scikit_learn(case):
    compared = 0
    for seed in range(200):
        targets, scores, weights = case(seed)
        for column, values in zip(targets.T, scores.T):
            actual = curve_points(column, values, weights)
            mask = ~np.isnan(column) & (weights > 0)
            if actual.reason:
                assert len(set(column[mask])) < 2 and len(actual.pr.x) == 0
                continue
            precision, recall, threshold = precision_recall_curve(
                column[mask], values[mask], sample_weight=weights[mask]
            )
            np.testing.assert_allclose(actual.pr.x[::-1], recall, **CLOSE)
            np.testing.assert_allclose(actual.pr.y[::-1], precision, **CLOSE)
            np.testing.assert_array_equal(actual.pr.threshold[:0:-1], threshold)
            fpr, tpr, threshold = roc_curve(
                column[mask], values[mask], sample_weight=weights[mask], drop_intermediate=False
            )
            np.testing.assert_allclose([actual.roc.x, actual.roc.y], [fpr, tpr], **CLOSE)
            np.testing.assert_array_equal(actual.roc.threshold, threshold)
            compared += 1
    assert compared > 100


def test_counts_equal_counting():
    draw = np.random.default_rng(0)
    targets, scores = draw.integers(0, 2, 80), np.round(draw.random(80), 1)
    actual = threshold_counts(targets, scores)
    for threshold, tp, fp in zip(*actual):
        assert tp == np.sum((scores >= threshold) & (targets == 1))
        assert fp == np.sum((scores >= threshold) & (targets == 0))


def test_a_thinned_roc_keeps_the_area_while_its_corners_fit():
    draw = np.random.default_rng(1)
    targets = (draw.random(5000) < 0.01).astype(float)
    scores = draw.normal(targets)
    full = curve_points(targets, scores).roc
    small = thin(full)
    assert len(small.x) <= 300 < len(full.x)
    area = ranking_metrics(targets[:, None], scores[:, None]).auroc[0]
    np.testing.assert_allclose(np.trapezoid(small.y, small.x), area, **CLOSE)


@pytest.mark.parametrize("name", ["pr", "roc"])
def test_a_thinned_curve_is_made_of_its_own_points_and_stays_close(name):
    draw = np.random.default_rng(2)
    targets = (draw.random(6000) < 0.4).astype(float)
    full = getattr(curve_points(targets, draw.normal(targets)), name)
    small = thin(full, 300)
    assert 200 < len(small.x) <= 300
    own = set(zip(*full))
    assert all(point in own for point in zip(*small))
    assert (small.x[0], small.y[0], small.x[-1], small.y[-1]) == (full.x[0], full.y[0], full.x[-1], full.y[-1])
    distance = np.hypot(full.x[:, None] - small.x, full.y[:, None] - small.y).min(axis=1)
    assert distance.max() < 0.02


def test_thinning_keeps_a_turn_back_and_the_ends_of_a_straight_line():
    line = Curve(np.array([9.0, 3.0, 2.0, 1.0]), np.array([0, 0.25, 0.5, 1.0]), np.array([0, 0.25, 0.5, 1.0]))
    np.testing.assert_array_equal(thin(line).x, [0.0, 1.0])
    spike = Curve(np.arange(3.0), np.zeros(3), np.array([0.0, 1.0, 0.5]))
    np.testing.assert_array_equal(thin(spike).y, [0.0, 1.0, 0.5])
    assert len(thin(Curve(np.empty(0), np.empty(0), np.empty(0))).x) == 0


@pytest.mark.parametrize(
    ("targets", "reason"), [([], "no known rows"), ([1], "no negative rows"), ([0, np.nan], "no positive rows")]
)
def test_a_label_of_one_class_has_no_curve_and_says_why(targets, reason):
    actual = curve_points(targets, np.full(len(targets), 0.3))
    assert actual.reason == reason
    assert len(actual.roc.x) == len(actual.pr.x) == 0
    assert np.isfinite(threshold_counts(targets, np.full(len(targets), 0.3)).tp).all()


def test_nan_scores_have_no_curve_and_no_counts():
    assert curve_points([0, 1], [np.nan, 0.5]).reason == "scores are NaN"
    with pytest.raises(InputError, match="NaN"):
        threshold_counts([0, 1], [np.nan, 0.5])


def test_tables_and_thinning_to_a_point_are_refused():
    with pytest.raises(InputError, match=r"\(rows,\)"):
        curve_points([[0, 1]], [[0.1, 0.2]])
    with pytest.raises(InputError, match="one label"):
        threshold_counts([0, 1], [0.1, 0.2], [[1, 1]])
    with pytest.raises(InputError, match="at least 2"):
        thin(curve_points([0, 1], [0.1, 0.2]).roc, 1)
