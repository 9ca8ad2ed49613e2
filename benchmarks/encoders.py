"""Heads on the report embeddings of the CT-RATE test data: findings, impressions, clinical, both joined, both gated.

``python -m benchmarks.encoders ../shared/data/ctrate`` prints test AUROC and AUPRC, mean and sd of five seeds each.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from ctbench_core import evaluate_run
from ctbench_core.config import Config, set_key
from ctbench_core.experiment import run_bank

VIEWS = {
    "findings": ("findings", "visual"),
    "impressions": ("impressions", "visual"),
    "clinical": ("clinical", "visual"),
    "findings + impressions, concat": ("findings", "concat"),
    "findings + impressions, gated": ("findings", "gated"),
}


def main(folder: Path) -> None:
    """Train and print."""
    with tempfile.TemporaryDirectory() as scratch:
        for name, (view, inputs) in VIEWS.items():
            manifests = Path(scratch) / view
            manifests.mkdir(exist_ok=True)
            for split in ("train", "valid", "test"):
                frame = pd.read_csv(folder / "manifests" / f"{split}.csv")
                column = frame["visual_feature_path"].str.replace("findings/", f"{view}/", regex=False)
                frame.assign(visual_feature_path=column).to_csv(manifests / f"{split}.csv", index=False)
            configs = []
            for seed in range(1, 6):
                config = Config()
                for key, value in {
                    "paths.data_root": str(folder / "features" / "minilm"),
                    "paths.manifest_dir": str(manifests),
                    "paths.outputs_root": f"{scratch}/outputs",
                    "model.inputs": inputs,
                    "training.learning_rate": 1e-3,
                    "training.max_epochs": 200,
                    "utils.seed": seed,
                    "utils.device": "cpu",
                }.items():
                    set_key(config, key, value)
                configs.append(config)
            tests = [evaluate_run(result["run_dir"])["test"]["test.csv"] for result in run_bank(configs)]
            cells = [
                f"{np.mean(values):.4f} ± {np.std(values, ddof=1):.4f}"
                for values in ([test[metric] for test in tests] for metric in ("auroc", "auprc"))
            ]
            print(f"| {name} | {cells[0]} | {cells[1]} |", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "../shared/data/ctrate"))
