from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import multilabel_confusion_matrix, precision_recall_fscore_support

from ctbench_core.declared import metrics_of
from ctbench_core.errors import ConfigError, InputError
from ctbench_core.metrics import macro, thresholded_metrics

CLOSE = {"rtol": 0, "atol": 1e-12, "equal_nan": True}


def test_500_random_cases_equal_scikit_learn(case):
    for seed in range(500):
        targets, scores, weights = case(seed)
        actual = thresholded_metrics(targets, scores, 0.5, weights)
        for c, (column, values) in enumerate(zip(targets.T, scores.T)):
            mask = ~np.isnan(column) & (weights > 0)
            if not mask.any():
                assert np.isnan(actual.f1[c]) and np.isnan(actual.prevalence[c])
                continue
            truth, predicted, weight = column[mask] == 1, values[mask] >= 0.5, weights[mask]
            precision, recall, f1, support = precision_recall_fscore_support(
                truth, predicted, labels=[False, True], sample_weight=weight, zero_division=np.nan
            )
            ours = [actual.precision[c], actual.recall[c], actual.f1[c], actual.support[c], actual.specificity[c]]
            np.testing.assert_allclose(ours, [precision[1], recall[1], f1[1], support[1], recall[0]], **CLOSE)
            np.testing.assert_allclose(
                [actual.balanced_accuracy[c], actual.npv[c]], [recall.mean(), precision[0]], **CLOSE
            )
            np.testing.assert_allclose(actual.prevalence[c], np.average(truth, weights=weight), **CLOSE)


def test_counts_and_averages_equal_scikit_learn_on_a_full_table():
    draw = np.random.default_rng(2)
    targets, scores = draw.integers(0, 2, (200, 6)), draw.random((200, 6))
    actual = thresholded_metrics(targets, scores, 0.6)
    matrices = multilabel_confusion_matrix(targets, scores >= 0.6)
    np.testing.assert_array_equal(
        np.stack([actual.tn, actual.fp, actual.fn, actual.tp], axis=1), matrices.reshape(6, 4)
    )
    expected = precision_recall_fscore_support(targets, scores >= 0.6, average="macro", zero_division=np.nan)
    averages = [macro(actual.value(name))[0] for name in ("precision", "recall", "f1")]
    np.testing.assert_allclose(averages, expected[:3], **CLOSE)


def test_missed_positives_score_f1_zero_and_precision_undefined():
    actual = thresholded_metrics([[1], [0]], [[0.1], [0.2]])
    assert actual.f1[0] == 0.0
    assert np.isnan(actual.precision[0])
    assert actual.reasons == ["no rows predicted positive"]


def test_f1_is_undefined_only_without_positives_and_calls():
    assert np.isnan(thresholded_metrics([[0], [0]], [[0.1], [0.2]]).f1[0])
    assert thresholded_metrics([[0], [0]], [[0.1], [0.9]]).f1[0] == 0.0


def test_a_probability_at_the_threshold_is_positive_and_each_label_has_its_own():
    actual = thresholded_metrics([[1, 1], [1, 1]], [[0.5, 0.5], [0.4, 0.4]], [0.5, 0.4])
    np.testing.assert_array_equal(actual.recall, [0.5, 1.0])


def test_heads_and_resamples_at_once_equal_single_calls(case):
    targets, first, _ = case(31)
    scores, weights = np.stack([first, 1 - first]), np.random.default_rng(0).random((4, len(targets)))
    actual = thresholded_metrics(targets, scores, 0.5, weights)
    assert actual.tp.shape == (4, 2, targets.shape[1])
    for r, h in np.ndindex(4, 2):
        one = thresholded_metrics(targets, scores[h], 0.5, weights[r])
        np.testing.assert_allclose(actual.f1[r, h], one.f1, **CLOSE)


@pytest.mark.parametrize("rows", [0, 1])
def test_an_empty_table_and_a_single_unknown_row_give_nan(rows):
    actual = thresholded_metrics(np.full((rows, 2), np.nan), np.full((rows, 2), 0.7))
    assert actual.reasons == ["no known rows"] * 2
    assert all(np.isnan(actual.value(metric.name)).all() for metric in metrics_of("thresholded"))


def test_nan_probabilities_are_named_not_called_negative():
    actual = thresholded_metrics([[1, 1], [0, 0]], [[np.nan, 0.9], [0.2, 0.1]])
    assert np.isnan(actual.recall[0]) and actual.recall[1] == 1.0
    assert actual.reasons == ["scores are NaN", None]


def test_unknown_metrics_and_misshapen_thresholds_are_refused():
    with pytest.raises(ConfigError, match="recall"):
        thresholded_metrics([[1]], [[0.5]]).value("recal")
    with pytest.raises(InputError, match="one number or one for each of the 1 labels"):
        thresholded_metrics([[1]], [[0.5]], [0.1, 0.2, 0.3])
    with pytest.raises(InputError, match="threshold is NaN"):
        thresholded_metrics([[1]], [[0.5]], np.nan)
