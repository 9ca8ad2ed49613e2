"""Estimates of models and recipes, against their rules written out."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.special import expit, logit
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    f1_score,
    precision_score,
    recall_score,
    roc_auc_score,
)

from ctbench_core.inference import ELIGIBLE, MACRO, auroc_covariance, estimate, measure
from ctbench_core.inference.rules import satterthwaite, variance_dof
from tests.inference.cohorts import auroc_deviations, clustered, dof_of, effective, layers, left_out, scarcer


def around(value: float, error: float, dof: float) -> np.ndarray:
    """Return the logit interval of a value."""
    half_width = stats.t.ppf(0.975, dof) * error / (value * (1 - value))
    return expit(logit(value) + np.array([-half_width, half_width]))


def test_auroc_has_obuchowskis_error_and_t_of_the_scarcer_class() -> None:
    targets, scores, codes = clustered(120, seed=3)
    figures = measure(targets, scores[None], codes, ["x"])["auroc"]
    area, covariance = auroc_covariance(targets[:, 0], scores[:, 0], codes)
    dof = dof_of(auroc_deviations(targets[:, 0], scores[:, 0], codes), scarcer(targets, codes) - 1)
    expected = around(area[0], np.sqrt(covariance[0, 0]), dof)
    np.testing.assert_allclose(estimate(figures).bounds[0], expected, rtol=1e-10)


RATES = {
    "recall": recall_score,
    "precision": precision_score,
    "f1": f1_score,
    "specificity": lambda y, called: recall_score(1 - y, 1 - called),
    "npv": lambda y, called: precision_score(1 - y, 1 - called),
}


@pytest.mark.parametrize("name", [*RATES, "brier", "auprc"])
def test_other_metrics_leave_out_one_patient_at_a_time(name: str) -> None:
    targets, scores, codes = clustered(90, seed=3)
    targets[::9] = np.nan
    p = expit(scores[:, 0])
    figures = measure(targets, p[None, :, None], codes, ["x"], [name], 0.6)[name]
    y, called, known = targets[:, 0], (p >= 0.6).astype(float), ~np.isnan(targets[:, 0])

    def value(rows: np.ndarray) -> float:
        rows = rows[known[rows]]
        if name == "brier":
            return float(brier_score_loss(y[rows], p[rows]))
        if name == "auprc":
            return float(average_precision_score(y[rows], p[rows]))
        return float(RATES[name](y[rows], called[rows]))

    behind = {
        "recall": y == 1,
        "precision": known & (called == 1),
        "f1": (y == 1) | (known & (called == 1)),
        "specificity": y == 0,
        "npv": known & (called == 0),
        "brier": known,
    }
    patients = effective(codes, behind[name]) if name in behind else scarcer(targets, codes)
    deviations = left_out(value, codes)
    dof = patients - 1 if name in RATES else dof_of(deviations, patients - 1)
    expected = around(value(np.arange(len(y))), np.sqrt((deviations**2).sum()), dof)
    np.testing.assert_allclose(estimate(figures).bounds[0], expected, rtol=1e-9)


def test_patients_without_known_labels_change_nothing() -> None:
    targets, scores, codes = clustered(80, seed=4)
    more = np.concatenate([targets, np.full((60, 1), np.nan)])
    others = np.concatenate([scores, np.zeros((60, 1))]), np.concatenate([codes, np.arange(80, 140)])
    names = ["auroc", "auprc", "brier", "f1"]
    alone = measure(targets, expit(scores)[None], codes, ["x"], names)
    for name, figures in measure(more, expit(others[0])[None], others[1], ["x"], names).items():
        np.testing.assert_allclose(estimate(figures).bounds, estimate(alone[name]).bounds, rtol=1e-12)
        np.testing.assert_allclose(figures.bias, alone[name].bias, rtol=1e-9, atol=1e-15)


def test_few_patients_with_large_deviations_leave_few_degrees_of_freedom() -> None:
    even, uneven = np.ones(50), np.r_[np.full(4, 3.0), np.full(46, 0.1)]
    draw = np.random.default_rng(0)
    signs = draw.choice([-1.0, 1.0], 50)
    normal = np.mean([variance_dof(draw.normal(size=(100, 1)))[0] for _ in range(300)])
    assert variance_dof((even * signs)[:, None])[0] == np.inf
    assert variance_dof((uneven * signs)[:, None])[0] == pytest.approx(dof_of(uneven * signs, np.inf))
    assert variance_dof((uneven * signs)[:, None])[0] < 10
    assert 85 < normal < 125  # of normal deviations about their number
    assert variance_dof(np.zeros((5, 1)))[0] == np.inf


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


def test_a_patient_adds_to_a_macro_mean_what_it_adds_to_the_findings_on_average() -> None:
    targets, scores, codes = layers(150, seed=1, count=1)
    scores[:, :, 1] = scores[:, :, 0]
    targets[:, 1] = targets[:, 0]
    names = ["auroc", "auprc", "f1", "recall", "brier"]
    found = measure(targets, expit(scores), codes, ["a", "a again"], names)
    for name, figures in found.items():
        one = estimate(figures)
        assert one.error[2] == pytest.approx(one.error[0], rel=0.01 if name == "auroc" else 1e-9)
    targets, scores, codes = layers(150, seed=1, count=1)
    figures = measure(targets, scores, codes, ["a", "b"], ["auroc"])["auroc"]
    numbers = np.unique(codes, return_inverse=True)[1]
    each = [auroc_deviations(targets[:, c], scores[0, :, c], numbers) for c in range(2)]
    macro = np.mean(each, axis=0)
    dof = dof_of(macro, min(scarcer(targets, codes, c) for c in range(2)) - 1)
    expected = around(figures.value[0, 2], np.sqrt((macro**2).sum()), dof)
    np.testing.assert_allclose(estimate(figures).bounds[2], expected, rtol=1e-9)


def test_macro_auprc_is_centred_at_the_value_less_its_bias_and_contains_it() -> None:
    targets, scores, codes = layers(60, seed=5, count=1)
    figures = measure(targets, scores, codes, ["a", "b"])["auprc"]

    def value(rows: np.ndarray) -> float:
        return float(np.mean([average_precision_score(targets[rows, c], scores[0, rows, c]) for c in range(2)]))

    macro, deviations = value(np.arange(len(codes))), left_out(value, codes)
    without = [value(np.flatnonzero(codes != patient)) for patient in np.unique(codes)]
    centre = macro - 59 * (np.mean(without) - macro)
    assert centre != pytest.approx(macro, abs=1e-4)
    dof = dof_of(deviations, min(scarcer(targets, codes, c) for c in range(2)) - 1)
    low, high = around(centre, float(np.sqrt((deviations**2).sum())), dof)
    np.testing.assert_allclose(estimate(figures).bounds[2], [min(low, macro), max(high, macro)], rtol=1e-8)


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
    own = np.mean([auroc_deviations(targets[:, 0], seed[:, 0], codes) for seed in seeds], axis=0)
    patients = dof_of(own, scarcer(targets, codes) - 1)
    dof = satterthwaite([shared, each.var(ddof=1) / 4], [patients, 3])
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
