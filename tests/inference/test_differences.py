"""Differences of models, recipes and sides, against their rules written out and SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from ctbench_core.errors import InputError
from ctbench_core.inference import auroc_covariance, difference, match_seeds, measure, recipe_difference
from ctbench_core.inference.differences import NEAR_RATE
from ctbench_core.inference.rules import midway_dof, satterthwaite
from tests.inference.cohorts import auroc_deviations, dof_of, effective, layers, left_out, scarcer

LABELS = ["a", "b"]


def patient_dof(targets: np.ndarray, scores: np.ndarray, codes: np.ndarray, column: int, half: int) -> float:
    """Return the degrees of freedom of the difference of the mean AUROCs of the first and the last ``half`` layers."""
    numbers = np.unique(codes, return_inverse=True)[1]
    each = [auroc_deviations(targets[:, column], layer[:, column], numbers) for layer in scores]
    deviations = np.mean(each[:half], axis=0) - np.mean(each[half:], axis=0)
    return dof_of(deviations, scarcer(targets, codes, column) - 1)


def test_two_models_differ_by_obuchowskis_t() -> None:
    targets, scores, codes = layers(150, seed=2)
    result = difference(measure(targets, scores, codes, LABELS, resamples=100)["auroc"], [0], [1])
    for c in range(2):
        areas, covariance = auroc_covariance(targets[:, c], scores[:, :, c], codes)
        assert result.delta[c] == pytest.approx(np.subtract(*(roc_auc_score(targets[:, c], s[:, c]) for s in scores)))
        error = np.sqrt(np.array([1, -1]) @ covariance @ [1, -1])
        dof = patient_dof(targets, scores, codes, c, 1)
        assert result.p[c] == pytest.approx(2 * stats.t.sf(abs(areas[0] - areas[1]) / error, dof), rel=1e-9)
        half_width = stats.t.ppf(0.975, dof) * error
        np.testing.assert_allclose(result.bounds[c], result.delta[c] + np.array([-half_width, half_width]), rtol=1e-9)
        power = stats.t.ppf([0.975, 0.8], dof).sum() * error
        assert result.detectable[c] == pytest.approx(power, rel=1e-9)
    assert result.question == "these trained models"


def test_models_exchanged_change_the_sign_alone() -> None:
    targets, scores, codes = layers(100, seed=2)
    for figures in measure(targets, scores, codes, LABELS, resamples=100).values():
        one, back = difference(figures, [0], [1]), difference(figures, [1], [0])
        np.testing.assert_allclose(one.bounds, -back.bounds[:, ::-1], atol=1e-12)
        np.testing.assert_allclose(one.p, back.p, rtol=1e-9)


@pytest.mark.parametrize("count", [1, 3, 5])
def test_p_and_interval_never_contradict(count: int) -> None:
    draw = np.random.default_rng(count)
    for k in range(25):
        targets, scores, codes = layers(60, seed=k, count=2 * count)
        scores[:count] += draw.choice([0, 0.3, 1]) * targets
        rows = list(range(2 * count))
        for figures in measure(targets, scores, codes, LABELS, resamples=60).values():
            for paired in (True, False):
                one = difference(figures, rows[:count], rows[count:], paired)
                has = ~np.isnan(one.p)
                outside = (one.bounds[:, 0] > 0) | (one.bounds[:, 1] < 0)
                assert ((one.p < 0.05) == outside)[has].all()


@pytest.mark.parametrize(
    ("missed", "has_interval"), [((0, 0), False), ((2, 9), False), ((9, 2), False), ((9, 9), True), ((4, 8), True)]
)
def test_differences_of_rates_near_one_have_no_interval(missed: tuple[int, int], has_interval: bool) -> None:
    """Of 40 positive patients, a rate needs three expected on either side; the calls of both models must differ."""
    targets = np.repeat([1.0, 0.0], 40)[:, None]
    scores = np.stack([np.ones((80, 1)), np.ones((80, 1))])
    scores[0, : missed[0]] = 0
    scores[1, 20 : 20 + missed[1]] = 0
    one = difference(measure(targets, scores, np.arange(80), ["a"], ["recall"])["recall"], [0], [1])
    assert np.isfinite(one.bounds[0]).all() == np.isfinite(one.p[0]) == has_interval
    assert np.isfinite(one.equivalence(0.5)[0]) == has_interval
    assert (one.reasons[0] is None) == has_interval
    assert one.delta[0] == pytest.approx((missed[1] - missed[0]) / 40)


def test_models_that_call_the_same_rows_are_not_shown_to_be_equivalent() -> None:
    targets, scores, codes = layers(120, seed=4)
    same = difference(measure(targets, scores[[0, 0]], codes, LABELS, ["recall"])["recall"], [0], [1])
    assert same.reasons == [NEAR_RATE] * 3
    assert np.isnan(same.equivalence(0.02)).all()


def test_the_class_with_fewer_effective_patients_gives_the_degrees_of_freedom() -> None:
    """Fifty positive patients of one volume, sixty negative ones of whom one has 501."""
    codes = np.concatenate([np.arange(50), np.arange(50, 110), np.full(500, 50)])
    targets = (np.arange(len(codes)) < 50).astype(float)[:, None]
    scores = np.random.default_rng(0).random((1, len(codes), 1))
    figures = measure(targets, scores, codes, ["a"], ["auroc", "auprc"])
    for one in figures.values():
        assert one.patients[0] == 50
        assert one.effective[0] == pytest.approx(560**2 / (59 + 501**2))


def test_differences_of_rates_and_of_their_macro_means_leave_out_one_patient_at_a_time() -> None:
    targets, scores, codes = layers(120, seed=4)
    one = difference(measure(targets, scores, codes, LABELS, ["recall"])["recall"], [0], [1])

    def gap(rows: np.ndarray, columns: list[int]) -> float:
        return float(
            np.mean(
                [np.subtract(*((s[rows, c] >= 0.5)[targets[rows, c] == 1].mean() for s in scores)) for c in columns]
            )
        )

    for k, columns in enumerate(([0], [1], [0, 1])):
        deviations = left_out(lambda rows, own=columns: gap(rows, own), codes)
        assert one.delta[k] == pytest.approx(gap(np.arange(len(codes)), columns), abs=1e-12)
        assert one.error[k] == pytest.approx(np.sqrt((deviations**2).sum()), rel=1e-9)
        counts = [effective(codes, targets[:, c] == 1) for c in columns]
        assert one.dof[k] == pytest.approx(min(counts) - 1, rel=1e-9)


def test_equal_rankings_do_not_differ() -> None:
    targets, scores, codes = layers(100, seed=4, count=1)
    for figures in measure(targets, np.stack([scores[0], 3 * scores[0] + 1]), codes, LABELS, resamples=50).values():
        one = difference(figures, [0], [1])
        np.testing.assert_allclose(one.delta, 0, atol=1e-12)
        np.testing.assert_allclose(one.p, 1)
        np.testing.assert_allclose(one.bounds, 0, atol=1e-9)


def test_paired_recipes_share_patients_by_the_covariance_of_two_seeds() -> None:
    targets, scores, codes = layers(150, seed=5, count=6)
    figures = measure(targets, scores, codes, LABELS, resamples=100)["auroc"]
    one = difference(figures, [0, 1, 2], [3, 4, 5])
    gaps = figures.value[:3] - figures.value[3:]
    weights = np.repeat([1 / 3, -1 / 3], 3)
    patients = figures.dof(weights, np.zeros(3, bool))
    assert patients[0] == pytest.approx(patient_dof(targets, scores, codes, 0, 3))
    for c in range(3):
        contrast = np.concatenate([np.eye(3), -np.eye(3)], axis=1)
        errors = contrast @ figures.covariance[c] @ contrast.T
        shared = max((errors.sum() - np.trace(errors)) / 6, 0)
        parts = [shared, gaps[:, c].var(ddof=1) / 3]
        error, dof = np.sqrt(sum(parts)), midway_dof(parts, [patients[c], 2])
        assert one.error[c] == pytest.approx(error, rel=1e-9)
        assert one.p[c] == pytest.approx(2 * stats.t.sf(abs(gaps[:, c].mean()) / error, dof), rel=1e-6)
    assert one.question == "this way of training"
    np.testing.assert_allclose(one.spread, np.stack([gaps.min(axis=0), gaps.max(axis=0)], axis=1))


def test_differences_near_one_have_newcombes_variance_and_say_so() -> None:
    """A few of 20 patients with the finding just below the highest others: the errors from the data are too small."""
    targets, codes = np.repeat([[0.0], [1.0]], [100, 20], axis=0), np.arange(120)
    first = np.arange(120.0)[:, None]
    second = first.copy()
    first[100:104], second[100:106] = 97.5, 95.5
    figures = measure(targets, np.stack([first, second]), codes, ["x"], ["auroc"], resamples=20)["auroc"]
    one, own = difference(figures, [0], [1]), figures.covariance[0]
    assert one.marks[0] == "near 1: at least 93 %"
    psi, correlation = (20 + 100) / 2 - 1, own[0, 1] / np.sqrt(own[0, 0] * own[1, 1])
    a = figures.value[:, 0]
    least = a * (1 - a) * (1 + psi * (1 - a) / (2 - a) + psi * a / (1 + a)) / 2000  # Newcombe 2006, method 5
    v = np.maximum(np.diag(own), least)
    assert (v > np.diag(own)).any()
    assert one.error[0] ** 2 == pytest.approx(v.sum() - 2 * correlation * np.sqrt(v.prod()), rel=1e-9)
    assert one.error[1] > np.sqrt(np.array([1, -1]) @ figures.covariance[1] @ [1, -1])
    assert np.isnan(one.non_inferiority(0.05)).all() and np.isnan(one.equivalence(0.05)).all()


def test_models_without_an_error_on_the_wrong_side_differ_by_an_interval_with_a_width() -> None:
    targets, codes = np.repeat([[0.0], [1.0]], [100, 20], axis=0), np.arange(120)
    scores = np.arange(120.0)[:, None]
    figures = measure(targets, np.stack([scores, 2 * scores]), codes, ["x"], ["auroc"], resamples=20)["auroc"]
    one = difference(figures, [0], [1])
    assert figures.covariance[0].max() == 0
    assert one.delta[0] == 0 and one.bounds[0, 0] < -0.01 and one.bounds[0, 1] > 0.01
    assert one.p[0] == 1


def test_differences_that_are_not_near_one_are_not_marked() -> None:
    targets, scores, codes = layers(150, seed=2)
    for figures in measure(targets, scores, codes, LABELS, resamples=20).values():
        assert difference(figures, [0], [1]).marks == ["", "", ""]


def test_five_paired_seeds_without_error_of_patients_are_a_t_test() -> None:
    """All patients alike in every draw: only seeds are left, and the t is SciPy's."""
    targets, scores, codes = layers(150, seed=5, count=10)
    figures = measure(targets, scores, codes, LABELS, resamples=50)["auroc"]
    object.__setattr__(figures, "covariance", np.zeros_like(figures.covariance))
    one = difference(figures, range(5), range(5, 10))
    expected = stats.ttest_rel(figures.value[:5], figures.value[5:])
    np.testing.assert_allclose(one.p, expected.pvalue, rtol=1e-9)
    apart = difference(figures, range(5), range(5, 10), paired=False)
    welch = stats.ttest_ind(figures.value[:5], figures.value[5:], equal_var=False)
    np.testing.assert_allclose(apart.p, welch.pvalue, rtol=1e-9)
    np.testing.assert_allclose(apart.bounds, np.stack(welch.confidence_interval(0.95), axis=1), rtol=1e-9)


def test_seeds_that_share_training_patients_add_to_the_error() -> None:
    targets, scores, codes = layers(150, seed=5, count=10)
    figures = measure(targets, scores, codes, LABELS, resamples=50)["auroc"]
    apart, shared, same = (difference(figures, range(5), range(5, 10), overlap=o) for o in (0.0, 0.25, 0.9))
    np.testing.assert_allclose(shared.seed_error**2, apart.seed_error**2 * (1 / 5 + 1 / 3) * 5, rtol=1e-9)
    np.testing.assert_allclose(same.seed_error, apart.seed_error)
    assert same.question == "this way of training, for these training patients"
    gaps = figures.value[:5] - figures.value[5:]
    parts = [apart.patient_error[0] ** 2, gaps[:, 0].var(ddof=1) / 5]
    assert apart.dof[0] == pytest.approx(satterthwaite(parts, [patient_dof(targets, scores, codes, 0, 5), 4]))


def test_two_seeds_have_a_range_and_one_beside_several_has_nothing() -> None:
    targets, scores, codes = layers(150, seed=5, count=4)
    figures = measure(targets, scores, codes, LABELS, resamples=20)["auroc"]
    two = difference(figures, [0, 1], [2, 3])
    assert np.isnan(two.p).all()
    assert np.isfinite(two.spread).all()
    assert set(two.reasons) == {"two seeds: the range over seeds is shown"}
    one = difference(figures, [0], [1, 2, 3], paired=False)
    assert np.isnan(one.p).all()
    assert np.isfinite(one.delta).all()
    assert all("one seed of a recipe" in (reason or "") for reason in one.reasons)


def test_recipes_are_compared_over_the_seeds_they_share() -> None:
    assert match_seeds(["1", "2", "3"], ["3", "1", "9"]) == ([0, 2], [1, 0], True)
    assert match_seeds(["1"], ["2", "3"]) == ([0], [0, 1], False)
    targets, scores, codes = layers(100, seed=5, count=7)
    seeds = ["1", "2", "3"], ["3", "9", "2", "1"]
    result = recipe_difference(targets, scores[:3], scores[3:], seeds, codes, LABELS)["auroc"]
    figures = measure(targets, scores, codes, LABELS)["auroc"]
    expected = difference(figures, [0, 1, 2], [6, 5, 3])
    np.testing.assert_allclose(result.p, expected.p, rtol=1e-9)
    assert result.seeds == (3, 3)


def test_non_inferiority_and_equivalence_follow_the_interval() -> None:
    draw = np.random.default_rng(1)
    for k in range(20):
        targets, scores, codes = layers(120, seed=k)
        scores[0] += draw.choice([0, 0.2]) * targets
        one = difference(measure(targets, scores, codes, LABELS, resamples=60)["auprc"], [0], [1])
        for margin in (0.01, 0.05, 0.2):
            assert ((one.non_inferiority(margin) < 0.025) == (one.bounds[:, 0] > -margin)).all()
            narrow = stats.t.ppf(0.95, one.dof) * one.error
            inside = (one.delta - narrow > -margin) & (one.delta + narrow < margin)
            assert ((one.equivalence(margin) < 0.05) == inside).all()
            expected = stats.t.sf((one.delta + margin) / one.error, one.dof)
            np.testing.assert_allclose(one.non_inferiority(margin), expected, rtol=1e-9)


def test_where_small_is_good_more_is_worse() -> None:
    targets, _, codes = layers(120, seed=1)
    forecasts = np.stack([np.clip(0.3 + 0.3 * targets, 0, 1), np.full(targets.shape, 0.4)])
    one = difference(measure(targets, forecasts, codes, LABELS, ["brier"], resamples=60)["brier"], [0], [1])
    assert (one.delta < 0).all()
    assert (one.non_inferiority(0.001) < 0.025).all()


def test_sides_of_a_test_set_are_layers_of_their_own_rows() -> None:
    targets, scores, codes = layers(300, seed=3, count=1)
    group = np.arange(len(codes)) % 3 == 0
    sides = np.stack([np.where(mask[:, None], targets, np.nan) for mask in (group, ~group)])
    figures = measure(sides, np.concatenate([scores, scores]), codes, LABELS, resamples=50)
    for c in range(2):
        areas = [roc_auc_score(targets[mask, c], scores[0, mask, c]) for mask in (group, ~group)]
        np.testing.assert_allclose(figures["auroc"].value[:, c], areas, atol=1e-12)
    assert np.isfinite(difference(figures["auprc"], [0], [1]).p).all()
    fewest = min(scarcer(targets[mask], codes[mask], 0) for mask in (group, ~group))
    assert figures["auroc"].patients[0] == fewest


def test_few_patients_have_a_difference_only() -> None:
    targets, scores, codes = layers(150, seed=6)
    targets[:, 1] = 0
    targets[:4, 1] = 1
    one = difference(measure(targets, scores, codes, LABELS, resamples=50)["auroc"], [0], [1])
    assert np.isfinite(one.delta).all()
    assert np.isnan(one.p[[1, 2]]).all()
    assert np.isfinite(one.p[[0, 3]]).all()
    assert "an interval needs 10" in (one.reasons[1] or "")


def test_wrong_shapes_are_refused() -> None:
    targets, scores, codes = layers(30, seed=6)
    with pytest.raises(InputError, match="layers, rows, findings"):
        measure(targets, scores[0], codes, LABELS)
    with pytest.raises(InputError, match="one a row"):
        measure(targets, scores, codes[1:], LABELS)
    with pytest.raises(InputError, match="labels one a finding"):
        measure(targets, scores, codes, ["a"])
