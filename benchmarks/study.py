"""Time the label-budget study, and a sample of its runs trained one by one in a conventional loop.

The conventional loop, in one process: `np.load` a row, Dataset and DataLoader, an `nn.Sequential` with Adam, scikit-learn's
average precision and AUROC of every finding each epoch, early stopping, the test set scored at the end. Both have the
same volumes, epochs, patience and settings; ours also writes every run's directory, checkpoints and scores.

    python -m benchmarks.study <feature root> <manifest folder> [--seeds 10] [--sample 1] [--encoder clinical]

``--encoder`` reads the files of another view under the names that the manifests give: a second feature root.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import average_precision_score, roc_auc_score
from torch import nn
from torch.utils.data import DataLoader, Dataset

from ctbench_core.config import Config
from ctbench_core.dataset import read_test_manifests, read_training_manifests
from ctbench_core.manifest import Manifest
from ctbench_core.studies import Study, run_study

BUDGETS = [20, 50, 100, 250, 500, "all"]


class Volumes(Dataset):
    """One manifest; every feature file is read at the start."""

    def __init__(self, root: Path, manifest: Manifest) -> None:
        self.features = [
            np.load(root / str(path))["arr_0"].ravel().astype(np.float32) for path in manifest.visual_paths
        ]
        self.targets = manifest.targets.astype(np.float32)

    def __len__(self) -> int:
        return len(self.features)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.from_numpy(self.features[row]), torch.from_numpy(self.targets[row])


def conventional(config: Config) -> float:
    """Train and test one run; return its test AUPRC."""
    torch.manual_seed(config.utils.seed)
    root, options = Path(config.paths.data_root), config.training
    manifests, _ = read_training_manifests(config)
    train, val = (Volumes(root, manifests[name]) for name in ("train", "val"))
    test = Volumes(root, read_test_manifests(config, manifests["train"].labels)["test.csv"])
    widths = [len(train.features[0]), *config.model.params.hidden_dims]
    layers: list[nn.Module] = []
    for first, second in itertools.pairwise(widths):
        layers += [nn.Linear(first, second), nn.ReLU(), nn.Dropout(config.model.params.dropout)]
    model = nn.Sequential(*layers, nn.Linear(widths[-1], train.targets.shape[1]))
    positives = torch.from_numpy(train.targets).sum(0)
    loss = nn.BCEWithLogitsLoss(pos_weight=(len(train) - positives) / positives.clamp(min=1))
    optimizer = torch.optim.Adam(model.parameters(), lr=options.learning_rate)
    batches = DataLoader(train, options.batch_size, shuffle=True)
    best, state, stale = -1.0, model.state_dict(), 0
    for _ in range(options.max_epochs):
        model.train()
        for x, y in batches:
            optimizer.zero_grad()
            loss(model(x), y).backward()
            optimizer.step()
        auprc = score(model, val)
        stale += 1
        if auprc > best:
            best, state, stale = auprc, copy.deepcopy(model.state_dict()), 0
        if stale >= options.early_stopping_patience:
            break
    model.load_state_dict(state)
    return score(model, test)


@torch.no_grad()
def score(model: nn.Module, volumes: Volumes) -> float:
    """Return the macro AUPRC; AUROC is computed too, as every epoch of a run reports both."""
    model.eval()
    scores = torch.cat([torch.sigmoid(model(x)) for x, _ in DataLoader(volumes, 256)]).numpy()
    values = []
    for c in range(scores.shape[1]):
        targets = volumes.targets[:, c]
        if 0 < targets.sum() < len(targets):
            values.append(average_precision_score(targets, scores[:, c]))
            roc_auc_score(targets, scores[:, c])
    return float(np.mean(values))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path)
    parser.add_argument("manifests", type=Path)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--sample", type=int, default=1, help="seeds that the conventional loop trains")
    parser.add_argument("--encoder", default="findings", help="folder of the root whose files are read")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "features"
        root.mkdir()
        (root / "findings").symlink_to((options.root / options.encoder).resolve(), target_is_directory=True)
        base = {
            "paths.data_root": str(root), "paths.manifest_dir": str(options.manifests), "paths.outputs_root": folder,
            "data.test_manifests": ["test.csv"], "model.params.hidden_dims": [1024], "training.learning_rate": 1e-3,
            "training.max_epochs": 60, "training.early_stopping_patience": 15,
        }  # fmt: skip
        grid = {
            "budget": BUDGETS,
            "utils.seed": list(range(1, options.seeds + 1)),
            "model": ["mlp_visual", "linear_probe"],
        }
        study = Study("benchmark", base, grid)
        started, spent = time.perf_counter(), time.process_time()
        result = run_study(study, with_intervals=False)
        ours = (time.perf_counter() - started) / result["runs"]
        cpu = (time.process_time() - spent) / result["runs"]
        print(f"study: {result['finished']} of {result['runs']} runs, {ours:.2f} s a run ({cpu:.2f} s CPU)", flush=True)
        result = run_study(Path(result["study_dir"]))
        print(f"its statistics (recipe intervals of every cell): {result['seconds']['total']:.1f} s", flush=True)
        means = {tuple(c["cell"].values()): c["mean"] for c in result["by_cell"] if c["metric"] == "auprc"}
        sample = [(p, c) for p, c in study.configs() if c.utils.seed <= options.sample]
        started, spent = time.perf_counter(), time.process_time()
        for point, config in sample:
            before = time.perf_counter()
            auprc = conventional(config)
            mine = means[point.labels["budget"], point.labels["model"]]
            seconds = time.perf_counter() - before
            print(f"  {point.labels}: {seconds:.2f} s, test AUPRC {auprc:.3f} (study's mean {mine:.3f})", flush=True)
        theirs = (time.perf_counter() - started) / len(sample)
        their_cpu = (time.process_time() - spent) / len(sample)
        print(f"conventional: {len(sample)} runs, {theirs:.2f} s a run ({their_cpu:.2f} s CPU)")
        print(f"the study is {theirs / ours:.1f}x faster a run, and takes {their_cpu / cpu:.1f}x less CPU time")


if __name__ == "__main__":
    main()
