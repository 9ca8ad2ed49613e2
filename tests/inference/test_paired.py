"""Paired differences and rank swaps, against doing it row by row."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.stats import rankdata
from sklearn.metrics import average_precision_score, roc_auc_score

from ctbench_core.inference import auroc_covariance, paired_difference, rank_swap, resampled
from ctbench_core.metrics import compared_metric_fn


def two_models(patients: int, seed: int, labels: int = 2) -> tuple[np.ndarray, ...]:
    draw = np.random.default_rng(seed)
    codes = np.repeat(np.arange(patients), draw.integers(1, 4, patients))
    sick = (draw.random((patients, labels)) < 0.3).astype(float)[codes]
    shared = draw.normal(size=(patients, labels))[codes]
    first, second = (sick + shared + draw.normal(size=sick.shape) for _ in range(2))
    return sick, first, second, np.char.zfill(codes.astype(str), 4)  # as text, in the order of the codes


def test_swaps_equal_exchanging_ranks_row_by_row() -> None:
    targets, first, second, codes = two_models(30, seed=1)
    targets[3, 0] = np.nan
    first = np.round(first, 1)  # ties
    result = rank_swap(targets, first, second, codes, swaps=40, seed=5)
    rng = np.random.default_rng([5, 1])
    unswapped = rng.random((40, 30)) < 0.5
    for i in range(40):
        for c in range(2):
            known = ~np.isnan(targets[:, c])
            y = targets[known, c]
            a, b = rankdata(first[known, c]), rankdata(second[known, c])
            mine = unswapped[i, codes[known].astype(int)]
            left, right = np.where(mine, a, b), np.where(mine, b, a)
            gap = roc_auc_score(y, left) - roc_auc_score(y, right)
            assert result["auroc"][i, c] == pytest.approx(gap, abs=1e-12)
            gap = average_precision_score(y, left) - average_precision_score(y, right)
            assert result["auprc"][i, c] == pytest.approx(gap, abs=1e-12)


def test_differences_are_those_of_scikit_learn_and_change_sign_with_the_models() -> None:
    targets, first, second, codes = two_models(150, seed=2)
    result, back = (
        paired_difference(targets, *pair, codes, swaps=199, resamples=200)
        for pair in ((first, second), (second, first))
    )
    for c in range(2):
        gap = roc_auc_score(targets[:, c], first[:, c]) - roc_auc_score(targets[:, c], second[:, c])
        assert result["auroc"].delta[c] == pytest.approx(gap, abs=1e-12)
    assert result["auroc"].macro == pytest.approx(result["auroc"].delta.mean(), abs=1e-12)
    for name in ("auroc", "auprc"):
        np.testing.assert_allclose(result[name].bounds, -back[name].bounds[:, ::-1], atol=1e-12)
        np.testing.assert_array_equal(result[name].p, back[name].p)


def test_error_agrees_with_obuchowski() -> None:
    targets, first, second, codes = two_models(400, seed=3, labels=1)
    result = paired_difference(targets, first, second, codes, swaps=99)["auroc"]
    _, error, _ = auroc_covariance(targets[:, 0], np.stack([first[:, 0], second[:, 0]]), codes).difference()
    assert np.diff(result.bounds[0])[0] / 2 / 1.97 == pytest.approx(error, rel=0.1)


def test_intervals_of_differences_follow_their_rules() -> None:
    targets, first, second, codes = two_models(60, seed=3, labels=1)
    result = paired_difference(targets, first, second, codes, swaps=9, resamples=300, seed=8)
    both = np.stack([first, second])
    draws = {name: one[:, :, 0] for name, one in resampled(compared_metric_fn, targets, both, codes, 300, 8).items()}
    sick = [len(np.unique(codes[targets[:, 0] == side])) for side in (1, 0)]
    m = min(sick)

    differences = draws["auprc"][:, 0] - draws["auprc"][:, 1]
    delta, inflation = result["auprc"].delta[0], stats.t.ppf(0.975, m - 1) / stats.norm.ppf(0.975)
    expected = delta + inflation * (np.quantile(differences, [0.025, 0.975]) - delta)
    np.testing.assert_allclose(result["auprc"].bounds[0], expected, rtol=1e-10)

    spreads, k = draws["auroc"].var(axis=0, ddof=1), 2 * np.sqrt(m)
    area = np.array([roc_auc_score(targets[:, 0], scores[:, 0]) for scores in both])
    at = stats.norm.ppf(area)
    together = [stats.multivariate_normal.cdf([q, q], cov=[[1, 0.5], [0.5, 1]]) for q in at]
    model = (together - area**2) * sum(1 / np.array(sick))
    moderated = (m * spreads + k * model) / (m + k)
    spread = (draws["auroc"][:, 0] - draws["auroc"][:, 1]).std(ddof=1)
    error = spread * np.sqrt((1 + moderated.sum() / spreads.sum()) / 2)
    half_width = stats.t.ppf(0.975, m + k - 1) * error
    expected = result["auroc"].delta[0] + np.array([-half_width, half_width])
    np.testing.assert_allclose(result["auroc"].bounds[0], expected, rtol=1e-4)  # the normal integral is numerical


def test_a_better_model_is_found_and_an_equal_one_is_not() -> None:
    targets, first, _, codes = two_models(300, seed=4)
    worse = first + 2 * np.random.default_rng(0).normal(size=first.shape)
    result = paired_difference(targets, first, worse, codes, swaps=499, resamples=300)["auprc"]
    assert result.macro_bounds[0] > 0
    assert result.macro_p == 1 / 500
    same = paired_difference(targets, first, 3 * first + 1, codes, swaps=99, resamples=100)["auprc"]
    assert same.macro == 0
    assert same.macro_p == 1
    np.testing.assert_array_equal(same.p, [1, 1])


def test_labels_with_few_patients_have_a_difference_only() -> None:
    targets, first, second, codes = two_models(150, seed=6)
    targets[:, 1] = 0
    targets[:4, 1] = 1
    result = paired_difference(targets, first, second, codes, swaps=99, resamples=100)["auroc"]
    assert np.isfinite(result.delta[1])
    assert np.isnan(result.bounds[1]).all()
    assert np.isnan(result.p[1])
    assert result.macro == result.delta[0]
    assert result.macro_labels == 1
    assert "an interval needs 10" in (result.reasons[1] or "")
