"""Time AUROC + AUPRC of 3,039 x 18 against scikit-learn and torchmetrics, and 100 resamples against one call.

Run from the project's root: ``python -m benchmarks.metrics``. torchmetrics is timed when it is installed
(``pip install torchmetrics``). The calls alternate on one thread; each row is the median of its rounds.
"""

from __future__ import annotations

import statistics
import sys
import time
import warnings
from collections.abc import Callable

import numpy as np
import torch
from sklearn.metrics import average_precision_score, roc_auc_score

from ctbench_core.metrics import ranking_metrics

ROWS, LABELS, RESAMPLES, ROUNDS = 3039, 18, 100, 15


def synthetic(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draw targets and scores (3,039, 18) with prevalences of CT-RATE's order, 7 % to 45 %."""
    draw = np.random.default_rng(seed)
    targets = (draw.random((ROWS, LABELS)) < np.linspace(0.07, 0.45, LABELS)).astype(np.float64)
    return targets, 1 / (1 + np.exp(-draw.normal(targets, 1.0)))


def subjects(targets: np.ndarray, scores: np.ndarray) -> dict[str, Callable[[], object]]:
    """Return the timed calls by name."""
    weights = np.random.default_rng(1).poisson(1.0, (RESAMPLES, ROWS)).astype(np.float64)
    integers = targets.astype(np.int64)
    calls: dict[str, Callable[[], object]] = {
        "ctbench": lambda: ranking_metrics(targets, scores),
        f"ctbench, {RESAMPLES} resamples": lambda: ranking_metrics(targets, scores, weights),
        "scikit-learn": lambda: (
            roc_auc_score(integers, scores, average=None),
            average_precision_score(integers, scores, average=None),
        ),
    }
    try:
        from torchmetrics.functional.classification import multilabel_auroc, multilabel_average_precision
    except ImportError:
        print("torchmetrics is not installed: left out", file=sys.stderr)
        return calls
    logits, truth = torch.from_numpy(scores), torch.from_numpy(integers)
    options = {"num_labels": LABELS, "average": "none"}
    calls["torchmetrics"] = lambda: (
        multilabel_auroc(logits, truth, **options),
        multilabel_average_precision(logits, truth, **options),
    )
    return calls


def seconds(call: Callable[[], object]) -> float:
    """Time one call."""
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def main() -> None:
    """Print the median time of every subject, and its ratio to ours."""
    warnings.simplefilter("ignore")
    # Two threads on two busy cores would measure their waiting for each other.
    torch.set_num_threads(1)
    calls = subjects(*synthetic())
    for call in calls.values():
        call()
    times = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            times[name].append(seconds(call))
    medians = {name: statistics.median(values) for name, values in times.items()}
    print(f"AUROC + AUPRC, {ROWS} x {LABELS}, median of {ROUNDS}")
    for name, median in medians.items():
        print(f"{name:26s}{1e3 * median:9.2f} ms{median / medians['ctbench']:8.1f} x")


if __name__ == "__main__":
    main()
