"""Test whether p-values of equal models are uniform: two models of one strength on new patients, 2,000 times.

Run it repeatedly. Results are appended to the file, so it can be stopped at any time:

    python -m benchmarks.null_comparisons run --out null.jsonl --seconds 50 [--repeats 2000]
    python -m benchmarks.null_comparisons report --out null.jsonl

Each repeat draws a cohort of 60 to 300 patients with one to nine volumes each, and compares two models on four findings:
rank swaps by patient (`paired_difference`), and Obuchowski's test. Six equal models show how often one of them is called
best. One repeat in four also treats every volume as a patient, which is wrong, and compares a pair that differs in half
of the findings, for the false discovery rate among real differences.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
from scipy import stats

from benchmarks.cohorts import cohort, noise, strength
from benchmarks.fast_resamples import drawn_patients
from ctbench_core.declared import compared_metrics
from ctbench_core.inference import auroc_covariance, benjamini_hochberg, best_by_max_t, paired_difference
from ctbench_core.metrics import ranking_metrics

FINDINGS, MODELS, SWAPS, RESAMPLES = 4, 6, 999, 300
EXTRA_EVERY = 4  # one repeat in 4 has the extra comparisons
WORSE = 0.9  # what the second model lacks in the findings that differ, in units of the score's deviation
LEVEL = 0.05


def models(draw: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw patients (N,), targets (N, C) and the scores of models of one strength that share half of their noise."""
    prevalence, patients = draw.choice([0.15, 0.3, 0.5]), int(draw.choice([60, 120, 300]))
    patient, exam, targets = cohort(draw, patients, float(prevalence), FINDINGS)
    signal = strength(float(draw.choice([0.6, 0.8, 0.9]))) * targets.T
    shared = noise(draw, patient, exam, FINDINGS)
    scores = [signal + np.sqrt(0.5) * (shared + noise(draw, patient, exam, FINDINGS)) for _ in range(count)]
    return patient, targets, np.stack(scores).transpose(0, 2, 1)


def p_values(targets: np.ndarray, scores: np.ndarray, groups: np.ndarray, seed: int) -> dict[str, list[float]]:
    """Return p of the macro mean and of every finding, by test."""
    differences = paired_difference(targets, *scores, groups, resamples=20, swaps=SWAPS, seed=seed)
    p = {f"swap {name}": [differences[name].macro_p, *differences[name].p] for name in compared_metrics()}
    obuchowski = [auroc_covariance(targets[:, c], scores[:, :, c], groups).difference()[2] for c in range(FINDINGS)]
    return p | {"obuchowski": obuchowski}


def repeat(draw: np.random.Generator, extra: bool) -> dict[str, list[float]]:
    """Draw one cohort, and compare models that are equal, and models that are not."""
    patient, targets, scores = models(draw, MODELS)
    seed = int(draw.integers(1 << 31))
    p = p_values(targets, scores[:2], patient, seed)
    weights = drawn_patients(draw, int(patient.max()) + 1, RESAMPLES)[:, patient].astype(float)
    draws, value = ranking_metrics(targets, scores, weights).auprc, ranking_metrics(targets, scores).auprc
    p["best"] = [float(best_by_max_t(value.mean(axis=-1), draws.mean(axis=-1)).marked)]
    if not extra:
        return p
    p |= {
        f"rows, {name}": values for name, values in p_values(targets, scores[:2], np.arange(len(patient)), seed).items()
    }
    worse = scores[1] - WORSE * targets * (np.arange(FINDINGS) < FINDINGS // 2)
    differing = paired_difference(targets, scores[0], worse, patient, resamples=20, swaps=SWAPS, seed=seed)
    return p | {f"half {name}": list(differing[name].p) for name in compared_metrics()}


def run(path: Path, seconds: float, repeats: int) -> bool:
    """Append repeats until the time is up; return False when all are done."""
    ends = time.monotonic() + seconds
    done = len(path.read_text(encoding="utf-8").splitlines()) if path.exists() else 0
    with path.open("a", encoding="utf-8") as file:
        while done < repeats and time.monotonic() < ends:
            file.write(json.dumps(repeat(np.random.default_rng([7, done]), done % EXTRA_EVERY == 0)) + "\n")
            done += 1
    return done < repeats


def rejected(p: np.ndarray) -> np.ndarray:
    """Mark p-values (R, T) below the level after Benjamini-Hochberg within each row."""
    return np.stack([benjamini_hochberg(row) for row in p]) < LEVEL


def report(path: Path) -> str:
    """Return the fractions of p below the level, and their distance from uniform, as a Markdown table."""
    entries = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    tables = {name: np.array([entry[name] for entry in entries if name in entry], float) for name in entries[0]}
    lines = ["| test | comparisons | p < .05 | KS distance | KS p |", "|---|---|---|---|---|"]
    for name in (f"{unit}{test}" for unit in ("", "rows, ") for test in ("swap auprc", "swap auroc", "obuchowski")):
        columns = {"macro": tables[name][:, 0], "first finding": tables[name][:, 1]}
        for title, column in columns.items() if "swap" in name else [("first finding", tables[name][:, 0])]:
            p = column[~np.isnan(column)]
            ks = stats.kstest(p, "uniform")
            lines.append(
                f"| {name}, {title} | {len(p):,} | {(p < LEVEL).mean():.4f} | {ks.statistic:.3f} | {ks.pvalue:.2g} |"
            )
    whole = np.concatenate([tables[f"swap {name}"] for name in compared_metrics()], axis=1)
    any_mark = rejected(whole).any(axis=1).mean()
    half = rejected(np.concatenate([tables[f"half {name}"] for name in compared_metrics()], axis=1))
    differs = np.tile(np.arange(FINDINGS) < FINDINGS // 2, len(compared_metrics()))
    false = (half & ~differs).sum(axis=1) / np.maximum(half.sum(axis=1), 1)
    power = (
        half[:, differs].sum() / np.sum(~np.isnan(tables["half auprc"][:, : FINDINGS // 2])) / len(compared_metrics())
    )
    return "\n".join(
        [
            *lines,
            "",
            f"Benjamini-Hochberg: a mark in {any_mark:.4f} of the tables of equal models; where half of the findings "
            f"differ, {false.mean():.4f} of the marks are false and {power:.2f} of the differences are marked.",
            f"Best of {MODELS} equal models marked in {tables['best'].mean():.4f} of the tables.",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["run", "report"])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=50)
    parser.add_argument("--repeats", type=int, default=2000)
    args = parser.parse_args()
    if args.what == "report":
        print(report(args.out))
    elif not run(args.out, args.seconds, args.repeats):
        print("done")


if __name__ == "__main__":
    main()
