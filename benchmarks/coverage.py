"""Measure the coverage of 95 % intervals on simulated cohorts with several correlated rows a patient.

Run it repeatedly until every cell has its repeats. Results are appended to the file, so it can be stopped at any time:

    pip install numba
    python -m benchmarks.coverage run --out coverage.jsonl --seconds 50 [--grid shown|others] [--repeats 1000]
    python -m benchmarks.coverage table --out coverage.jsonl

The intervals are the product's own functions; only the resamples come from `fast_resamples`. The conventional
percentile bootstraps, of *rows* and of patients, are measured for comparison.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cohorts import STRENGTHS, Cell, cohort, noise, strength, true_auprc, true_auroc, true_f1
from benchmarks.fast_resamples import counted_patients, drawn_patients, resampled_areas
from ctbench_core.inference import MIN_PATIENTS, PatientCounts, estimates
from ctbench_core.inference.paired import estimate_difference
from ctbench_core.inference.recipe import estimate_recipe
from ctbench_core.metrics import choose_thresholds

GRIDS = {
    "shown": [Cell(*at) for at in product((0.03, 0.10, 0.30), (0.60, 0.75, 0.95), (100, 500, 1300))],
    # The interval rules were chosen by simulation on the grid above, but not on these cells.
    "others": [
        *(Cell(*at) for at in product((0.05, 0.20), (0.70, 0.85), (200, 800))),
        *(Cell(prevalence, 0.85, 400, "1 to 5") for prevalence in (0.05, 0.20)),
        *(Cell(prevalence, 0.75, 400, "one") for prevalence in (0.05, 0.20)),
        *(Cell(*at, 400, "ct-rate", "faint or plain") for at in product((0.05, 0.20), (0.70, 0.90))),
    ],
}
LABELS, SEEDS = 3, 3
PERCENTILE_FRACTION = 0.3  # of the repeats that also have the conventional intervals
RESAMPLES = 300  # the product draws 1,000, which makes percentiles a little more stable
MIN_INTERVALS = 50  # for a coverage to be shown
SEED_SPREAD, WORSE = 0.08, 0.25  # in units of the score's deviation: spread of a recipe's seeds; the second model
METRICS = ("auroc", "auprc")
KINDS = ("", "paired ", "recipe ")
NAMES = ("f1", *(f"{macro}{kind}{name}" for kind in KINDS for macro in ("", "macro ") for name in METRICS))
PERCENTILES = tuple(f"percentiles of {unit}, {name}" for unit in ("patients", "rows") for name in METRICS)


@dataclass(frozen=True)
class Simulation:
    """One simulated test set: M = 2 + SEEDS models of C = LABELS labels each, and their R resamples.

    The models are a pair, of which the first is also evaluated alone, and the seeds of a recipe. patient (N,); targets
    (N, C); scores (M, C, N); values (M, C) and draws (R, M, C) by metric; f1 the same of the first model at thresholds
    tuned on a validation set, (C,), (R, C), with the true F1 of these thresholds.
    """

    patient: np.ndarray
    targets: np.ndarray
    scores: np.ndarray
    n_patients: PatientCounts
    values: dict[str, np.ndarray]
    draws: dict[str, np.ndarray]
    f1: tuple[np.ndarray, np.ndarray, np.ndarray]


def means_of(cell: Cell, added: float = 0.0) -> np.ndarray:
    """Return the mean scores of the kinds of sick patients."""
    return strength(cell.auroc, cell.scores) * np.array(STRENGTHS[cell.scores]) + added


def truths(cell: Cell) -> dict[str, float]:
    """Return the true metrics of a cell."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(21)
    weights = weights / weights.sum()
    truth = {}
    for name, true in (("auroc", true_auroc), ("auprc", lambda means: true_auprc(cell.prevalence, means))):
        truth[name] = true(means_of(cell))
        truth[f"paired {name}"] = truth[name] - true(means_of(cell, -WORSE))
        truth[f"recipe {name}"] = float(weights @ [true(means_of(cell, SEED_SPREAD * x)) for x in nodes])
    return truth


def signal(draw: np.random.Generator, cell: Cell, patient: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return what each finding adds to the score of each row, (N, C): every patient is of one kind by finding."""
    means = means_of(cell)
    kind = draw.integers(0, len(means), (int(patient.max()) + 1, targets.shape[1]))
    return means[kind][patient] * targets


def draw_one(draw: np.random.Generator, cell: Cell, resamples: int) -> Simulation | None:
    """Draw a test set of a cell, its models and its resamples; None where no label can have an interval."""
    patient, exam, targets = cohort(draw, cell.patients, cell.prevalence, LABELS, cell.volumes)
    n_patients = counted_patients(targets, patient)
    if n_patients.scarcer.max() < MIN_PATIENTS:
        return None
    means = signal(draw, cell, patient, targets).T
    # Two models share half of their noise, the seeds of a recipe four fifths.
    shared, *own = noise(draw, patient, exam, (3 + SEEDS) * LABELS).reshape(3 + SEEDS, LABELS, -1)
    pair = [means - less * targets.T + np.sqrt(0.5) * (shared + mine) for less, mine in zip((0.0, WORSE), own)]
    strengths = SEED_SPREAD * draw.normal(size=SEEDS)
    seeds = [
        means + more * targets.T + np.sqrt(0.8) * shared + np.sqrt(0.2) * mine for more, mine in zip(strengths, own[2:])
    ]
    scores = np.stack(pair + seeds)
    weights = drawn_patients(draw, cell.patients, resamples)
    flat, of_model = scores.reshape(-1, len(patient)), np.tile(targets.T, (2 + SEEDS, 1))
    values = resampled_areas(of_model, flat, patient, np.ones((1, cell.patients), np.uint8))
    draws = resampled_areas(of_model, flat, patient, weights)
    return Simulation(
        patient,
        targets,
        scores,
        n_patients,
        {name: one.reshape(2 + SEEDS, LABELS) for name, one in zip(METRICS, values)},
        {name: one.reshape(resamples, 2 + SEEDS, LABELS) for name, one in zip(METRICS, draws)},
        tuned_f1(draw, cell, patient, targets, scores[0], weights),
    )


def tuned_f1(
    draw: np.random.Generator,
    cell: Cell,
    patient: np.ndarray,
    targets: np.ndarray,
    scores: np.ndarray,
    weights: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return F1, its resamples and the true F1 at thresholds tuned on a cohort of half the size, 50 patients at least."""
    size = max(cell.patients // 2, 50)
    there, exam, truth = cohort(draw, size, cell.prevalence, LABELS, cell.volumes)
    validation = signal(draw, cell, there, truth) + noise(draw, there, exam, LABELS).T
    tuned = choose_thresholds(truth, validation).values
    called = tuned <= scores.T
    tables = []
    for cells in (called * targets, called + targets):  # tp; 2 tp + fp + fn
        summed = np.stack([np.bincount(patient, column, minlength=cell.patients) for column in cells.T], axis=1)
        tables.append(np.concatenate([summed.sum(axis=0)[None], weights @ summed]))
    f1 = 2 * tables[0] / np.where(tables[1] == 0, np.nan, tables[1])
    return f1[0], f1[1:], true_f1(cell.prevalence, means_of(cell), tuned)


Tally = dict[str, list[int]]


def note(tally: Tally, name: str, bounds: np.ndarray, truth: float) -> None:
    """Count an interval: requested, defined, contains the truth, lies below it."""
    low, high = bounds
    defined = not np.isnan(low)
    for at, true in enumerate((True, defined, defined and low <= truth <= high, defined and high < truth)):
        tally[name][at] += int(true)


def repeat(draw: np.random.Generator, cell: Cell, truth: Mapping[str, float], resamples: int) -> Tally:
    """Draw one test set of a cell, and count the intervals that contain the truth."""
    tally: Tally = defaultdict(lambda: [0, 0, 0, 0])
    one = draw_one(draw, cell, resamples)
    if one is None:
        for name in NAMES:
            tally[name][0] += 1 if "macro" in name else LABELS
        return tally
    values = {name: one.values[name][0] for name in METRICS} | {"f1": one.f1[0]}
    draws = {name: one.draws[name][:, 0] for name in METRICS} | {"f1": one.f1[1]}
    intervals: dict[str, Any] = dict(estimates(values, draws, one.n_patients))
    for name in METRICS:
        value, drawn = one.values[name], one.draws[name]
        intervals[f"paired {name}"] = estimate_difference(
            name, value[:2], drawn[:, :2], np.zeros((1, LABELS)), one.n_patients
        )
        intervals[f"recipe {name}"] = estimate_recipe(name, value[2:], drawn[:, 2:], one.n_patients)
    for name, interval in intervals.items():
        for c, bounds in enumerate(interval.bounds):
            note(tally, name, bounds, one.f1[2][c] if name == "f1" else truth[name])
        if name != "f1":  # thresholds and so the true F1 differ by label
            note(tally, f"macro {name}", interval.macro_bounds, truth[name])
    if draw.random() < PERCENTILE_FRACTION and one.n_patients.scarcer[0] >= MIN_PATIENTS:
        percentiles(draw, tally, one, truth)
    return tally


def percentiles(draw: np.random.Generator, tally: Tally, one: Simulation, truth: Mapping[str, float]) -> None:
    """Count the plain percentile intervals of the first label, of patients and of rows."""
    rows, targets, scores = len(one.patient), one.targets.T[:1], one.scores[0, :1]
    of_rows = resampled_areas(targets, scores, np.arange(rows), drawn_patients(draw, rows, len(one.draws["auroc"])))
    for name, by_row in zip(METRICS, of_rows):
        for unit, drawn in (("patients", one.draws[name][:, 0, 0]), ("rows", by_row[:, 0])):
            note(tally, f"percentiles of {unit}, {name}", np.nanquantile(drawn, [0.025, 0.975]), truth[name])


def read(path: Path) -> dict[Cell, dict[str, np.ndarray]]:
    """Sum the stored tallies by cell; ``repeats`` counts them."""
    tallies: dict = defaultdict(lambda: defaultdict(lambda: np.zeros(4, int)))
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        entry = json.loads(line)
        cell = tallies[Cell(*entry["cell"])]
        cell["repeats"] = cell["repeats"] + entry["repeats"]
        for name, counts in entry["tally"].items():
            cell[name] = cell[name] + np.array(counts)
    return tallies


def run(path: Path, seconds: float, repeats: int, resamples: int, cells: list[Cell]) -> bool:
    """Simulate the cell with the fewest repeats until the time is up; return False when every cell has its repeats."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        done = read(path)
        count, at = min((int(done[cell]["repeats"].max()), k) for k, cell in enumerate(cells))
        if count >= repeats:
            return False
        cell = cells[at]
        key = [round(1000 * cell.prevalence), round(1000 * cell.auroc), cell.patients, at, count, resamples]
        draw, truth = np.random.default_rng(key), truths(cell)
        total: Tally = defaultdict(lambda: [0, 0, 0, 0])
        made, until = 0, min(ends, time.monotonic() + 10)
        while made < min(repeats - count, 250) and (time.monotonic() < until or not made):
            for name, counts in repeat(draw, cell, truth, resamples).items():
                total[name] = [a + b for a, b in zip(total[name], counts)]
            made += 1
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"cell": astuple(cell), "repeats": made, "tally": total}) + "\n")
    return True


def table(path: Path) -> str:
    """Return the coverage in per cent as two Markdown tables; a dash where few samples had an interval."""
    cells = sorted(read(path).items(), key=lambda item: (item[0].patients, astuple(item[0])))
    whole = [
        *("f1", "auroc", "auprc", "macro auroc", "macro auprc"),
        *("paired auroc", "paired auprc", "recipe auroc", "recipe auprc"),
    ]
    more = [name for name in NAMES if name not in whole]
    lines = [
        _row(["patients", "prevalence", "true AUROC", "intervals", "repeats", *whole, *("rows, " + m for m in METRICS)])
    ]
    lines += ["|---" * lines[0].count(" | ") + "|---|"]
    more_lines = [_row(["patients", "prevalence", "true AUROC", *more, *PERCENTILES[:2]])]
    more_lines += ["|---" * more_lines[0].count(" | ") + "|---|"]
    for cell, tally in cells:
        requested, defined, *_ = tally["auroc"]
        kind = "" if (cell.volumes, cell.scores) == ("ct-rate", "normal") else f" ({cell.volumes}, {cell.scores})"
        front = [str(cell.patients) + kind, f"{cell.prevalence:.0%}", f"{cell.auroc:.2f}"]
        some = [f"{defined / max(requested, 1):.0%}", f"{int(tally['repeats'].max()):,}"]
        lines.append(_row([*front, *some, *(coverage(tally[name]) for name in (*whole, *PERCENTILES[2:]))]))
        if defined / max(requested, 1) >= 0.05:
            more_lines.append(_row([*front, *(coverage(tally[name]) for name in (*more, *PERCENTILES[:2]))]))
    text = "\n".join([*lines, "", *more_lines])
    return text.replace("auroc", "AUROC").replace("auprc", "AUPRC").replace(" f1 ", " F1 ")


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def coverage(counts: np.ndarray) -> str:
    requested, defined, covered, _ = counts
    shown = defined >= MIN_INTERVALS and defined / requested >= 0.05
    return f"{100 * covered / defined:.1f}" if shown else "–"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["run", "table"])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=50)
    parser.add_argument("--repeats", type=int, default=1000)
    parser.add_argument("--resamples", type=int, default=RESAMPLES)
    parser.add_argument("--grid", choices=list(GRIDS), default="shown")
    args = parser.parse_args()
    if args.what == "table":
        print(table(args.out))
    elif not run(args.out, args.seconds, args.repeats, args.resamples, GRIDS[args.grid]):
        print("done")


if __name__ == "__main__":
    main()
