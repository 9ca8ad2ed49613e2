"""The sensitivity tests of K-fold studies, against SciPy and enumeration."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from ctbench_core.errors import InputError
from ctbench_core.inference import corrected_resampled_t, out_of_fold_scores, sign_flip


def test_sign_flip_equals_every_pattern() -> None:
    d = np.array([0.03, -0.01, 0.02, 0.04, 0.01, 0.02])
    sums = [abs(sum(s * v for s, v in zip(signs, d))) for signs in itertools.product([1, -1], repeat=6)]
    assert sign_flip(d).p == pytest.approx(np.mean([s >= abs(d.sum()) - 1e-12 for s in sums]))
    reference = stats.permutation_test((d,), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert sign_flip(d).p == pytest.approx(reference.pvalue)


def test_five_folds_cannot_reach_the_level_and_it_says_so() -> None:
    result = sign_flip([0.1, 0.2, 0.1, 0.2, 0.1])
    assert result.p == result.smallest_p == 0.0625
    assert "cannot give p below 0.062" in result.note
    assert "cannot" not in sign_flip([0.1] * 6).note


def test_many_differences_are_sampled() -> None:
    d = np.random.default_rng(0).normal(0.3, 1, 25)
    exact = stats.ttest_1samp(d, 0).pvalue
    assert sign_flip(d).p == pytest.approx(exact, abs=0.02)


def test_corrected_t_is_the_t_test_without_overlap() -> None:
    d = np.random.default_rng(1).normal(0.3, 1, 10)
    assert corrected_resampled_t(d, 0).p == pytest.approx(stats.ttest_1samp(d, 0).pvalue, rel=1e-10)
    # Five folds: 1/5 becomes 1/5 + 1/4.
    t = d.mean() / np.sqrt((1 / 10 + 0.25) * d.var(ddof=1))
    assert corrected_resampled_t(d, 0.25).p == pytest.approx(2 * stats.t.sf(abs(t), 9), rel=1e-10)
    assert corrected_resampled_t([0.0, 0.0], 0.25).p == 1


def test_out_of_fold_scores_are_averaged_over_seeds_and_must_be_whole() -> None:
    scores = np.arange(12.0).reshape(2, 3, 2)
    np.testing.assert_array_equal(out_of_fold_scores(scores), scores.mean(axis=0))
    scores[1, 2, 0] = np.nan
    with pytest.raises(InputError, match="some seed: 1"):
        out_of_fold_scores(scores)


def test_folds_must_be_finite() -> None:
    with pytest.raises(InputError, match="finite"):
        sign_flip([0.1, np.nan])
    with pytest.raises(InputError, match="at least two"):
        corrected_resampled_t([0.1], 0.25)
