"""Measure the false positive rate and the power of a study that compares two label sources.

Each repeat draws new patients, labels them twice with errors, trains heads (ridge least squares, which take a fraction
of a second) on seeds of 150 patients each, and compares the sources on 300 new patients by `recipe_difference`, as
studies do. Under the null both sources err equally often. The power at a known gap is predicted first: from separate
pilot repeats, by the noncentral t.

    python -m benchmarks.null_study [repeats]
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
from scipy.stats import nct, t

from ctbench_core.inference import benjamini_hochberg
from ctbench_core.studies.differences import Delta, recipe_difference
from ctbench_core.studies.recipe_scores import Recipe

FINDINGS, DIMENSIONS, SEEDS = 4, 24, 6
POOL, BUDGET, TEST = 1500, 150, 300
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


def compare_once(seed: int, gap: float) -> list[Delta]:
    """Run one repeat and return the differences of the sources, macro and by finding."""
    rng = np.random.default_rng(seed)
    directions = np.random.default_rng(0).normal(size=(DIMENSIONS, FINDINGS)) / np.sqrt(DIMENSIONS) * 1.5
    pool, test = (draw_patients(rng, count, directions) for count in (POOL, TEST))
    samples = [rng.choice(POOL, BUDGET, replace=False) for _ in range(SEEDS)]
    design = np.c_[test.features, np.ones(len(test.codes))]
    recipes = []
    for name, error in (("first", ERROR), ("second", ERROR + gap)):
        heads = heads_of(rng, pool, error, samples)
        scores = 1 / (1 + np.exp(-4 * (np.stack([design @ head for head in heads]) - 0.5)))
        findings, seeds = [f"finding {c}" for c in range(FINDINGS)], [str(s) for s in range(SEEDS)]
        volumes = np.arange(len(test.codes)).astype(str).astype(object)
        recipes.append(Recipe((name,), findings, seeds, volumes, test.codes, test.labels, scores))
    return recipe_difference(*recipes, seed=seed, overlap=BUDGET / POOL)


def predicted_power(pilots: list[list[Delta]], metric: str) -> float:
    """Predict the power from pilots: the noncentral t of their mean difference over its spread."""
    macros = np.array(
        [delta.delta for pilot in pilots for delta in pilot if delta.metric == metric and not delta.finding]
    )
    dof = 3.0 * (SEEDS - 1)  # of patients and seeds together: about three times that of the seeds
    critical, shift = t.ppf(0.975, dof), macros.mean() / macros.std(ddof=1)
    return float(nct.sf(critical, dof, abs(shift)) + nct.cdf(-critical, dof, abs(shift)))


def shares(repeats: list[list[Delta]]) -> dict[str, float]:
    """Return the fraction of significant comparisons: macro by metric, findings, and after Benjamini-Hochberg."""
    rates = {}
    for metric in ("auprc", "auroc"):
        p = np.array([d.p for repeat in repeats for d in repeat if d.metric == metric and not d.finding])
        rates[f"macro {metric}"] = float((p < 0.05).mean())
    singles = np.array([d.p for repeat in repeats for d in repeat if d.finding and not np.isnan(d.p)])
    rates["findings, unadjusted"] = float((singles < 0.05).mean())
    adjusted = [benjamini_hochberg([d.p for d in repeat]) for repeat in repeats]
    rates["findings and macros, adjusted"] = float((np.concatenate(adjusted) < 0.05).mean())
    rates["tables with any mark"] = float(np.mean([(family < 0.05).any() for family in adjusted]))
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("repeats", type=int, nargs="?", default=400)
    count = parser.parse_args().repeats
    pilots = [compare_once(1_000_000 + k, GAP) for k in range(max(count // 2, 20))]
    power = {metric: predicted_power(pilots, metric) for metric in ("auprc", "auroc")}
    print("predicted power:", {metric: round(value, 3) for metric, value in power.items()}, flush=True)
    for title, gap, start in (("null, equal errors", 0.0, 0), (f"gap of {GAP:g}", GAP, 2_000_000)):
        rates = shares([compare_once(start + k, gap) for k in range(count)])
        print(f"{title}, {count} repeats:", {name: round(value, 3) for name, value in rates.items()}, flush=True)


if __name__ == "__main__":
    main()
