"""Corrections for many tests, against SciPy and by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from ctbench_core.errors import InputError
from ctbench_core.inference import benjamini_hochberg, best_by_max_t, best_of, difference, measure
from tests.inference.cohorts import layers


@pytest.mark.parametrize("seed", range(5))
def test_bh_equals_scipy(seed: int) -> None:
    p = np.round(np.random.default_rng(seed).random(37) ** 2, 3)
    np.testing.assert_allclose(benjamini_hochberg(p), stats.false_discovery_control(p), rtol=1e-12)


def test_bh_leaves_undefined_tests_out_of_the_family() -> None:
    result = benjamini_hochberg([0.01, np.nan, 0.04])
    np.testing.assert_allclose(result, [0.02, np.nan, 0.04])
    assert benjamini_hochberg([]).shape == (0,)
    with pytest.raises(InputError, match=r"\[0, 1\]"):
        benjamini_hochberg([1.2])


def test_best_is_marked_only_against_all_others() -> None:
    draw = np.random.default_rng(0)
    noise = draw.normal(0, 0.01, (999, 3))
    clear = best_by_max_t([0.9, 0.8, 0.7], np.array([0.9, 0.8, 0.7]) + noise)
    assert (clear.index, clear.marked) == (0, True)
    close = best_by_max_t([0.9, 0.895, 0.7], np.array([0.9, 0.895, 0.7]) + noise)
    assert (close.index, close.marked) == (0, False)
    assert close.p[1] > 0.5
    assert close.p[2] < 0.01
    assert np.isnan(close.p[0])


def test_best_among_equals_is_marked_at_the_level() -> None:
    draw = np.random.default_rng(1)
    marked = 0
    for _ in range(1000):
        values = draw.normal(0, 0.01, 6)
        marked += best_by_max_t(values, values + draw.normal(0, 0.01, (199, 6))).marked
    # The best of six equals is declared best against all at most as often as the level says.
    assert marked / 1000 <= 0.05


def test_undefined_and_equal_models() -> None:
    draws = np.random.default_rng(2).normal(0.5, 0.1, (99, 1)) + np.zeros(3)
    same = best_by_max_t([0.5, 0.5, np.nan], draws)
    assert same.index == 0
    assert not same.marked
    assert same.p[1] == 1
    assert best_by_max_t([np.nan], np.full((9, 1), np.nan)).index is None
    with pytest.raises(InputError, match="resamples"):
        best_by_max_t([0.1, 0.2], np.zeros((5, 3)))


def test_best_recipe_needs_more_than_the_luck_of_its_seeds() -> None:
    draw = np.random.default_rng(3)
    targets = (draw.random((400, 2)) < 0.4).astype(float)
    noise = draw.normal(size=(3, 400, 2))
    good, poor = 3 * targets + noise, targets + noise
    figures = measure(targets, np.concatenate([poor, good]), np.arange(400), ["a", "b"], resamples=300)["auroc"]
    best = best_of(figures, [[0, 1, 2], [3, 4, 5]])
    assert (best.index, best.marked) == (1, True)
    # The same two means, but one recipe's seeds differ by as much as the recipes do.
    mixed = measure(targets, np.concatenate([poor[:2], good, poor[2:]]), np.arange(400), ["a", "b"], resamples=300)
    assert not best_of(mixed["auroc"], [[0, 1, 2], [3, 4, 5]]).marked


def test_of_two_models_p_is_that_of_their_difference() -> None:
    targets, scores, codes = layers(120, seed=4)
    figures = measure(targets, scores, codes, ["a", "b"])["auprc"]
    for column in ("a", "macro"):
        one = difference(figures, [0], [1])
        p = one.p[one.at(column)]
        found = best_of(figures, [[0], [1]], column=column)
        assert 0.02 < p < 0.98
        assert np.nanmax(found.p) == p
        assert found.index == int(figures.value[1, one.at(column)] > figures.value[0, one.at(column)])


def test_of_two_recipes_p_is_that_of_their_common_seeds() -> None:
    draw = np.random.default_rng(8)
    targets = (draw.random((300, 1)) < 0.3).astype(float)
    scores = (0.8 + 0.2 * (np.arange(7) > 3))[:, None, None] * targets + draw.normal(size=(7, 300, 1))
    figures = measure(targets, scores, np.arange(300), ["a"])["auroc"]
    names = ["1", "2", "3", "4"], ["3", "4", "2"]
    expected = difference(figures, [2, 3, 1], [4, 5, 6], overlap=0.3)
    found = best_of(figures, [[0, 1, 2, 3], [4, 5, 6]], names, "a", overlap=0.3)
    assert found.p[0] == pytest.approx(expected.p[0], rel=1e-12)
    assert (found.index, found.marked) == (1, bool(expected.p[0] < 0.05))
    assert np.nanmax(best_of(figures, [[0], [1], [4]], column="a").p) < 1


def test_best_of_figures_without_an_interval_is_none() -> None:
    targets = np.zeros((30, 1))
    targets[:3] = 1
    scores = np.random.default_rng(0).random((2, 30, 1))
    figures = measure(targets, scores, np.arange(30), ["rare"], resamples=20)["auprc"]
    assert best_of(figures, [[0], [1]]).index is None
