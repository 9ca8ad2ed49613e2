"""Measure the false positive rate and the power of a study that compares two label sources.

Each repeat draws new patients, labels them twice with errors, trains heads (ridge least squares, which take a fraction
of a second) on seeds of 150 patients each, and compares the sources on 300 new patients by `recipe_difference`, as
studies do. Under the null both sources err equally often. The power at a known gap is predicted first: from separate
pilot repeats, by the noncentral t.

    python -m benchmarks.null_study [repeats] [--only sources|kfold]

A second simulation compares recipes of equal strength by K-fold, in the right way and in two wrong ones.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
from scipy.stats import nct, t
from sklearn.metrics import roc_auc_score

from ctbench_core.inference import (
    MACRO,
    Difference,
    benjamini_hochberg,
    corrected_t,
    kfold_difference,
    macro_start,
    recipe_difference,
)

FINDINGS, DIMENSIONS, SEEDS = 4, 24, 6
POOL, BUDGET, TEST = 1500, 150, 300
FOLDS, KFOLD_SEEDS, KFOLD_PATIENTS = 5, 3, 250
ERROR, GAP = 0.15, 0.08  # share of wrong labels of a source; additional share of the worse source


@dataclass(frozen=True)
class Patients:
    """Rows (volumes) of some patients: features (N, D), true labels (N, C), patient codes (N,)."""

    features: np.ndarray
    labels: np.ndarray
    codes: np.ndarray


def draw_patients(rng: np.random.Generator, count: int, directions: np.ndarray) -> Patients:
    """Draw patients of one to three similar volumes."""
    volumes = rng.integers(1, 4, count)
    codes = np.repeat(np.arange(count), volumes)
    features = rng.normal(size=(count, DIMENSIONS))[codes] + 0.3 * rng.normal(size=(len(codes), DIMENSIONS))
    logits = features @ directions - 1.5 + 2.0 * rng.normal(size=(count, FINDINGS))[codes]
    return Patients(features, (logits > 0).astype(float), codes)


def heads_of(rng: np.random.Generator, pool: Patients, error: float, samples: list[np.ndarray]) -> list[np.ndarray]:
    """Train a head (D + 1, C) on each sample of patients; labels are wrong for all volumes of a patient."""
    wrong = (rng.random((POOL, FINDINGS)) < error)[pool.codes]
    labels = np.where(wrong, 1 - pool.labels, pool.labels)
    heads = []
    for patients in samples:
        rows = np.isin(pool.codes, patients)
        design = np.c_[pool.features[rows], np.ones(rows.sum())]
        heads.append(np.linalg.solve(design.T @ design + 3.0 * np.eye(DIMENSIONS + 1), design.T @ labels[rows]))
    return heads


def compare_once(seed: int, gap: float) -> dict[str, Difference]:
    """Run one repeat and return the differences of the sources, macro and by finding."""
    rng = np.random.default_rng(seed)
    directions = np.random.default_rng(0).normal(size=(DIMENSIONS, FINDINGS)) / np.sqrt(DIMENSIONS) * 1.5
    pool, test = (draw_patients(rng, count, directions) for count in (POOL, TEST))
    samples = [rng.choice(POOL, BUDGET, replace=False) for _ in range(SEEDS)]
    design = np.c_[test.features, np.ones(len(test.codes))]
    scores = []
    for error in (ERROR, ERROR + gap):
        heads = heads_of(rng, pool, error, samples)
        scores.append(1 / (1 + np.exp(-4 * (np.stack([design @ head for head in heads]) - 0.5))))
    findings, seeds = [f"finding {c}" for c in range(FINDINGS)], [str(s) for s in range(SEEDS)]
    return recipe_difference(test.labels, *scores, (seeds, seeds), test.codes, findings, BUDGET / POOL)


def predicted_power(pilots: list[dict[str, Difference]], metric: str) -> float:
    """Predict the power from pilots: the noncentral t of their mean difference over its spread."""
    macros = np.array([pilot[metric].delta[pilot[metric].at(MACRO)] for pilot in pilots])
    dof = 3.0 * (SEEDS - 1)  # of patients and seeds together: about three times that of the seeds
    critical, shift = t.ppf(0.975, dof), macros.mean() / macros.std(ddof=1)
    return float(nct.sf(critical, dof, abs(shift)) + nct.cdf(-critical, dof, abs(shift)))


def shares(repeats: list[dict[str, Difference]]) -> dict[str, float]:
    """Return the fraction of significant comparisons: macro by metric, findings, and after Benjamini-Hochberg."""
    rates = {}
    for metric in ("auprc", "auroc"):
        p = np.array([repeat[metric].p[repeat[metric].at(MACRO)] for repeat in repeats])
        rates[f"macro {metric}"] = float((p[~np.isnan(p)] < 0.05).mean())
    singles = np.concatenate([one.p[: macro_start(one.columns)] for repeat in repeats for one in repeat.values()])
    rates["findings, unadjusted"] = float((singles[~np.isnan(singles)] < 0.05).mean())
    adjusted = [benjamini_hochberg(np.concatenate([one.p for one in repeat.values()])) for repeat in repeats]
    rates["findings and macros, adjusted"] = float((np.concatenate(adjusted) < 0.05).mean())
    rates["tables with any mark"] = float(np.mean([(family < 0.05).any() for family in adjusted]))
    return rates


def kfold_once(seed: int, same: bool) -> dict[str, float]:
    """Return p of two recipes of equal strength by K-fold: of the mean over folds, for these models, and two wrong ways.

    The recipes see two halves of the features, which carry the same signal, or with ``same`` the same half. The wrong
    ways take seeds for further folds, or (fold, seed) differences for independent.
    """
    rng = np.random.default_rng(seed)
    half = rng.normal(size=(KFOLD_PATIENTS, DIMENSIONS // 2)), rng.normal(size=(KFOLD_PATIENTS, DIMENSIONS // 2))
    weights = np.random.default_rng(0).normal(size=DIMENSIONS // 2) / np.sqrt(DIMENSIONS)
    logits = (half[0] + half[1]) @ weights * 1.5 + rng.logistic(size=KFOLD_PATIENTS)
    targets, folds = (logits > 0.5).astype(float)[:, None], rng.permutation(np.arange(KFOLD_PATIENTS) % FOLDS)
    features = (half[0], half[0] if same else half[1])
    sides = [np.stack([out_of_fold(own, targets, folds, rng) for _ in range(KFOLD_SEEDS)]) for own in features]
    parts = (targets, *sides, folds, np.arange(KFOLD_PATIENTS), ["finding"])
    share = 1 / (FOLDS - 1)
    result = kfold_difference(*parts, share, metrics=["auroc"], resamples=2)["auroc"]
    gaps = np.array(
        [
            roc_auc_score(targets[folds == k, 0], sides[0][s, folds == k, 0])
            - roc_auc_score(targets[folds == k, 0], sides[1][s, folds == k, 0])
            for k in range(FOLDS)
            for s in range(KFOLD_SEEDS)
        ]
    )
    return {
        "mean over folds": float(result.p[0]),
        "for these models": float(result.models_p[0]),
        "seeds as further folds": corrected_t(gaps, share)[2],
        "all independent": corrected_t(gaps, 0.0)[2],
    }


def out_of_fold(features: np.ndarray, targets: np.ndarray, folds: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return scores (N, 1) of ridge heads, each of nine tenths of the rows outside its fold, drawn for each seed."""
    scores = np.empty(targets.shape)
    for fold in range(FOLDS):
        rows = np.flatnonzero(folds != fold)
        rows = rng.choice(rows, len(rows) * 9 // 10, replace=False)
        own = features[rows]
        head = np.linalg.solve(own.T @ own + 3.0 * np.eye(own.shape[1]), own.T @ (targets[rows] - 0.5))
        scores[folds == fold] = features[folds == fold] @ head
    return scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("repeats", type=int, nargs="?", default=400)
    parser.add_argument("--only", choices=("sources", "kfold"), help="one of the two simulations")
    options = parser.parse_args()
    if options.only != "kfold":
        simulate_sources(options.repeats)
    if options.only != "sources":
        for same, title in ((True, "a recipe against itself"), (False, "unlike recipes of equal strength")):
            repeats = [kfold_once(3_000_000 + k, same) for k in range(options.repeats)]
            rates = {name: float(np.mean([one[name] < 0.05 for one in repeats])) for name in repeats[0]}
            print(f"K-fold, {title}, {options.repeats} repeats:", rates, flush=True)


def simulate_sources(count: int) -> None:
    """Print the false positive rate and the power of a study of two label sources."""
    pilots = [compare_once(1_000_000 + k, GAP) for k in range(max(count // 2, 20))]
    power = {metric: predicted_power(pilots, metric) for metric in ("auprc", "auroc")}
    print("predicted power:", {metric: round(value, 3) for metric, value in power.items()}, flush=True)
    for title, gap, start in (("null, equal errors", 0.0, 0), (f"gap of {GAP:g}", GAP, 2_000_000)):
        rates = shares([compare_once(start + k, gap) for k in range(count)])
        print(f"{title}, {count} repeats:", {name: round(value, 3) for name, value in rates.items()}, flush=True)


if __name__ == "__main__":
    main()
