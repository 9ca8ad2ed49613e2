"""Studentised rank swaps against exchanging ranks row by row."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import rankdata

from ctbench_core.inference import auroc_covariance, rank_swap
from tests.inference.cohorts import layers


def test_swaps_equal_exchanging_ranks_row_by_row() -> None:
    targets, scores, codes = layers(40, seed=1)
    targets[3, 0] = np.nan
    first, second = np.round(scores[0], 1), scores[1]  # ties
    result = rank_swap(targets, first, second, codes, swaps=60, seed=5)
    for c in range(2):
        known = ~np.isnan(targets[:, c])
        y, own = targets[known, c], codes[known].astype(int)
        a, b = rankdata(first[known, c]), rankdata(second[known, c])

        def t(left: np.ndarray, right: np.ndarray) -> float:
            areas, covariance = auroc_covariance(y, np.stack([left, right]), own)  # noqa: B023
            return abs(areas[0] - areas[1]) / np.sqrt(np.array([1, -1]) @ covariance @ [1, -1])

        draw, extreme = np.random.default_rng([5, 1]), 0
        for chunk in (50, 10):
            for exchanged in draw.random((chunk, 40)) < 0.5:
                swap = exchanged[own]
                extreme += t(np.where(swap, b, a), np.where(swap, a, b)) >= t(a, b) - 1e-9
        assert result[c] == pytest.approx((1 + extreme) / 61, abs=1e-12)


def test_a_better_model_is_found_and_an_equal_ranking_is_not() -> None:
    targets, scores, codes = layers(200, seed=4, count=1)
    worse = scores[0] + 2 * np.random.default_rng(0).normal(size=scores[0].shape)
    assert (rank_swap(targets, scores[0], worse, codes, swaps=199) == 1 / 200).all()
    assert (rank_swap(targets, scores[0], 3 * scores[0] + 1, codes, swaps=99) == 1).all()


def test_one_class_has_no_p() -> None:
    targets, scores, codes = layers(30, seed=4)
    targets[:, 1] = 0
    assert np.isnan(rank_swap(targets, *scores, codes, swaps=9)[1])
