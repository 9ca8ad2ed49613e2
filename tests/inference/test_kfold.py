"""K-fold: the mean over folds with Nadeau and Bengio's variance, against scikit-learn and the formula by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats
from scipy.special import expit, logit
from sklearn.metrics import average_precision_score, roc_auc_score

from ctbench_core.errors import InputError
from ctbench_core.inference import (
    ELIGIBLE,
    MACRO,
    Figures,
    auroc_covariance,
    best_of_folds,
    kfold_difference,
    kfold_estimate,
    kfold_figures,
    mean_test_share,
)
from tests.inference.cohorts import auroc_deviations, dof_of

PATIENTS, SEEDS, FOLDS = 160, 3, 4
FINDINGS = ["common", "half", "rare"]
SKLEARN = {"auroc": roc_auc_score, "auprc": average_precision_score}


@pytest.fixture(scope="module")
def data() -> dict[str, np.ndarray]:
    """Return targets (N, 3), two recipes' scores (S, N, 3), folds and patients of two volumes each."""
    rng = np.random.default_rng(0)
    patients = np.repeat(np.arange(PATIENTS), 2)
    labels = np.stack([np.arange(PATIENTS) % 5 == 0, np.arange(PATIENTS) % 2 == 0, np.arange(PATIENTS) < 3], axis=1)
    targets = labels[patients].astype(float)
    shape = (SEEDS, len(targets), len(FINDINGS))
    first, second = (skill * targets + rng.normal(size=shape) for skill in (1.2, 0.8))
    folds = np.array([f"fold_{k}" for k in rng.permutation(np.arange(PATIENTS) % FOLDS)])[patients]
    return {"targets": targets, "first": first, "second": second, "folds": folds, "patients": patients}


def by_fold(data: dict[str, np.ndarray], side: str, metric: str, finding: int) -> np.ndarray:
    """Return a metric of every fold, averaged over seeds, (F,)."""
    values = []
    for fold in np.unique(data["folds"]):
        rows = data["folds"] == fold
        truth = data["targets"][rows, finding]
        values.append(np.mean([SKLEARN[metric](truth, scores[rows, finding]) for scores in data[side]]))
    return np.array(values)


def figures_of(data: dict[str, np.ndarray], side: str = "first") -> dict[str, Figures]:
    return kfold_figures(data["targets"], data[side], data["folds"], data["patients"], FINDINGS)


@pytest.mark.parametrize("metric", ["auroc", "auprc"])
def test_the_estimate_is_the_mean_over_folds_with_the_corrected_variance(
    data: dict[str, np.ndarray], metric: str
) -> None:
    estimate = kfold_estimate(figures_of(data)[metric], 1 / (FOLDS - 1))
    for c in (0, 1):
        values = by_fold(data, "first", metric, c)
        error = np.sqrt((1 / FOLDS + 1 / (FOLDS - 1)) * values.var(ddof=1))
        mean = values.mean()
        half = stats.t.ppf(0.975, FOLDS - 1) * error / (mean * (1 - mean))
        assert estimate.value[c] == pytest.approx(mean)
        assert estimate.error[c] == pytest.approx(error)
        assert estimate.bounds[c] == pytest.approx(expit([logit(mean) - half, logit(mean) + half]))
        assert estimate.spread[c] == pytest.approx([values.min(), values.max()])
    assert estimate.reasons[2] == "positive patients 3, negative 157: an interval needs 10 of each"
    assert np.isnan(estimate.bounds[2]).all()


@pytest.mark.parametrize("metric", ["auroc", "auprc"])
def test_the_difference_is_nadeau_and_bengios_t(data: dict[str, np.ndarray], metric: str) -> None:
    sides = data["targets"], data["first"], data["second"], data["folds"], data["patients"]
    difference = kfold_difference(*sides, FINDINGS, test_share=0.3)[metric]
    for c in (0, 1):
        d = by_fold(data, "first", metric, c) - by_fold(data, "second", metric, c)
        error = np.sqrt((1 / FOLDS + 0.3) * d.var(ddof=1))
        assert difference.delta[c] == pytest.approx(d.mean())
        assert difference.p[c] == pytest.approx(2 * stats.t.sf(abs(d.mean()) / error, FOLDS - 1))
        half = stats.t.ppf(0.975, FOLDS - 1) * error
        assert difference.bounds[c] == pytest.approx([d.mean() - half, d.mean() + half])
    gaps = np.mean([by_fold(data, "first", metric, c) - by_fold(data, "second", metric, c) for c in (0, 1)], axis=0)
    assert difference.delta[difference.at(ELIGIBLE)] == pytest.approx(gaps.mean())
    assert (difference.seeds, difference.question) == ((SEEDS, SEEDS), "this way of training")


def test_for_these_models_folds_are_independent_samples(data: dict[str, np.ndarray]) -> None:
    """By hand: Obuchowski's covariance of all seeds of both recipes in each fold, the mean over seeds, summed over folds."""
    sides = data["targets"], data["first"], data["second"], data["folds"], data["patients"]
    difference = kfold_difference(*sides, FINDINGS, test_share=0.3)["auroc"]
    weights = np.repeat([1 / SEEDS, -1 / SEEDS], SEEDS)
    variance, deviations = 0.0, []
    for fold in np.unique(data["folds"]):
        rows = data["folds"] == fold
        scores = np.concatenate([data["first"][:, rows, 0], data["second"][:, rows, 0]])
        _, covariance = auroc_covariance(data["targets"][rows, 0], scores, data["patients"][rows])
        variance += weights @ covariance @ weights
        codes = np.unique(data["patients"][rows], return_inverse=True)[1]
        each = [auroc_deviations(data["targets"][rows, 0], one, codes) for one in scores]
        deviations.append(weights @ np.array(each))
    error = np.sqrt(variance) / FOLDS
    dof = dof_of(
        np.concatenate(deviations), PATIENTS // 5 - 1
    )  # at most the patients of the scarcer class in all folds
    assert difference.patient_error[0] == pytest.approx(error)
    assert difference.models_p[0] == pytest.approx(2 * stats.t.sf(abs(difference.delta[0]) / error, dof))
    half = stats.t.ppf(0.975, dof) * error
    assert difference.models_bounds[0] == pytest.approx([difference.delta[0] - half, difference.delta[0] + half])


def test_the_macro_mean_is_that_of_the_runs_and_the_eligible_one_has_the_interval(data: dict[str, np.ndarray]) -> None:
    figures = figures_of(data)["auroc"]
    defined = [by_fold(data, "first", "auroc", c) for c in (0, 1)]
    rare = []
    for fold in np.unique(data["folds"]):
        rows = data["folds"] == fold
        truth = data["targets"][rows, 2]
        both = len(set(truth)) == 2
        rare.append(np.mean([roc_auc_score(truth, s[rows, 2]) for s in data["first"]]) if both else np.nan)
    expected = np.nanmean(np.stack([*defined, np.array(rare)]), axis=0)
    macro, eligible = (figures.columns.index(name) for name in (MACRO, ELIGIBLE))
    assert figures.value[:, macro] == pytest.approx(expected)
    estimate = kfold_estimate(figures, 1 / 3)
    assert estimate.reasons[macro] == (
        "2 of 3 findings have enough patients of each class, and both classes in every fold"
    )
    assert np.isnan(estimate.bounds[macro]).all()
    assert estimate.bounds[eligible][0] < np.mean(defined) < estimate.bounds[eligible][1]
    assert list(estimate.findings[[macro, eligible]]) == [3, 2]


def test_a_finding_with_one_class_in_a_fold_says_so(data: dict[str, np.ndarray]) -> None:
    targets = data["targets"].copy()
    targets[data["folds"] == "fold_1", 0] = 0
    figures = kfold_figures(targets, data["first"], data["folds"], data["patients"], FINDINGS)["auroc"]
    assert figures.reasons[0] == "undefined in 1 of 4 folds: one class only"
    assert not figures.is_eligible[0]


def test_seeds_are_no_further_folds(data: dict[str, np.ndarray]) -> None:
    """A recipe of one seed given three times has the interval of that seed: seeds of one partition add no folds."""
    one = {**data, "first": data["first"][:1]}
    thrice = {**data, "first": np.repeat(data["first"][:1], 3, axis=0)}
    few, many = (kfold_estimate(figures_of(side)["auroc"], 1 / 3) for side in (one, thrice))
    np.testing.assert_allclose(few.bounds, many.bounds)


def test_other_partitions_are_further_folds(data: dict[str, np.ndarray]) -> None:
    """Two partitions stacked: twice the folds and K R - 1 degrees of freedom; for these models the bound stays."""
    names = np.concatenate([data["folds"], [f"second {k % FOLDS}" for k in data["patients"]]])
    twice = [
        np.concatenate([data["targets"]] * 2),
        *(np.concatenate([data[s]] * 2, axis=1) for s in ("first", "second")),
    ]
    patients = np.concatenate([data["patients"]] * 2)
    difference = kfold_difference(*twice, names, patients, FINDINGS, 1 / 3, partitions=2)["auroc"]
    once = kfold_difference(
        data["targets"], data["first"], data["second"], data["folds"], data["patients"], FINDINGS, 1 / 3
    )["auroc"]
    assert (difference.dof == 2 * FOLDS - 1).all()
    assert difference.patient_error[0] == pytest.approx(once.patient_error[0], rel=0.2)


def test_the_test_share_counts_patients() -> None:
    patients = np.repeat(np.arange(10), [5, 1, 1, 1, 1, 1, 1, 1, 1, 7])
    folds = (patients % 5).astype(str)
    assert mean_test_share(folds, patients) == pytest.approx(1 / 4)
    assert mean_test_share(["a", "a", "b"], [1, 2, 3]) == pytest.approx((2 / 1 + 1 / 2) / 2)


def test_the_same_scores_do_not_differ(data: dict[str, np.ndarray]) -> None:
    same = kfold_difference(
        data["targets"], data["first"], data["first"], data["folds"], data["patients"], FINDINGS, 1 / 3
    )["auprc"]
    assert same.delta[:2] == pytest.approx(0, abs=1e-12)
    assert (same.p[:2] == 1).all()
    assert same.models_p[:2] == pytest.approx(1, abs=1e-5)


def test_the_best_of_folds_beats_all_others_by_bonferroni(data: dict[str, np.ndarray]) -> None:
    recipes = [data["first"], data["second"], data["second"] - 5 * data["targets"]]
    pairs = [
        kfold_difference(data["targets"], a, b, data["folds"], data["patients"], FINDINGS, 1 / 3)["auroc"]
        for a, b in itertools.combinations(recipes, 2)
    ]
    values = np.array([0.8, 0.7, 0.1])
    best, p = best_of_folds(pairs, values, 0)
    assert best == 0
    assert p == pytest.approx(min(1.0, 3 * max(pairs[0].p[0], pairs[1].p[0])))
    assert best_of_folds(pairs, np.array([np.nan, 0.7, 0.1]), 0)[0] is None


def test_what_cannot_be_folds_is_named(data: dict[str, np.ndarray]) -> None:
    scores = data["first"].copy()
    scores[1, 4, 0] = np.nan
    with pytest.raises(InputError, match="without an out-of-fold score in some seed: 1"):
        kfold_figures(data["targets"], scores, data["folds"], data["patients"], FINDINGS)
    with pytest.raises(InputError, match="at least 2 folds, got 1"):
        kfold_figures(data["targets"], data["first"], np.full(2 * PATIENTS, "a"), data["patients"], FINDINGS)
    with pytest.raises(InputError, match="shape"):
        kfold_figures(data["targets"], data["first"][0], data["folds"], data["patients"], FINDINGS)


def test_a_recipe_against_itself_with_other_seeds_is_seldom_different() -> None:
    """Ridge heads on 5 folds, two draws of noise each: the level holds, where the test over patients does not."""
    rejected, for_models = [], []
    for repeat in range(60):
        rng = np.random.default_rng(repeat)
        features = rng.normal(size=(200, 15))
        targets = (features[:, :1] + 1.5 * rng.normal(size=(200, 1)) > 0).astype(float)
        folds = rng.permutation(np.arange(200) % 5)
        sides = [np.stack([_out_of_fold(features, targets, folds, rng) for _ in range(3)]) for _ in range(2)]
        parts = (targets, *sides, folds, np.arange(200), ["a"], 1 / 4)
        difference = kfold_difference(*parts, metrics=["auroc"])["auroc"]
        rejected.append(difference.p[0] < 0.05)
        for_models.append(difference.models_p[0] < 0.05)
    assert np.mean(rejected) <= 0.1
    assert np.mean(for_models) >= np.mean(rejected)


def _out_of_fold(features: np.ndarray, targets: np.ndarray, folds: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return scores (N, 1) of ridge heads that each leave a tenth of their rows out, drawn anew for each fold and seed."""
    scores = np.empty(targets.shape)
    for fold in np.unique(folds):
        rows = np.flatnonzero(folds != fold)
        rows = rng.choice(rows, int(0.9 * len(rows)), replace=False)
        x = features[rows]
        head = np.linalg.solve(x.T @ x + 5 * np.eye(x.shape[1]), x.T @ (targets[rows] - 0.5))
        scores[folds == fold] = features[folds == fold] @ head
    return scores
