from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss

from ctbench_core.errors import InputError
from ctbench_core.metrics import auprc_skill, brier_score, ranking_metrics


def test_random_brier_scores_equal_scikit_learn(case):
    for seed in range(200):
        targets, scores, weights = case(seed)
        got = brier_score(targets, scores, weights)
        for c, (column, values) in enumerate(zip(targets.T, scores.T)):
            kept = ~np.isnan(column) & (weights > 0)
            if not kept.any():
                assert np.isnan(got.brier[c])
                continue
            options = {"sample_weight": weights[kept]}
            expected = np.average((values[kept] - column[kept]) ** 2, weights=weights[kept])
            if len(set(column[kept])) == 2:
                expected = brier_score_loss(column[kept], values[kept], **options)
                constant = np.full(kept.sum(), np.average(column[kept], weights=weights[kept]))
                chance = brier_score_loss(column[kept], constant, **options)
                assert got.skill[c] == pytest.approx(1 - expected / chance, abs=1e-9)
            else:
                assert np.isnan(got.skill[c])
            assert got.brier[c] == pytest.approx(expected, abs=1e-12)


def test_heads_and_resamples_at_once_equal_single_calls(case):
    targets, first, _ = case(31)
    scores, weights = np.stack([first, 1 - first]), np.random.default_rng(0).random((4, len(targets)))
    got = brier_score(targets, scores, weights)
    for r, h in np.ndindex(4, 2):
        one = brier_score(targets, scores[h], weights[r])
        np.testing.assert_allclose([got.brier[r, h], got.skill[r, h]], [one.brier, one.skill], atol=1e-12)


def test_undefined_says_why():
    got = brier_score([[np.nan, 1, 1], [np.nan, 1, 0]], [[0.5, 1.0, np.nan], [0.5, 1.0, 0.5]])
    assert got.reasons == ["no known rows", None, "scores are NaN"]
    np.testing.assert_array_equal(got.brier, [np.nan, 0.0, np.nan])
    assert np.isnan(brier_score(np.empty((0, 1)), np.empty((0, 1))).brier[0])


def test_logits_are_refused():
    with pytest.raises(InputError, match="sigmoid"):
        brier_score([[1]], [[3.0]])


def test_auprc_skill_is_one_for_a_perfect_and_zero_for_a_constant_order():
    targets = np.array([[1.0], [0.0], [0.0], [1.0], [0.0]])
    for scores, expected in ((targets, 1.0), (np.zeros_like(targets), 0.0)):
        assert auprc_skill(ranking_metrics(targets, scores).auprc, 0.4)[0] == pytest.approx(expected)
    assert np.isnan(auprc_skill(1.0, 1.0))
    assert np.isnan(auprc_skill(np.nan, 0.1))
