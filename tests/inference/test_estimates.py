"""Estimates of models and recipes, against their rules written out."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.special import expit, logit
from sklearn.metrics import average_precision_score, roc_auc_score

from ctbench_core.inference import ELIGIBLE, MACRO, auroc_covariance, estimate, measure
from ctbench_core.inference.rules import satterthwaite
from tests.inference.cohorts import clustered, layers


def around(value: float, error: float, dof: float) -> np.ndarray:
    """Return the logit interval of a value."""
    half_width = stats.t.ppf(0.975, dof) * error / (value * (1 - value))
    return expit(logit(value) + np.array([-half_width, half_width]))


def scarcer(targets: np.ndarray, codes: np.ndarray, column: int = 0) -> int:
    return min(len(np.unique(codes[targets[:, column] == side])) for side in (0, 1))


def test_auroc_has_obuchowskis_error_and_t_of_the_scarcer_class() -> None:
    targets, scores, codes = clustered(120, seed=3)
    figures = measure(targets, scores[None], codes, ["x"], resamples=20)["auroc"]
    area, covariance = auroc_covariance(targets[:, 0], scores[:, 0], codes)
    expected = around(area[0], np.sqrt(covariance[0, 0]), scarcer(targets, codes) - 1)
    np.testing.assert_allclose(estimate(figures).bounds[0], expected, rtol=1e-10)


def test_rates_have_the_bootstraps_error() -> None:
    targets, scores, codes = clustered(120, seed=3)
    found = measure(targets, scores[None], codes, ["x"], ["recall", "precision"], 0.5, resamples=200)
    for name, figures in found.items():
        one = estimate(figures)
        called = scores[:, 0] >= 0.5
        patients = {
            "recall": len(np.unique(codes[targets[:, 0] == 1])),
            "precision": len(np.unique(codes[called])),
        }[name]
        expected = around(one.value[0], figures.draws[:, 0, 0].std(ddof=1), patients - 1)
        np.testing.assert_allclose(one.bounds[0], expected, rtol=1e-10)


def test_rows_of_one_patient_are_no_new_evidence() -> None:
    targets, scores, codes = clustered(80, seed=2)
    widths = []
    for copies in (1, 4):
        tiled = [np.tile(one, (copies, 1)) for one in (targets, scores)]
        figures = measure(tiled[0], tiled[1][None], np.tile(codes, copies), ["x"], resamples=100)
        widths.append([np.diff(estimate(one).bounds[0])[0] for one in figures.values()])
    np.testing.assert_allclose(widths[1], widths[0], rtol=1e-9)


def test_an_auroc_near_1_is_wider_and_marked() -> None:
    targets = np.repeat([[0.0], [1.0]], [100, 20], axis=0)
    scores = np.arange(120.0)[:, None]
    perfect = estimate(measure(targets, scores[None], np.arange(120), ["x"], resamples=20)["auroc"])
    assert perfect.value[0] == 1
    assert perfect.bounds[0, 1] == 1
    assert 0.8 < perfect.bounds[0, 0] < 0.99
    assert perfect.marks == ["near 1: at least 93 %"] * 2
    scores[100] = 60
    near = measure(targets, scores[None], np.arange(120), ["x"], resamples=20)["auroc"]
    bounds = estimate(near).bounds[0]
    plain = around(near.value[0, 0], float(np.sqrt(near.covariance[0, 0, 0])), 19)
    assert bounds[0] <= plain[0] and bounds[1] >= plain[1]
    assert bounds[0] < near.value[0, 0] < bounds[1]


def test_a_macro_of_findings_near_1_has_the_sum_of_their_wider_variances() -> None:
    targets = np.repeat([[0.0, 0.0], [1.0, 1.0]], [100, 20], axis=0)
    scores = np.stack([np.arange(120.0), np.roll(np.arange(120.0), 15)], axis=1)
    scores[100:104, 0] = 97.5
    figures = measure(targets, scores[None], np.arange(120), ["near", "not"], ["auroc"], resamples=50)["auroc"]
    one = estimate(figures)
    assert one.marks == ["near 1: at least 93 %", "", "near 1: at least 93 %"]
    psi, a = (20 + 100) / 2 - 1, figures.value[0, 0]
    least = a * (1 - a) * (1 + psi * (1 - a) / (2 - a) + psi * a / (1 + a)) / 2000  # Newcombe 2006, method 5
    own = figures.covariance[:, 0, 0]
    assert one.error[2] ** 2 == pytest.approx(own[2] * (least + own[1]) / (own[0] + own[1]), rel=1e-9)


def three_findings() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    targets, scores, codes = layers(150, seed=6, count=1, findings=3)
    targets[:, 1] = 0
    targets[:4, 1] = 1
    return targets, scores, codes


def test_a_macro_mean_has_an_interval_only_where_all_its_findings_may_have_one() -> None:
    targets, scores, codes = three_findings()
    for name, score in (("auroc", roc_auc_score), ("auprc", average_precision_score)):
        figures = measure(targets, scores, codes, ["a", "rare", "b"], resamples=100)[name]
        one = estimate(figures)
        each = [score(targets[:, c], scores[0, :, c]) for c in range(3)]
        assert one.columns == ["a", "rare", "b", MACRO, ELIGIBLE]
        np.testing.assert_allclose(one.value, [*each, np.mean(each), (each[0] + each[2]) / 2], atol=1e-12)
        assert np.isnan(one.bounds[[1, 3]]).all()
        assert np.isfinite(one.bounds[[0, 2, 4]]).all()
        assert one.findings.tolist() == [1, 1, 1, 3, 2]
        assert one.reasons[3] == "2 of 3 findings have 10 patients of each class"
        assert "an interval needs 10 of each" in (one.reasons[1] or "")
        assert figures.eligible == ["a", "b"]


def test_an_undefined_finding_is_not_in_the_macro_mean() -> None:
    targets, scores, codes = layers(150, seed=6, count=1, findings=3)
    targets[:, 1] = 0
    one = estimate(measure(targets, scores, codes, ["a", "none", "b"], resamples=100)["auroc"])
    assert one.columns[-1] == MACRO
    assert one.findings[-1] == 2
    assert np.isfinite(one.bounds[-1]).all()


def test_the_error_of_a_macro_mean_is_that_of_joint_draws() -> None:
    """But for AUPRC, whose errors come from one patient left out at a time."""
    targets, scores, codes = layers(150, seed=1, count=1)
    scores[:, :, 1] = scores[:, :, 0]
    targets[:, 1] = targets[:, 0]
    names = ["auroc", "f1", "recall"]
    for figures in measure(targets, scores, codes, ["a", "a again"], names, resamples=200).values():
        draws = figures.draws[:, 0]
        np.testing.assert_allclose(draws[:, 2], draws[:, :2].mean(axis=1))
        assert estimate(figures).error[2] == pytest.approx(draws[:, 0].std(ddof=1), rel=1e-9)


def test_macro_auprc_is_centred_at_the_value_less_its_bias_and_contains_it() -> None:
    targets, scores, codes = layers(60, seed=5, count=1)
    figures = measure(targets, scores, codes, ["a", "b"], resamples=200)["auprc"]
    macro = figures.value[0, 2]
    centre = 2 * macro - figures.draws[:, 0, 2].mean()
    dof = min(scarcer(targets, codes, c) for c in range(2)) - 1
    low, high = around(centre, float(np.sqrt(figures.covariance[2, 0, 0])), dof)
    np.testing.assert_allclose(estimate(figures).bounds[2], [min(low, macro), max(high, macro)], rtol=1e-10)


@pytest.mark.parametrize("metrics", [["auroc"], ["auprc"], ["f1", "recall", "specificity", "precision", "npv"]])
def test_no_figure_lies_outside_its_interval(metrics: list[str]) -> None:
    draw = np.random.default_rng(12)
    intervals = 0
    for k in range(60):
        patients = int(draw.integers(20, 90))
        codes = np.repeat(np.arange(patients), draw.integers(1, 4, patients))
        shares = draw.choice([0.05, 0.2, 0.5, 0.9], 4)
        targets = (draw.random((patients, 4)) < shares)[codes].astype(float)
        targets[draw.random(targets.shape) < 0.1] = np.nan
        strength = draw.choice([0.0, 1.0, 3.0])
        scores = expit(strength * np.nan_to_num(targets) + draw.normal(size=(2, len(codes), 4)))
        if draw.random() < 0.3:
            scores = np.round(scores, 1)
        for figures in measure(targets, scores, codes, list("abcd"), metrics, resamples=60, seed=k).values():
            for chosen in ([0], [0, 1]):
                one = estimate(figures, chosen)
                has = ~np.isnan(one.bounds[:, 0])
                intervals += has.sum()
                assert (one.bounds[has, 0] <= one.value[has] + 1e-12).all()
                assert (one.bounds[has, 1] >= one.value[has] - 1e-12).all()
                assert [reason is None for reason in one.reasons] == has.tolist()
    assert intervals > 100


def test_a_recipe_of_equal_seeds_has_the_error_of_its_model() -> None:
    targets, scores, codes = clustered(100, seed=8)
    for figures in measure(targets, np.stack([scores] * 3), codes, ["x"], resamples=100).values():
        one, recipe = estimate(figures, [0]), estimate(figures)
        np.testing.assert_allclose(recipe.error, one.error, rtol=1e-9)
        np.testing.assert_allclose(recipe.seed_error, 0, atol=1e-12)
        np.testing.assert_allclose(recipe.bounds, one.bounds, rtol=1e-9)


def test_a_recipe_adds_the_spread_of_its_seeds_to_what_they_share() -> None:
    targets, scores, codes = clustered(300, seed=9)
    draw = np.random.default_rng(1)
    seeds = np.stack([scores + share * draw.normal(size=scores.shape) for share in (0.0, 1.0, 2.0, 3.0)])
    figures = measure(targets, seeds, codes, ["x"], resamples=20)["auroc"]
    one = estimate(figures)
    each = np.array([roc_auc_score(targets[:, 0], seed[:, 0]) for seed in seeds])
    areas, covariance = auroc_covariance(targets[:, 0], seeds[:, :, 0], codes)
    np.testing.assert_allclose(areas, each, atol=1e-12)
    shared = (covariance.sum() - np.trace(covariance)) / 12
    total = shared + each.var(ddof=1) / 4
    assert one.error[0] == pytest.approx(np.sqrt(total), rel=1e-9)
    assert one.sd[0] == pytest.approx(each.std(ddof=1))
    np.testing.assert_allclose(one.spread[0], [each.min(), each.max()])
    dof = satterthwaite([shared, each.var(ddof=1) / 4], [scarcer(targets, codes) - 1, 3])
    np.testing.assert_allclose(one.bounds[0], around(each.mean(), np.sqrt(total), dof), rtol=1e-9)
    other = estimate(figures, overlap=0.2)
    assert other.seed_error[0] == pytest.approx(np.sqrt(each.var(ddof=1) * (1 / 4 + 0.25)))


def test_two_seeds_have_a_range_and_no_interval() -> None:
    targets, scores, codes = layers(150, seed=1)
    one = estimate(measure(targets, scores, codes, ["a", "b"], resamples=20)["auroc"])
    assert np.isnan(one.bounds).all()
    assert set(one.reasons) == {"two seeds: the range over seeds is shown"}
    assert (one.spread[:, 0] <= one.value).all()


def test_too_few_patients_and_undefined_resamples_say_why() -> None:
    targets = np.zeros((50, 1))
    targets[:9] = 1
    scores = np.random.default_rng(0).random((1, 50, 1))
    one = estimate(measure(targets, scores, np.arange(50), ["x"], resamples=20)["auroc"])
    assert one.reasons[0] == "positive patients 9, negative 41: an interval needs 10 of each"
    assert one.reasons[1] == "no finding has 10 patients of each class"
    targets[:25] = 1
    rare = estimate(measure(targets, scores, np.arange(50), ["x"], ["precision"], 0.95, resamples=20)["precision"])
    called = int((scores >= 0.95).sum())
    assert rare.reasons[0] == f"Precision counts rows of {called} patients: an interval needs 10"


def test_one_patient_with_most_rows_is_marked() -> None:
    draw = np.random.default_rng(0)
    codes = np.concatenate([np.zeros(200, int), np.arange(1, 101)])
    targets = (draw.random((300, 1)) < 0.4).astype(float)
    one = estimate(measure(targets, draw.random((1, 300, 1)), codes, ["x"], resamples=20)["auprc"])
    assert all("effective of 101 patients" in mark for mark in one.marks)


def test_a_finding_may_be_named_like_the_macro_mean() -> None:
    targets, scores, codes = layers(150, seed=1, count=1)
    one = estimate(measure(targets, scores, codes, ["macro", "macro_eligible"], resamples=20)["auroc"])
    assert one.columns == ["macro", "macro_eligible", "macro"]
    assert one.at(MACRO) == 2
    assert one.at(ELIGIBLE) is None


def test_nothing_to_resample_is_undefined() -> None:
    for figures in measure(np.empty((0, 1)), np.empty((1, 0, 1)), np.empty(0), ["x"], resamples=10).values():
        one = estimate(figures)
        assert np.isnan(one.value).all()
        assert np.isnan(one.bounds).all()
