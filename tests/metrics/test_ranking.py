from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from ctbench_core.errors import InputError
from ctbench_core.metrics import auprc_skill, macro, ranking_metrics, threshold_counts
from ctbench_core.metrics import ranking as kernel

EXACT = {"rtol": 0, "atol": 1e-12, "equal_nan": True}


def by_scikit_learn(targets, scores, weights):
    """AUROC and average precision of one label, NaN when the weighted rows hold one class."""
    mask = ~np.isnan(targets) & (weights > 0)
    truth, values, weight = targets[mask], scores[mask], weights[mask]
    if len(set(truth)) < 2:
        return np.nan, np.nan
    return (
        roc_auc_score(truth, values, sample_weight=weight),
        average_precision_score(truth, values, sample_weight=weight),
    )


def test_500_random_cases_equal_scikit_learn(case):
    undefined = 0
    for seed in range(500):
        targets, scores, weights = case(seed)
        expected = np.array([by_scikit_learn(t, s, weights) for t, s in zip(targets.T, scores.T)])
        actual = ranking_metrics(targets, scores, weights)
        np.testing.assert_allclose(np.stack([actual.auroc, actual.auprc], axis=1), expected, **EXACT, err_msg=str(seed))
        undefined += int(np.isnan(expected[:, 0]).sum())
    assert undefined > 100, "the cases must hold labels of one class"


def test_chexnet_equals_scikit_learn_and_the_published_figures(golden):
    folder = golden("metrics_goldens")
    table = pd.read_parquet(folder / "chexnet_test.parquet")
    expected = pd.read_csv(folder / "chexnet_expected.csv", index_col="label")
    published = pd.read_csv(folder / "chexnet_published_auroc.csv", index_col="label")["auc"]
    targets = table[list(expected.index)].to_numpy(float)
    scores = table[[f"prob_{label}" for label in expected.index]].to_numpy(float)
    assert targets.shape == (22433, 14)
    actual = ranking_metrics(targets, scores)
    direct = np.array([by_scikit_learn(t, s, np.ones(len(t))) for t, s in zip(targets.T, scores.T)])
    np.testing.assert_allclose(np.stack([actual.auroc, actual.auprc], axis=1), direct, **EXACT)
    np.testing.assert_allclose(actual.auroc, expected["auroc"], rtol=0, atol=1e-9)
    np.testing.assert_allclose(actual.auprc, expected["average_precision"], rtol=0, atol=1e-9)
    np.testing.assert_array_equal(actual.n_positive, expected["positives"])
    agree = np.abs(actual.auroc - published[expected.index].to_numpy()) < 1e-6
    assert agree.sum() == 8


def test_the_areas_are_those_under_the_counts_at_every_threshold(case):
    for seed in range(50):
        targets, scores, weights = case(seed)
        actual = ranking_metrics(targets, scores, weights)
        for label in np.flatnonzero(~np.isnan(actual.auroc)):
            _, tp, fp = threshold_counts(targets[:, label], scores[:, label], weights)
            trapezoid = np.sum(np.diff(fp) * (tp[1:] + tp[:-1]) / 2) / (tp[-1] * fp[-1])
            steps = np.sum(np.diff(tp) * tp[1:] / (tp[1:] + fp[1:])) / tp[-1]
            np.testing.assert_allclose(
                [actual.auroc[label], actual.auprc[label]], [trapezoid, steps], rtol=0, atol=1e-12
            )


def test_heads_and_resamples_at_once_equal_single_calls(case):
    draw = np.random.default_rng(5)
    targets, first, _ = case(11)
    scores = np.stack([first, -first, np.round(draw.random(first.shape), 1)])[:, None].repeat(2, axis=1)
    weights = draw.integers(0, 3, (5, len(targets))).astype(float)
    actual = ranking_metrics(targets, scores, weights)
    assert actual.auroc.shape == (5, 3, 2, targets.shape[1]) == actual.n_negative.shape
    for r, i, j in np.ndindex(5, 3, 2):
        one = ranking_metrics(targets, scores[i, j], weights[r])
        for name in ("auroc", "auprc", "n_positive", "n_negative"):
            np.testing.assert_allclose(getattr(actual, name)[r, i, j], getattr(one, name), **EXACT)


def test_a_resample_equals_the_table_with_its_rows_repeated(case):
    targets, scores, _ = case(23)
    weights = np.random.default_rng(1).integers(0, 4, (7, len(targets)))
    actual = ranking_metrics(targets, scores, weights)
    for r, counts in enumerate(weights):
        rows = np.repeat(np.arange(len(targets)), counts)
        np.testing.assert_allclose(actual.auprc[r], ranking_metrics(targets[rows], scores[rows]).auprc, **EXACT)


def test_chunks_change_nothing(case, monkeypatch):
    targets, scores, weights = case(3)
    whole = ranking_metrics(targets, scores, weights)
    monkeypatch.setattr(kernel, "CHUNK", 1)
    np.testing.assert_array_equal(ranking_metrics(targets, scores, weights).auroc, whole.auroc)


@pytest.mark.parametrize(
    ("targets", "reason"),
    [
        (np.empty((0, 1)), "no known rows"),
        ([[np.nan], [np.nan]], "no known rows"),
        ([[1]], "no negative rows"),
        ([[0]], "no positive rows"),
        ([[1], [1], [np.nan]], "no negative rows"),
        ([[0], [0]], "no positive rows"),
    ],
)
def test_undefined_is_nan_and_says_why(targets, reason):
    actual = ranking_metrics(targets, np.full(np.shape(targets), 0.5))
    assert np.isnan([actual.auroc[0], actual.auprc[0]]).all()
    assert actual.reasons == [reason]


def test_one_patient_with_both_classes_is_defined():
    actual = ranking_metrics([[1], [0]], [[0.9], [0.2]])
    assert (actual.auroc[0], actual.auprc[0], actual.reasons) == (1.0, 1.0, [None])


def test_tables_without_labels_or_heads_give_empty_results():
    assert ranking_metrics(np.empty((5, 0)), np.empty((5, 0))).auroc.shape == (0,)
    assert ranking_metrics(np.ones((5, 2)), np.empty((0, 5, 2))).auroc.shape == (0, 2)
    assert ranking_metrics(np.ones((5, 2)), np.ones((5, 2)), np.empty((0, 5))).auprc.shape == (0, 2)


def test_resamples_of_one_class_or_no_weight_are_nan():
    actual = ranking_metrics([[1], [0]], [[0.9], [0.2]], [[1, 1], [0, 1], [1, 0], [0, 0]])
    np.testing.assert_array_equal(actual.auroc[:, 0], [1, np.nan, np.nan, np.nan])
    np.testing.assert_array_equal(actual.auprc[:, 0], [1, np.nan, np.nan, np.nan])


def test_fractional_weights_of_one_class_leave_no_rounding_behind():
    draw = np.random.default_rng(0)
    targets, scores = draw.integers(0, 2, (2000, 1)), draw.random((2000, 1))
    for missing in (0, 1):
        actual = ranking_metrics(targets, scores, draw.random(2000) * (targets[:, 0] != missing))
        assert np.isnan([actual.auroc[0], actual.auprc[0]]).all()


def test_nan_scores_of_known_rows_are_named_those_of_unknown_rows_ignored():
    targets = [[1, 1], [0, 0], [1, np.nan]]
    scores = [[0.9, 0.9], [np.nan, 0.1], [0.8, np.nan]]
    actual = ranking_metrics(targets, scores)
    assert np.isnan(actual.auroc[0]) and actual.auroc[1] == 1.0
    assert actual.reasons == ["scores are NaN", None]


def test_infinite_scores_rank_as_extremes():
    actual = ranking_metrics([[1], [0], [0]], [[np.inf], [0.0], [-np.inf]])
    assert actual.auroc[0] == 1.0


def test_torch_tensors_are_taken_and_arguments_left_alone(case):
    targets, scores, weights = case(7)
    copies = [targets.copy(), scores.copy(), weights.copy()]
    expected = ranking_metrics(targets, scores, weights).auroc
    tensors = [torch.tensor(x, requires_grad=True) for x in (targets, scores, weights)]
    np.testing.assert_array_equal(ranking_metrics(*tensors).auroc, expected)
    for before, after in zip(copies, (targets, scores, weights)):
        np.testing.assert_array_equal(before, after)
    half = torch.tensor([[0.9], [0.2]], dtype=torch.bfloat16)
    assert ranking_metrics([[1], [0]], half).auroc[0] == 1.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[2.0]], [[0.5]]), "0, 1 or NaN"),
        (([1.0], [0.5]), "shape"),
        (([[1.0]], [[0.5, 0.5]]), r"end in the targets' shape \(1, 1\)"),
        (([[1.0]], [[0.5]], [1.0, 1.0]), "Weights must have shape"),
        (([[1.0]], [[0.5]], [-1.0]), "not negative"),
        (([[1.0]], [[0.5]], [np.nan]), "finite"),
    ],
)
def test_unusable_input_says_what_was_expected(arguments, message):
    with pytest.raises(InputError, match=message):
        ranking_metrics(*arguments)


def test_macro_averages_the_defined_and_counts_the_rest():
    mean, undefined = macro([[0.5, np.nan, 0.7], [np.nan, np.nan, np.nan]])
    np.testing.assert_array_equal(undefined, [1, 3])
    np.testing.assert_allclose(mean, [0.6, np.nan])
    assert np.isnan(macro([])[0])


tables = st.lists(st.tuples(st.sampled_from([0.0, 1.0, np.nan]), st.integers(-8, 8)), min_size=1, max_size=40)


def areas(targets, scores, weights=None):
    actual = ranking_metrics(np.asarray(targets, float)[:, None], np.asarray(scores, float)[:, None], weights)
    return np.array([actual.auroc[0], actual.auprc[0]])


@settings(max_examples=150, deadline=None)
@given(tables, st.randoms(use_true_random=False))
def test_monotone_maps_permutations_and_repeats_change_nothing(rows, chance):
    targets, scores = np.array(rows).T
    expected = areas(targets, scores)
    np.testing.assert_allclose(areas(targets, np.exp(scores / 3) - 5), expected, **EXACT)
    order = chance.sample(range(len(rows)), len(rows))
    np.testing.assert_allclose(areas(targets[order], scores[order]), expected, **EXACT)
    np.testing.assert_allclose(areas(np.tile(targets, 2), np.tile(scores, 2)), expected, **EXACT)
    np.testing.assert_allclose(areas(targets, scores, np.full(len(rows), 0.3)), expected, **EXACT)


@settings(max_examples=150, deadline=None)
@given(tables)
def test_complements_mirror_auroc(rows):
    targets, scores = np.array(rows).T
    auroc = areas(targets, scores)[0]
    np.testing.assert_allclose(areas(1 - targets, -scores)[0], auroc, **EXACT)
    np.testing.assert_allclose(areas(1 - targets, scores)[0], 1 - auroc, **EXACT)
    np.testing.assert_allclose(areas(targets, -scores)[0], 1 - auroc, **EXACT)


@pytest.mark.parametrize("shift", [0.0, 2.0, -0.5], ids=["sorted as keys", "too large for keys", "negative"])
def test_neighbouring_floats_differ_and_zeros_are_one(shift: float) -> None:
    """What fits integer keys and what does not is ordered the same, to the last bit of a score."""
    tiny = np.nextafter(0, 1)
    scores = np.array([0.0, -0.0, tiny, 0.5, np.nextafter(0.5, 1), 1 - 2**-53, 1.0, 1.0, np.nextafter(2, 1)])
    scores = scores if shift == 0 else np.unique(scores + shift)
    rng = np.random.default_rng(0)
    for _ in range(50):
        order = rng.integers(0, len(scores), 40)
        targets = rng.integers(0, 2, 40)
        targets[:2] = 0, 1
        result = ranking_metrics(targets[:, None], scores[order][:, None])
        assert result.auroc[0] == pytest.approx(roc_auc_score(targets, scores[order]), abs=1e-12)
        assert result.auprc[0] == pytest.approx(average_precision_score(targets, scores[order]), abs=1e-12)


def test_auprc_skill_is_one_for_a_perfect_and_zero_for_a_constant_order():
    targets = np.array([[1.0], [0.0], [0.0], [1.0], [0.0]])
    for scores, expected in ((targets, 1.0), (np.zeros_like(targets), 0.0)):
        assert auprc_skill(ranking_metrics(targets, scores).auprc, 0.4)[0] == pytest.approx(expected)
    assert np.isnan(auprc_skill(1.0, 1.0))
    assert np.isnan(auprc_skill(np.nan, 0.1))
