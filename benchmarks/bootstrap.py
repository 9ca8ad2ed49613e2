"""Time 1,000 patient-clustered resamples of AUROC and AUPRC (3,039 volumes, 18 findings) against a scikit-learn loop.

    python -m benchmarks.bootstrap [resamples]

The loop repeats the rows of each drawn patient and calls scikit-learn for every finding. Both use the same draws, and
every metric of every resample is compared. Volumes, patients and prevalences resemble CT-RATE's validation set; scores
are rounded to make ties.
"""

from __future__ import annotations

import sys
import time

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

from benchmarks.cohorts import cohort, noise
from ctbench_core.inference import RESAMPLES, estimate, measure, patient_weights
from ctbench_core.metrics import metric_values

ROWS, PATIENTS, FINDINGS = 3039, 1304, 18
NAMES = ("auroc", "auprc")


def scored_cohort(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw targets and scores (ROWS, FINDINGS) and the patient of every row, (ROWS,)."""
    draw = np.random.default_rng(seed)
    columns = [cohort(draw, PATIENTS + 30, prevalence, 1) for prevalence in np.linspace(0.07, 0.45, FINDINGS)]
    patient, exam, _ = columns[0]
    targets = np.concatenate(
        [column[2][np.resize(np.arange(len(column[2])), len(patient))] for column in columns], axis=1
    )
    scores = 1.2 * targets + noise(draw, patient, exam, FINDINGS).T
    return targets[:ROWS], np.round(scores[:ROWS], 3), patient[:ROWS]


def resampled(targets: np.ndarray, scores: np.ndarray, patients: np.ndarray, resamples: int) -> dict[str, np.ndarray]:
    """Return AUROC and AUPRC (R, C) in every resample of patients, as the product computes them."""
    parts = [metric_values(NAMES, targets, scores, weights) for weights in patient_weights(patients, resamples)]
    return {name: np.concatenate([part[name] for part in parts]) for name in NAMES}


def plain_loop(
    targets: np.ndarray, scores: np.ndarray, patients: np.ndarray, resamples: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return AUROC and AUPRC (R, C) by scikit-learn, on the repeated rows of the drawn patients."""
    metrics = []
    for weights in patient_weights(patients, resamples):
        for times in weights.astype(int):
            rows = np.repeat(np.arange(len(times)), times)
            pairs = [(targets[rows, c], scores[rows, c]) for c in range(targets.shape[1])]
            metrics.append([[metric(*pair) for pair in pairs] for metric in (roc_auc_score, average_precision_score)])
    auroc, auprc = np.array(metrics).transpose(1, 0, 2)
    return auroc, auprc


def largest_gap(ours: dict[str, np.ndarray], theirs: tuple[np.ndarray, np.ndarray]) -> float:
    """Return the largest difference of any metric in any resample."""
    return float(max(np.abs(ours[name] - other).max() for name, other in zip(NAMES, theirs)))


def main() -> None:
    resamples = int(sys.argv[1]) if len(sys.argv) > 1 else RESAMPLES
    targets, scores, patients = scored_cohort()
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        ours = resampled(targets, scores, patients, resamples)
        seconds.append(time.perf_counter() - start)
    start = time.perf_counter()
    figures = measure(targets, scores[None], patients, [str(c) for c in range(FINDINGS)], resamples=resamples)
    for one in figures.values():
        estimate(one)
    whole = time.perf_counter() - start
    start = time.perf_counter()
    theirs = plain_loop(targets, scores, patients, resamples)
    loop, best = time.perf_counter() - start, float(np.median(seconds))
    print(
        f"{resamples:,} resamples of {len(np.unique(patients)):,} patients, {len(targets):,} rows x {targets.shape[1]}"
    )
    print(f"ours {best:.3f} s (with intervals {whole:.3f} s), scikit-learn in a loop {loop:.1f} s: {loop / best:.0f}x")
    print(f"largest difference of any metric in any resample: {largest_gap(ours, theirs):.1e}")


if __name__ == "__main__":
    main()
