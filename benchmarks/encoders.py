"""Heads on the report embeddings of the CT-RATE test data: one table, and what it says of a linear probe.

``python -m benchmarks.encoders ../shared/data/ctrate`` prints test AUROC and AUPRC (mean and sd of five seeds), seconds
of training, and how many runs have not converged, for each encoder and head; then the macro AUPRC of the MLP minus that
of each other head. The last view rows join two encoders. All heads read the same vectors.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ctbench_core import evaluate_run
from ctbench_core.config import Config, group_defaults, model_groups, set_keys
from ctbench_core.experiment import run_bank
from ctbench_core.formatting import format_interval, format_p
from ctbench_core.inference import MACRO, recipe_difference
from ctbench_core.runs import NOT_CONVERGED, convergence, open_run, score_arrays

VIEWS = {
    "findings": ("findings", "visual"),
    "impressions": ("impressions", "visual"),
    "clinical": ("clinical", "visual"),
}
JOINED = {
    "findings + impressions, concat": ("findings", "concat"),
    "findings + impressions, gated": ("findings", "gated"),
}
GROUPS = model_groups()
HEADS: dict[str, dict[str, Any]] = {
    "linear, before": GROUPS["linear_probe"] | {"training.learning_rate": 1e-4},  # the default of release 0.3
    "linear": GROUPS["linear_probe"] | group_defaults("linear_probe"),
    "logistic": GROUPS["logistic"],
    "MLP 1024, default rate": GROUPS["mlp_visual"],  # stops early, on a dip of the first epochs
    "MLP 1024": GROUPS["mlp_visual"] | {"training.learning_rate": 1e-3, "training.max_epochs": 200},
}
SEEDS = range(1, 6)


def main(folder: Path, joined: bool = False) -> None:
    """Train and print."""
    print("| Encoder | Head | Test AUROC | Test AUPRC | Seconds a run | Convergence |\n|---|---|---|---|---|---|")
    differences = []
    with tempfile.TemporaryDirectory() as scratch:
        for name, (view, inputs) in (VIEWS | JOINED if joined else VIEWS).items():
            data = {
                "paths.data_root": str(folder / "features" / "minilm"),
                "paths.manifest_dir": str(_write_manifests(folder, view, Path(scratch))),
                "paths.outputs_root": f"{scratch}/outputs",
                "model.inputs": inputs,
                "utils.device": "cpu",
            }
            heads = {"MLP 1024": HEADS["MLP 1024"]} if inputs == "gated" else HEADS
            scores = {head: _train(name, head, data | keys) for head, keys in heads.items()}
            differences += [_compare(name, head, scores) for head in scores if head != "MLP 1024"]
    print("\n| Encoder | MLP minus | Macro AUPRC [95 % CI] | p |\n|---|---|---|---|")
    print("\n".join(differences))


def _write_manifests(folder: Path, view: str, scratch: Path) -> Path:
    """Write manifests whose visual features are those of a view."""
    manifests = scratch / view
    manifests.mkdir(exist_ok=True)
    for split in ("train", "valid", "test"):
        frame = pd.read_csv(folder / "manifests" / f"{split}.csv")
        column = frame["visual_feature_path"].str.replace("findings/", f"{view}/", regex=False)
        frame.assign(visual_feature_path=column).to_csv(manifests / f"{split}.csv", index=False)
    return manifests


def _train(name: str, head: str, keys: dict[str, Any]) -> list[pd.DataFrame]:
    """Train and evaluate the seeds of a recipe, print its row, and return its tables of scores."""
    results = run_bank([set_keys(Config(), keys | {"utils.seed": seed}) for seed in SEEDS])
    runs = [open_run(result["run_dir"]) for result in results]
    tests = [evaluate_run(run.paths.root)["test"]["test.csv"] for run in runs]
    cells = [
        f"{np.mean(values):.4f} ± {np.std(values, ddof=1):.4f}"
        for values in ([test[metric] for test in tests] for metric in ("auroc", "auprc"))
    ]
    seconds = max(result["seconds"]["train"] for result in results) / len(runs)
    stopped = sum(bool(record and record.mark) for record in map(convergence, runs))
    mark = f"{stopped} of {len(runs)} {NOT_CONVERGED}" if stopped else ""
    print(f"| {name} | {head} | {cells[0]} | {cells[1]} | {seconds:.1f} | {mark} |", flush=True)
    return [pd.read_parquet(run.paths.evaluation("test").scores) for run in runs]


def _compare(name: str, head: str, scores: dict[str, list[pd.DataFrame]]) -> str:
    """Return the row of the MLP against another head."""
    first, second = ([score_arrays(frame)[2] for frame in scores[key]] for key in ("MLP 1024", head))
    frame = scores[head][0]
    labels, targets, _ = score_arrays(frame)
    seeds = [str(seed) for seed in SEEDS]
    result = recipe_difference(
        targets, np.stack(first), np.stack(second), (seeds, seeds), frame["patient"], labels, metrics=["auprc"]
    )["auprc"]
    place = result.columns.index(MACRO)
    text = format_interval(result.delta[place], result.bounds[place].tolist())
    return f"| {name} | {head} | {text} | {format_p(result.p[place])} |"


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "../shared/data/ctrate"), "joined" in sys.argv)
