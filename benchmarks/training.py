"""Time training beside the conventional loop and scikit-learn: ``python -m benchmarks.training epoch|convex|bank|whole``.

``whole`` needs the CT-RATE folder of the test data: ``python -m benchmarks.training whole ../shared/data/ctrate``.
The conventional loop is plain PyTorch: Dataset and DataLoader, nn.Sequential, autograd, Adam, scikit-learn each epoch.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score
from torch import nn

from ctbench_core.config import Config
from ctbench_core.dataset import Dataset
from ctbench_core.train.logistic import LogisticPath
from ctbench_core.train.optim import adam
from ctbench_core.train.planning import divide_into_stacks
from ctbench_core.train.trainer import Trainer

TRAIN, VAL, WIDTH, FINDINGS, HIDDEN, BATCH = 47_149, 3_039, 512, 18, 1024, 64


def synthetic(width: int = WIDTH, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draw features and labels of CT-RATE's shape that can partly be learnt."""
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(TRAIN + VAL, width)).astype(np.float32)
    slope = draw.normal(size=(width, FINDINGS)).astype(np.float32) / width**0.5
    return x, (x @ slope + draw.normal(size=(len(x), FINDINGS)) > 1).astype(np.float32)


def dataset(x: np.ndarray, y: np.ndarray, rows: np.ndarray) -> Dataset:
    """Wrap some training rows and all validation rows."""
    val = np.arange(TRAIN, TRAIN + VAL)
    names = [f"finding {c}" for c in range(FINDINGS)]
    manifests: Any = {
        "train": SimpleNamespace(labels=names, targets=y[rows]),
        "val": SimpleNamespace(labels=names, targets=y[val]),
    }
    return Dataset(manifests, x, {"train": rows, "val": val}, {}, widths=[x.shape[1]])


def config(hidden: int, seed: int) -> Config:
    """Return a config on the CPU."""
    made = Config()
    made.utils.device, made.utils.seed, made.model.params.hidden_dims = "cpu", seed, [hidden]
    return made


class Conventional:
    """The conventional training loop in plain PyTorch."""

    def __init__(
        self, x: np.ndarray, y: np.ndarray, rows: np.ndarray, val: np.ndarray, hidden: int, rate: float
    ) -> None:
        pairs = torch.utils.data.TensorDataset(torch.from_numpy(x[rows]), torch.from_numpy(y[rows]))
        self.loader = torch.utils.data.DataLoader(pairs, BATCH, shuffle=True)
        self.x_val, self.y_val = torch.from_numpy(x[val]), y[val]
        self.head = nn.Sequential(
            nn.Linear(x.shape[1], hidden), nn.ReLU(), nn.Dropout(0.35), nn.Linear(hidden, y.shape[1])
        )
        self.optimizer = torch.optim.Adam(self.head.parameters(), lr=rate)
        truth = torch.from_numpy(y[rows])
        self.loss = nn.BCEWithLogitsLoss(pos_weight=(len(truth) - truth.sum(0)) / truth.sum(0).clamp(min=1))

    def epoch(self) -> float:
        """Train one epoch, and return the validation AUPRC."""
        self.head.train()
        total = 0.0
        for x, y in self.loader:
            self.optimizer.zero_grad()
            loss = self.loss(self.head(x), y)
            loss.backward()
            self.optimizer.step()
            total += loss.item()
        self.head.eval()
        with torch.no_grad():
            logits = self.head(self.x_val)
            self.loss(logits, torch.from_numpy(self.y_val)).item()
            scores = torch.sigmoid(logits).numpy()
        roc_auc_score(self.y_val, scores, average=None)
        f1_score(self.y_val, scores >= 0.5, average="macro", zero_division=0)
        return float(np.mean(average_precision_score(self.y_val, scores, average=None)))


def products(layout: str) -> float:
    """Time the matrix products of one epoch alone, weights as (in, out) or (out, in)."""
    x, hidden, back = torch.randn(BATCH, WIDTH), torch.empty(BATCH, HIDDEN), torch.randn(BATCH, FINDINGS)
    w1, w2 = torch.randn(WIDTH, HIDDEN), torch.randn(HIDDEN, FINDINGS)
    g1, g2, out = torch.empty_like(w1), torch.empty_like(w2), torch.empty(BATCH, FINDINGS)
    if layout == "out, in":
        w1, w2, g1, g2 = (t.T.contiguous() for t in (w1, w2, g1, g2))
    started = time.perf_counter()
    for _ in range(-(-TRAIN // BATCH)):
        if layout == "in, out":
            torch.mm(x, w1, out=hidden)
            torch.mm(hidden, w2, out=out)
            torch.mm(hidden.T, back, out=g2)
            torch.mm(back, w2.T, out=hidden)
            torch.mm(x.T, hidden, out=g1)
        else:
            torch.mm(x, w1.T, out=hidden)
            torch.mm(hidden, w2.T, out=out)
            torch.mm(back.T, hidden, out=g2)
            torch.mm(back, w2, out=hidden)
            torch.mm(hidden.T, x, out=g1)
    return time.perf_counter() - started


def timed(call: Callable[[], object], rounds: int = 3) -> float:
    """Return the median seconds of a call."""
    seconds = []
    for _ in range(rounds):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def best(call: Callable[[], object], rounds: int = 5) -> float:
    """Return the least seconds of a call: other work on the machine only adds to it."""
    return min(timed(call, 1) for _ in range(rounds))


def epoch() -> None:
    """Time one epoch with validation: CT-RATE shape, MLP 1024, batch 64."""
    x, y = synthetic()
    rows = np.arange(TRAIN)
    trainer = Trainer([config(HIDDEN, 1)], [dataset(x, y, rows)])
    plain = Conventional(x, y, rows, np.arange(TRAIN, TRAIN + VAL), HIDDEN, 1e-4)
    count = iter(range(1, 100))
    trainer.run_epoch([next(count)])
    with torch.inference_mode():
        alone = min(best(lambda: products("in, out")), best(lambda: products("out, in")))
    ours = best(lambda: trainer.run_epoch([next(count)]))
    with torch.inference_mode():
        alone = min(alone, best(lambda: products("in, out")), best(lambda: products("out, in")))
    theirs = best(plain.epoch, 3)
    print(f"products alone {alone:.3f} s, ours {ours:.3f} s ({ours / alone:.2f}x), conventional {theirs:.2f} s "
          f"({theirs / ours:.2f}x ours)")  # fmt: skip


def convex() -> None:
    """Time logistic regression of 18 findings, 47,149 x 512."""
    x, y = synthetic()
    x, y = x[:TRAIN], y[:TRAIN]
    labels = torch.from_numpy(y)
    ones = torch.ones_like(labels)

    def ours() -> Any:
        with torch.inference_mode():
            return LogisticPath(torch.from_numpy(x), labels, ones, ones).fit(1.0, None)

    seconds, (weights, _) = timed(ours), ours()
    wide = x.astype(np.float64)

    def loss(coef: np.ndarray, bias: float, truth: np.ndarray) -> float:
        z = wide @ coef + bias
        return float((np.logaddexp(0, z) - truth * z).mean() + coef @ coef / (2 * TRAIN))

    started, gaps = time.perf_counter(), []
    for c in range(3):
        fitted = LogisticRegression(C=1.0, tol=1e-8, max_iter=1000).fit(wide, y[:, c])
        gaps.append(
            loss(weights[c, :-1].numpy(), float(weights[c, -1]), y[:, c])
            - loss(fitted.coef_[0], float(fitted.intercept_[0]), y[:, c])
        )
    theirs = (time.perf_counter() - started) / 3 * FINDINGS
    print(f"ours {seconds:.2f} s, scikit-learn {theirs:.1f} s by 3 of 18 findings; loss above theirs {max(gaps):.1e}")


def budget_bank(hidden: int, width: int, device: str = "cpu") -> tuple[list[Config], list[Dataset]]:
    """Return configs and datasets of 60 heads: 12 budgets x 5 seeds, 479 rows of validation."""
    x, y = synthetic(width)
    val = np.arange(TRAIN, TRAIN + 479)
    configs, sets = [], []
    for budget in (50, 75, 100, 150, 200, 300, 400, 500, 700, 900, 1200, 1800):
        for seed in range(5):
            data = dataset(x, y, np.random.default_rng(seed).permutation(TRAIN)[:budget])
            data.rows["val"] = val
            data.manifests["val"].targets = y[val]  # type: ignore[misc]
            settings = config(hidden, seed)
            settings.utils.device = device
            configs.append(settings)
            sets.append(data)
    return configs, sets


def train_stacks(
    configs: Sequence[Config], sets: Sequence[Dataset], stacks: Sequence[Sequence[int]], epochs: int
) -> None:
    """Train stacks of heads, given by their positions, one after the other."""
    for stack in stacks:
        trainer = Trainer([configs[k] for k in stack], [sets[k] for k in stack])
        for number in range(1, epochs + 1):
            trainer.run_epoch([number] * len(stack))


def arithmetic(sets: Sequence[Dataset], stacks: Sequence[Sequence[int]], hidden: int, epochs: int) -> float:
    """Time what no training of these stacks can leave out: matrix products of steps and validation, and Adam."""
    started = time.perf_counter()
    for stack in stacks:
        steps = sorted((-(-len(sets[k].rows["train"]) // BATCH) for k in stack), reverse=True)
        run = _stack_arithmetic(steps, sets[stack[0]], hidden)
        for _ in range(epochs):
            run()
    return time.perf_counter() - started


def _stack_arithmetic(steps: Sequence[int], data: Dataset, hidden: int) -> Callable[[], None]:
    heads, width = len(steps), data.matrix.shape[1]
    cut, size = width * hidden, width * hidden + hidden * FINDINGS
    flat = {name: torch.zeros(heads, size) for name in ("param", "grad", "exp_avg", "exp_avg_sq")}
    first, last = ({name: flat[name][:, part] for name in ("param", "grad")} for part in (slice(cut), slice(cut, None)))
    w1, g1 = (first[name].view(heads, width, hidden) for name in ("param", "grad"))
    w2, g2 = (last[name].view(heads, hidden, FINDINGS) for name in ("param", "grad"))
    x, unit = torch.randn(heads, BATCH, width), torch.randn(heads, BATCH, hidden)
    slope, out, count = torch.randn(heads, BATCH, FINDINGS), torch.empty(heads, BATCH, FINDINGS), torch.ones(heads)
    x_val = torch.randn(len(data.rows["val"]), width)

    def run() -> None:
        for step in range(steps[0]):
            k = sum(own > step for own in steps)
            torch.bmm(x[:k], w1[:k], out=unit[:k])
            torch.bmm(unit[:k], w2[:k], out=out[:k])
            torch.bmm(unit[:k].mT, slope[:k], out=g2[:k])
            torch.bmm(slope[:k], w2[:k].mT, out=unit[:k])
            torch.bmm(x[:k].mT, unit[:k], out=g1[:k])
            rows = {name: [tensor[head] for head in range(k)] for name, tensor in flat.items()}
            adam(rows | {"step": [count[head] for head in range(k)]}, 1e-4, 0.0)
        torch.matmul(torch.matmul(x_val, w1), w2)

    return run


def bank(hidden: int = 256, width: int = 384, epochs: int = 6) -> None:
    """Time 60 heads, 12 budgets x 5 seeds: in stacks, one by one, and the conventional loop for one seed."""
    configs, sets = budget_bank(hidden, width)
    x, y = synthetic(width)
    val = sets[0].rows["val"]

    def conventional() -> None:
        for k in range(0, 60, 5):
            loop = Conventional(x, y, sets[k].rows["train"], val, hidden, 1e-4)
            for _ in range(epochs):
                loop.epoch()

    together = best(lambda: train_stacks(configs, sets, divide_into_stacks(configs, sets), epochs))
    one_by_one = best(lambda: train_stacks(configs, sets, [[k] for k in range(60)], epochs), 3)
    theirs = timed(conventional, 1) * 5
    with torch.inference_mode():
        least = [
            best(lambda: arithmetic(sets, stacks, hidden, epochs), 3)  # noqa: B023
            for stacks in (divide_into_stacks(configs, sets), [[k] for k in range(60)])
        ]
    print(f"products and Adam alone: together {least[0]:.2f} s, one by one {least[1]:.2f} s")
    print(f"MLP {width}-{hidden}: together {together:.2f} s, one by one {one_by_one:.2f} s ({one_by_one / together:.2f}x), "
          f"conventional {theirs:.1f} s by one seed of five ({theirs / together:.2f}x)")  # fmt: skip


CONVENTIONAL = """
import sys, time
import numpy as np, pandas as pd, torch
from benchmarks.training import Conventional
root, labels = sys.argv[1], None
def read(name):
    frame = pd.read_csv(f"{root}/manifests/{name}.csv")
    x = np.stack([np.load(f"{root}/features/minilm/{p}")["arr_0"][0] for p in frame["visual_feature_path"]])
    return x, frame.drop(columns=["volumename", "visual_feature_path", "text_feature_path"]).to_numpy(np.float32)
torch.manual_seed(int(sys.argv[2]))
parts = [read(name) for name in ("train", "valid")]
x, y = (np.concatenate(both) for both in zip(*parts))
cut = len(parts[0][0])
loop = Conventional(x, y, np.arange(cut), np.arange(cut, len(x)), 1024, 1e-3)
best, stale, done = 0.0, 0, 0
while stale < 15 and done < 200:
    value, done, stale = loop.epoch(), done + 1, stale + 1
    if value > best: best, stale, state = value, 0, {k: v.clone() for k, v in loop.head.state_dict().items()}
loop.head.load_state_dict(state)
tx, ty = read("test")
with torch.no_grad(): scores = torch.sigmoid(loop.head(torch.from_numpy(tx))).numpy()
from sklearn.metrics import average_precision_score
print(done, np.mean(average_precision_score(ty, scores, average=None)))
"""


def whole(folder: str) -> None:
    """Time the reference settings from process start to test metrics."""
    for seed in (1, 2):
        with tempfile.TemporaryDirectory() as outputs:
            overrides = [f"paths.data_root={folder}/features/minilm", f"paths.manifest_dir={folder}/manifests",
                     f"paths.outputs_root={outputs}", "training.learning_rate=1e-3", "training.max_epochs=200",
                     f"utils.seed={seed}", "evaluation.after_training=true", "utils.device=cpu"]  # fmt: skip
            started = time.perf_counter()
            command = [sys.executable, "-m", "ctbench_core", "train", *overrides, "--json"]
            output = subprocess.run(command, capture_output=True, text=True, check=True)
            ours = time.perf_counter() - started
        import json

        result = json.loads(output.stdout.splitlines()[-1])
        started = time.perf_counter()
        plain = subprocess.run(
            [sys.executable, "-c", CONVENTIONAL, folder, str(seed)], capture_output=True, text=True, check=True
        )
        theirs = time.perf_counter() - started
        print(f"seed {seed}: ours {ours:.1f} s, {result['epochs']} epochs, AUPRC {result['test']['test.csv']['auprc']:.4f}; "
              f"conventional {theirs:.1f} s, epochs and AUPRC {plain.stdout.strip()}; {theirs / ours:.2f}x")  # fmt: skip


def main() -> None:
    """Run the named subject."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("subject", choices=["epoch", "convex", "bank", "whole"])
    parser.add_argument("folder", nargs="?", default=str(Path("..") / "shared" / "data" / "ctrate"))
    args = parser.parse_args()
    if args.subject == "whole":
        whole(args.folder)
    else:
        {"epoch": epoch, "convex": convex, "bank": bank}[args.subject]()


if __name__ == "__main__":
    main()
