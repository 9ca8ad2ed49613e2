"""Do 95 % intervals hold the truth 95 times in a hundred? Simulated cohorts with several correlated rows a patient.

Run a slice of it, again and again, until every cell has its repeats; results are appended, so it may stop any time:

    python -m benchmarks.coverage run --out coverage.jsonl --seconds 50 [--repeats 1000]
    python -m benchmarks.coverage table --out coverage.jsonl

The conventional way is the percentile bootstrap of *rows*; it stands beside ours, as does that of patients. A patient
has one to three exams of one to three reconstructions. Scores are normal: patient, exam and reconstruction effects of
variance .5, .3, .2, and the finding adds sqrt(2) Phi^-1(AUROC). Truths are integrals, not samples.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from itertools import product
from pathlib import Path

import numpy as np
from scipy.special import ndtr, ndtri

from ctbench_core.compare import paired_difference
from ctbench_core.metrics import (
    bootstrap,
    bootstrap_intervals,
    choose_thresholds,
    evidence,
    ranking_figures,
    recipe_intervals,
    resampled,
    thresholded_figures,
)
from ctbench_core.metrics.uncertainty import MIN_PATIENTS

PREVALENCES, AUROCS, PATIENTS = (0.03, 0.10, 0.30), (0.60, 0.75, 0.95), (100, 500, 1300)
LABELS, SEEDS = 3, 3
NAIVE_SHARE = 0.3  # of the repeats in which the conventional intervals are drawn too
RESAMPLES = 300  # --resamples 1000 is the product's own number; the table says that both hold
SEED_SPREAD, WORSE = 0.08, 0.25  # in units of the score's deviation: spread of a recipe's seeds; the second model
EFFECTS = (0.5, 0.3, 0.2)
Rows = tuple[np.ndarray, np.ndarray, np.ndarray]


def cohort(draw: np.random.Generator, patients: int, prevalence: float, labels: int) -> Rows:
    """Draw the patient and exam of every row, and targets (N, labels) that exams of a patient mostly share."""
    exams = np.repeat(np.arange(patients), draw.choice([1, 2, 3], patients, p=[0.86, 0.10, 0.04]))
    exam = np.repeat(np.arange(len(exams)), draw.choice([1, 2, 3], len(exams), p=[0.1, 0.8, 0.1]))
    hidden = np.sqrt(0.8) * draw.normal(size=(patients, labels))[exams]
    hidden += np.sqrt(0.2) * draw.normal(size=(len(exams), labels))
    return exams[exam], exam, (hidden > ndtri(1 - prevalence)).astype(float)[exam]


def noise(draw: np.random.Generator, patient: np.ndarray, exam: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Draw scores without signal, (*shape, N), of variance 1."""
    parts = [draw.normal(size=(*shape, int(at.max()) + 1))[..., at] for at in (patient, exam, np.arange(len(exam)))]
    return sum(np.sqrt(share) * part for share, part in zip(EFFECTS, parts))


def distance(auroc: float) -> float:
    return float(np.sqrt(2) * ndtri(auroc))


def true_auprc(prevalence: float, mu: float) -> float:
    """Integrate precision over recall of two normal distributions."""
    t = np.linspace(-9, 14, 200001)
    recall, alarms = ndtr(mu - t), (1 - prevalence) * ndtr(-t)
    precision = prevalence * recall / np.maximum(prevalence * recall + alarms, 1e-300)
    return float(-np.trapezoid(precision, recall))


def true_f1(prevalence: float, mu: float, threshold: np.ndarray) -> np.ndarray:
    tp, fp = prevalence * ndtr(mu - threshold), (1 - prevalence) * ndtr(-threshold)
    return 2 * tp / (tp + fp + prevalence)


def truths(prevalence: float, auroc: float) -> dict[str, float]:
    """Return the true figures of a cell."""
    mu, (nodes, weights) = distance(auroc), np.polynomial.hermite_e.hermegauss(21)
    weights = weights / weights.sum()
    second = mu - WORSE
    return {
        "auroc": auroc,
        "auprc": true_auprc(prevalence, mu),
        "paired auroc": auroc - float(ndtr(second / np.sqrt(2))),
        "paired auprc": true_auprc(prevalence, mu) - true_auprc(prevalence, second),
        "recipe auroc": float(weights @ ndtr((mu + SEED_SPREAD * nodes) / np.sqrt(2))),
        "recipe auprc": float(weights @ [true_auprc(prevalence, mu + SEED_SPREAD * x) for x in nodes]),
    }


Tally = dict[str, list[int]]


def note(tally: Tally, name: str, bounds: np.ndarray, truth: float) -> None:
    """Count an interval: asked for, given, held the truth, lay below it."""
    low, high = bounds
    given = not np.isnan(low)
    for at, true in enumerate((True, given, given and low <= truth <= high, given and high < truth)):
        tally[name][at] += int(true)


def repeat(draw: np.random.Generator, cell: tuple[float, float, int], truth: dict[str, float], count: int) -> Tally:
    """Draw one cohort of a cell, and see which intervals hold."""
    prevalence, auroc, patients = cell
    tally: Tally = defaultdict(lambda: [0, 0, 0, 0])
    mu, seed = distance(auroc), int(draw.integers(1 << 31))
    patient, exam, targets = cohort(draw, patients, prevalence, LABELS)
    if evidence(targets, patient).scarcer.max() < MIN_PATIENTS:
        for name in NAMES:
            tally[name][0] += LABELS if name in ("auroc", "auprc", "f1") else 1
        return tally
    scores = mu * targets + noise(draw, patient, exam, (LABELS,)).T
    tuned = tuned_on_validation(draw, cell)
    found = bootstrap_intervals(targets, scores, patient, count, seed)
    found |= {"f1": bootstrap(thresholded_figures(tuned), targets, scores, patient, count, seed)["f1"]}
    for c in range(LABELS):
        for name, estimate in found.items():
            true = float(true_f1(prevalence, mu, tuned[c])) if name == "f1" else truth[name]
            note(tally, name, estimate.bounds[c], true)
    for name in ("auroc", "auprc"):
        note(tally, f"macro {name}", found[name].macro_bounds, truth[name])
    first = targets[:, :1]
    if draw.random() < NAIVE_SHARE:
        percentiles(tally, first, scores[:, :1], patient, np.arange(len(patient)), truth, count, seed)
    pair_and_recipe(draw, tally, first, patient, exam, mu, truth, count, seed)
    return tally


def tuned_on_validation(draw: np.random.Generator, cell: tuple[float, float, int]) -> np.ndarray:
    """Choose the thresholds (LABELS,) of the highest F1 on a cohort of half the size, 50 patients at least."""
    prevalence, auroc, patients = cell
    patient, exam, targets = cohort(draw, max(patients // 2, 50), prevalence, LABELS)
    scores = distance(auroc) * targets + noise(draw, patient, exam, (LABELS,)).T
    return choose_thresholds(targets, scores).values


def percentiles(
    tally: Tally,
    targets: np.ndarray,
    scores: np.ndarray,
    patient: np.ndarray,
    row: np.ndarray,
    truth: dict[str, float],
    count: int,
    seed: int,
) -> None:
    """Note the usual percentile intervals, of patients and of rows, where ours is given."""
    if evidence(targets, patient).scarcer[0] < MIN_PATIENTS:
        return
    for unit, groups in (("patients", patient), ("rows", row)):
        draws = resampled(ranking_figures, targets, scores, groups, count, seed)
        for name in ("auroc", "auprc"):
            edges = np.nanquantile(draws[name][:, 0], [0.025, 0.975])
            note(tally, f"percentiles of {unit}, {name}", edges, truth[name])


def pair_and_recipe(
    draw: np.random.Generator,
    tally: Tally,
    targets: np.ndarray,
    patient: np.ndarray,
    exam: np.ndarray,
    mu: float,
    truth: dict[str, float],
    count: int,
    seed: int,
) -> None:
    """Note the difference of two models that share half of their noise, and a recipe whose seeds share four fifths."""
    shared = noise(draw, patient, exam, (1,)).T
    one, other = (np.sqrt(0.5) * (shared + noise(draw, patient, exam, (1,)).T) for _ in range(2))
    apart = paired_difference(
        targets, mu * targets + one, (mu - WORSE) * targets + other, patient, resamples=count, swaps=1, seed=seed
    )
    strength = mu + SEED_SPREAD * draw.normal(size=(SEEDS, 1, 1))
    own = noise(draw, patient, exam, (SEEDS, 1)).transpose(0, 2, 1)
    seeds = strength * targets + np.sqrt(0.8) * shared + np.sqrt(0.2) * own
    recipe = recipe_intervals(targets, seeds, patient, resamples=count, seed=seed)
    for name in ("auroc", "auprc"):
        note(tally, f"paired {name}", apart[name].bounds[0], truth[f"paired {name}"])
        note(tally, f"recipe {name}", recipe[name].bounds[0], truth[f"recipe {name}"])


NAMES = (
    "auroc",
    "auprc",
    "f1",
    *(f"{kind} {name}" for kind in ("macro", "paired", "recipe") for name in ("auroc", "auprc")),
)
NAIVE = tuple(f"percentiles of {unit}, {name}" for unit in ("patients", "rows") for name in ("auroc", "auprc"))


def read(path: Path) -> dict[tuple[float, float, int], dict[str, np.ndarray]]:
    """Sum the stored tallies by cell; ``repeats`` counts them."""
    found: dict = defaultdict(lambda: defaultdict(lambda: np.zeros(4, int)))
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        entry = json.loads(line)
        cell = found[tuple(entry["cell"])]
        cell["repeats"] = cell["repeats"] + entry["repeats"]
        for name, counts in entry["tally"].items():
            cell[name] = cell[name] + np.array(counts)
    return found


def run(path: Path, seconds: float, repeats: int, resamples: int, patients: tuple[int, ...]) -> bool:
    """Work on the cell with the fewest repeats until the time is up; False when every cell has its repeats."""
    ends = time.monotonic() + seconds
    cells = list(product(PREVALENCES, AUROCS, patients))
    while time.monotonic() < ends:
        done = read(path)
        count, cell = min((int(done[cell]["repeats"].max()), cell) for cell in cells)
        if count >= repeats:
            return False
        draw, truth = np.random.default_rng([cells.index(cell), count, len(cells)]), truths(*cell[:2])
        total: Tally = defaultdict(lambda: [0, 0, 0, 0])
        made, until = 0, min(ends, time.monotonic() + 10)
        while made < repeats - count and (time.monotonic() < until or not made):
            for name, counts in repeat(draw, cell, truth, resamples).items():
                total[name] = [a + b for a, b in zip(total[name], counts)]
            made += 1
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"cell": cell, "repeats": made, "tally": total}) + "\n")
    return True


def table(path: Path) -> str:
    """Return the coverage in per cent as a Markdown table; a dash where under 5 % of the samples had an interval."""
    head = ["prevalence", "AUROC", "patients", "given", "repeats", *NAMES, *NAIVE]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for (prevalence, auroc, patients), cell in sorted(read(path).items(), key=lambda item: (item[0][2], item[0])):
        asked, given, *_ = cell["auroc"]
        shares = [share(cell[name]) for name in (*NAMES, *NAIVE)]
        front = [
            f"{prevalence:.0%}",
            f"{auroc:.2f}",
            str(patients),
            f"{given / max(asked, 1):.0%}",
            str(cell["repeats"].max()),
        ]
        lines.append("| " + " | ".join(front + shares) + " |")
    return "\n".join(lines)


def share(counts: np.ndarray) -> str:
    asked, given, held, _ = counts
    return f"{100 * held / given:.1f}" if asked and given / asked >= 0.05 else "–"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["run", "table"])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=50)
    parser.add_argument("--repeats", type=int, default=1000)
    parser.add_argument("--resamples", type=int, default=RESAMPLES)
    parser.add_argument("--patients", type=int, nargs="+", default=PATIENTS)
    given = parser.parse_args()
    if given.what == "table":
        print(table(given.out))
    elif not run(given.out, given.seconds, given.repeats, given.resamples, tuple(given.patients)):
        print("done")


if __name__ == "__main__":
    main()
