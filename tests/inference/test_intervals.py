"""Patient-clustered intervals: the resamples against plain resampling, the rule against its words."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.special import expit, logit
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from ctbench_core.inference import (
    bootstrap,
    bootstrap_intervals,
    mixed_dof,
    recipe_intervals,
    resampled,
    satterthwaite,
)
from ctbench_core.inference.intervals import rate_bounds
from ctbench_core.metrics import compared_metric_fn, thresholded_metric_fn


def clustered(patients: int, seed: int, share: float = 0.3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw targets, scores and patient codes; each patient has one to four rows that share a label and a shift."""
    draw = np.random.default_rng(seed)
    codes = np.repeat(np.arange(patients), draw.integers(1, 5, patients))
    sick = draw.random(patients) < share
    shift = draw.normal(0, 1, patients)
    return (
        sick[codes].astype(float)[:, None],
        (sick[codes] + shift[codes] + draw.normal(0, 0.3, len(codes)))[:, None],
        codes,
    )


def draws_one_by_one(patients: int, count: int, seed: int) -> np.ndarray:
    """Draw the patients of every resample as the package does: 64 resamples a call."""
    draw = np.random.default_rng(seed)
    return np.concatenate(
        [draw.integers(0, patients, (min(64, count - start), patients)) for start in range(0, count, 64)]
    )


def test_resamples_equal_drawing_whole_patients_one_by_one() -> None:
    targets, scores, codes = clustered(60, seed=1)
    names = np.char.zfill(codes.astype(str), 3)  # sorted as text, in the order of the codes
    result = resampled(compared_metric_fn, targets, scores, names, resamples=150, seed=4)
    called = resampled(thresholded_metric_fn(0.8), targets, scores, names, resamples=150, seed=4)
    rows_of = [np.flatnonzero(codes == code) for code in range(60)]
    for i, patients in enumerate(draws_one_by_one(60, 150, seed=4)):
        rows = np.concatenate([rows_of[patient] for patient in patients])
        y, s = targets[rows, 0], scores[rows, 0]
        assert result["auroc"][i, 0] == pytest.approx(roc_auc_score(y, s), abs=1e-12)
        assert result["auprc"][i, 0] == pytest.approx(average_precision_score(y, s), abs=1e-12)
        assert called["f1"][i, 0] == pytest.approx(f1_score(y, s >= 0.8), abs=1e-12)


def test_interval_of_auprc_is_half_way_between_stretched_percentiles_and_t_on_the_logit_scale() -> None:
    targets, scores, codes = clustered(120, seed=3)
    result = bootstrap_intervals(targets, scores, codes, resamples=200, seed=2)["auprc"]
    draws = resampled(compared_metric_fn, targets, scores, codes, 200, 2)["auprc"][:, 0]
    sick = len(np.unique(codes[targets[:, 0] == 1]))
    v, t = result.value[0], stats.t.ppf(0.975, sick - 1)
    inflation = np.sqrt(sick / (sick - 1)) * t / stats.norm.ppf(0.975)
    edges = logit(v) + inflation * (logit(np.quantile(draws, [0.025, 0.975])) - logit(v))
    half_width = t * draws.std(ddof=1) / (v * (1 - v))
    expected = expit((edges + logit(v) + np.array([-half_width, half_width])) / 2)
    np.testing.assert_allclose(result.bounds[0], expected, rtol=1e-10)


def test_interval_of_macro_auprc_takes_off_the_bias_that_labels_share() -> None:
    targets, scores, codes = clustered(120, seed=3)
    result = bootstrap_intervals(targets, scores, codes, resamples=200, seed=2)["auprc"]
    draws = resampled(compared_metric_fn, targets, scores, codes, 200, 2)["auprc"][:, 0]
    sick = len(np.unique(codes[targets[:, 0] == 1]))
    middle = 2 * result.macro - draws.mean()
    half_width = stats.t.ppf(0.975, sick - 1) * logit(draws).std(ddof=1) * (sick / (sick - 1)) ** 1.5
    np.testing.assert_allclose(
        result.macro_bounds, expit(logit(middle) + np.array([-half_width, half_width])), rtol=1e-10
    )
    few = bootstrap_intervals(*clustered(60, seed=3), resamples=50)["auprc"]
    assert few.reasons == [None]
    assert np.isnan(few.macro_bounds).all()
    assert "macro AUPRC needs 25" in (few.macro_reason or "")
    assert result.macro_reason is None


def test_interval_of_auroc_leans_on_two_normal_distributions() -> None:
    targets, scores, codes = clustered(120, seed=3)
    result = bootstrap_intervals(targets, scores, codes, resamples=200, seed=2)["auroc"]
    spread = resampled(compared_metric_fn, targets, scores, codes, 200, 2)["auroc"].std(ddof=1)
    sick = len(np.unique(codes[targets[:, 0] == 1]))
    area, z = result.value[0], stats.norm.ppf(result.value[0])
    # Two positives beat one negative: a bivariate normal with correlation one half.
    both = stats.multivariate_normal.cdf([z, z], cov=[[1, 0.5], [0.5, 1]])
    model = (both - area**2) * (1 / sick + 1 / (120 - sick))
    more = 2 * np.sqrt(sick)
    error = np.sqrt((sick * spread**2 + more * model) / (sick + more))
    assert result.error[0] == pytest.approx(error, rel=1e-4)
    half_width = stats.t.ppf(0.975, sick + more - 1) * error / (area * (1 - area))
    np.testing.assert_allclose(result.bounds[0], expit(logit(area) + np.array([-half_width, half_width])), rtol=1e-4)


def test_interval_of_a_share_is_normal_on_the_logit_scale() -> None:
    targets, scores, codes = clustered(120, seed=3)
    result = bootstrap(thresholded_metric_fn(0.8), targets, scores, codes, resamples=200, seed=2)["f1"]
    error = resampled(thresholded_metric_fn(0.8), targets, scores, codes, 200, 2)["f1"].std(ddof=1)
    v = result.value[0]
    half_width = stats.norm.ppf(0.975) * error / (v * (1 - v))
    np.testing.assert_allclose(result.bounds[0], expit(logit(v) + np.array([-half_width, half_width])), rtol=1e-10)


def test_rows_of_one_patient_are_no_new_evidence() -> None:
    targets, scores, codes = clustered(80, seed=2)
    widths = []
    for copies in (1, 4):
        result = bootstrap_intervals(
            np.tile(targets, (copies, 1)), np.tile(scores, (copies, 1)), np.tile(codes, copies)
        )
        widths.append(np.diff(result["auroc"].bounds[0])[0])
    np.testing.assert_allclose(widths[1], widths[0], rtol=1e-9)


def test_too_few_patients_give_no_interval_but_a_reason() -> None:
    targets = np.zeros((50, 2))
    targets[:9, 0], targets[:20, 1] = 1, 1
    scores = np.random.default_rng(0).random((50, 2))
    result = bootstrap_intervals(targets, scores, np.arange(50))["auroc"]
    assert result.reasons == ["positive patients 9, negative 41: an interval needs 10 of each", None]
    assert np.isnan(result.bounds[0]).all()
    np.testing.assert_allclose(result.macro_bounds, result.bounds[1], rtol=1e-9)  # AUROC: symmetric already
    assert result.macro_labels == 1


def test_resamples_that_are_undefined_too_often_give_no_interval() -> None:
    targets, scores, codes = clustered(60, seed=5, share=0.5)
    # Nothing is called positive in most resamples: precision is undefined there.
    top = scores.max()
    result = bootstrap(thresholded_metric_fn(float(top)), targets, scores, codes, resamples=200)["precision"]
    assert result.reasons[0] is not None
    assert result.reasons[0].startswith("undefined in")
    assert np.isnan(result.bounds).all()


def test_nothing_to_resample_is_undefined() -> None:
    result = bootstrap_intervals(np.empty((0, 1)), np.empty((0, 1)), np.empty(0), resamples=10)
    assert np.isnan(result["auroc"].bounds).all()
    assert np.isnan(result["auprc"].macro_bounds).all()
    assert result["auprc"].macro_reason == "no finding has an interval"


def test_a_perfect_order_has_a_lower_bound_by_clopper_and_pearson() -> None:
    targets = np.repeat([[0.0], [1.0]], 20, axis=0)
    result = bootstrap_intervals(targets, np.arange(40.0)[:, None], np.arange(40))["auroc"]
    np.testing.assert_allclose(result.bounds[0], [0.025 ** (1 / 20), 1], rtol=1e-12)
    exact = stats.binomtest(20, 20).proportion_ci(0.95, "exact")
    np.testing.assert_allclose(result.bounds[0], [exact.low, exact.high], rtol=1e-9)


def test_bounds_stay_inside_and_mirror() -> None:
    low, high = rate_bounds([0.99, 0.01], [0.01, 0.01], [9, 9], [10, 10])
    assert 0 < low[0] < 0.99 < low[1] < 1
    np.testing.assert_allclose(1 - high[::-1], low, atol=1e-12)


def test_satterthwaite_of_equal_parts_adds_their_freedom() -> None:
    assert satterthwaite([2.0, 2.0], [5, 5]) == pytest.approx(10)
    assert satterthwaite([2.0, 1e-12], [5, 1]) == pytest.approx(5)


def test_parts_of_an_error_share_their_t() -> None:
    weighted = (4 * stats.t.ppf(0.975, 30) + 1 * stats.t.ppf(0.975, 2)) / 5
    t = (weighted + stats.t.ppf(0.975, satterthwaite([4.0, 1.0], [30, 2]))) / 2
    assert stats.t.ppf(0.975, mixed_dof([4.0, 1.0], [30, 2])) == pytest.approx(t, rel=1e-9)
    assert mixed_dof([2.0, 0.0], [30, 2]) == pytest.approx(30)
    assert mixed_dof([1e-12, 1.0], [30, 2]) == pytest.approx(2, rel=1e-6)


def test_freedom_of_any_mixture_lies_between_the_least_and_the_sum() -> None:
    draw = np.random.default_rng(0)
    for _ in range(2000):
        variances = 10.0 ** draw.uniform(-40, 2, 3) * (draw.random(3) < 0.8)
        freedoms = draw.choice([1, 2, 7.5, 300, np.inf], 3)
        result = mixed_dof(variances, freedoms)
        assert min(freedoms.min(), 1e9) * (1 - 1e-9) <= result <= 3e9


def test_a_recipe_of_equal_seeds_has_the_error_of_its_model() -> None:
    targets, scores, codes = clustered(100, seed=8)
    one = bootstrap_intervals(targets, scores, codes)
    same = recipe_intervals(targets, np.stack([scores] * 3), codes)
    for name in ("auroc", "auprc"):
        np.testing.assert_allclose(same[name].patient_error, one[name].error, rtol=1e-9)
        assert same[name].seed_error[0] < 1e-12
    np.testing.assert_allclose(same["auroc"].bounds, one["auroc"].bounds, rtol=1e-9)


def test_a_recipe_tells_seeds_from_patients() -> None:
    targets, scores, codes = clustered(300, seed=9)
    draw = np.random.default_rng(1)
    # Seeds that rank by a share of noise, each share its own: they differ in quality.
    shares = np.array([0.0, 1.0, 2.0, 3.0])
    seeds = np.stack([scores + share * draw.normal(size=scores.shape) for share in shares])
    result = recipe_intervals(targets, seeds, codes)["auroc"]
    each = [roc_auc_score(targets[:, 0], one[:, 0]) for one in seeds]
    assert result.mean[0] == pytest.approx(np.mean(each), abs=1e-12)
    assert result.sd[0] == pytest.approx(np.std(each, ddof=1), abs=1e-12)
    assert 0.8 * np.std(each, ddof=1) / 2 < result.seed_error[0] < np.std(each, ddof=1) / 2
    one = recipe_intervals(targets, seeds[:1], codes)["auroc"]
    assert one.reasons == ["one seed: the spread over seeds is unknown"]
