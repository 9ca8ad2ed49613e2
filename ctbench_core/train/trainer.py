"""Train a bank of heads epoch by epoch, on tensors that already lie on the device.

The trainer knows no files and no clock: `run.py` drives it, writes what it reports, and decides when
to stop. Every draw comes from a stream keyed by (seed, purpose, epoch), so an epoch can be repeated
after a crash and gives the same weights.

Shape suffixes: K heads, N volumes, M distinct inputs, B batch rows, D features, C findings.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ctbench_core.config import Config
from ctbench_core.errors import ConfigError, RunError
from ctbench_core.metrics import macro, ranking_metrics, thresholded_metrics
from ctbench_core.train.data import Dataset
from ctbench_core.train.heads import Bank, layer_widths
from ctbench_core.train.losses import find_loss, masked_loss, positive_weights
from ctbench_core.train.optim import learning_rate, make_optimizer
from ctbench_core.train.streams import stream

# Rows of one forward pass outside training: bounds memory, costs nothing.
EVALUATION_ROWS = 8192

DTYPES = {"float32": torch.float32, "float64": torch.float64}


@dataclass(frozen=True)
class EpochReport:
    """Losses and validation metrics of one head after one epoch; NaN where undefined."""

    epoch: int
    train_loss: float
    val_loss: float
    auprc: float
    auroc: float
    f1_macro: float
    per_class: dict[str, dict[str, float]]

    def monitored(self, name: str) -> float:
        """Return the figure that picks the best epoch, larger being better."""
        return -self.val_loss if name == "loss" else float(getattr(self, name))

    def line(self) -> dict[str, Any]:
        """Return the entry of ``metrics.jsonl``."""
        metrics = {"auprc": self.auprc, "auroc": self.auroc, "f1_macro": self.f1_macro, "per_class": self.per_class}
        return {"epoch": self.epoch, "train_loss": self.train_loss, "val_loss": self.val_loss, "val_metrics": metrics}


def choose_device(name: str) -> str:
    """Return the torch device that ``utils.device`` means on this machine.

    Raises:
        ConfigError: the name is unknown, or no such device is here.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, index = name.partition(":")
    if kind not in ("cpu", "cuda") or (index and not index.isdigit()):
        raise ConfigError(f"utils.device is {name!r}. Known: auto, cpu, cuda, cuda:N.")
    if kind == "cuda" and int(index or 0) >= torch.cuda.device_count():
        raise ConfigError(
            f"utils.device is {name}, but this machine shows {torch.cuda.device_count()} CUDA devices. Use auto or cpu."
        )
    return name


class Trainer:
    """A bank of K heads, one a seed, with their optimiser, on one dataset."""

    def __init__(self, config: Config, dataset: Dataset, seeds: Sequence[int]) -> None:
        self.options, self.labels = config.training, dataset.manifests["train"].labels
        self.device = choose_device(config.utils.device)
        self.dtype = DTYPES[config.training.precision]
        self.seeds = list(seeds)
        self.matrix_MD = torch.as_tensor(dataset.matrix, dtype=self.dtype, device=self.device)
        self.shift, self.scale = _standardiser(config, dataset)
        if self.shift is not None:
            shift, scale = (torch.as_tensor(v, dtype=self.dtype, device=self.device) for v in (self.shift, self.scale))
            self.matrix_MD = (self.matrix_MD - shift) / scale
        self._train = self._split(dataset, "train")
        self._val = self._split(dataset, "val")
        self.loss = find_loss(config.training.loss._target_)
        self.pos_weight_C = self._pos_weight()
        widths = layer_widths(config.model, dataset.matrix.shape[1], len(self.labels))
        self.bank = Bank(widths, self.seeds, config.model.params.dropout, self.dtype, self.device)
        self.optimizer = make_optimizer(self.bank, config.training)

    def _split(self, dataset: Dataset, name: str) -> tuple[Tensor, Tensor]:
        rows = torch.as_tensor(dataset.rows[name], device=self.device)
        return rows, torch.as_tensor(dataset.manifests[name].targets, dtype=self.dtype, device=self.device)

    def _pos_weight(self) -> Tensor | None:
        given = self.options.loss.pos_weight
        if given is None or given == "auto":
            return positive_weights(self._train[1])
        if given == "none":
            return None
        if isinstance(given, str) or len(given) != len(self.labels):
            raise ConfigError(
                f"training.loss.pos_weight is {given!r}: expected auto, none, or {len(self.labels)} numbers, one a finding."
            )
        return torch.tensor(given, dtype=self.dtype, device=self.device)

    def run_epoch(self, epoch: int, keep_going: Callable[[], bool] = lambda: True) -> list[EpochReport] | None:
        """Train one epoch and validate, epochs counted from 1.

        Returns:
            A report a head, or None when ``keep_going`` turned false: the epoch is then incomplete
            and the bank must be thrown away or restored.

        Raises:
            RunError: the loss is not finite.
        """
        train_loss_K = self._train_epoch(epoch, keep_going)
        if train_loss_K is None:
            return None
        self._require_finite("training", train_loss_K, epoch)
        return self._validate(epoch, train_loss_K)

    def _require_finite(self, kind: str, losses: list[float], epoch: int) -> None:
        if not all(math.isfinite(value) for value in losses):
            raise RunError(
                f"The {kind} loss became {losses} in epoch {epoch}. Lower training.learning_rate "
                f"(now {self.options.learning_rate:g}), or standardise the features (data.standardise=zscore)."
            )

    def _train_epoch(self, epoch: int, keep_going: Callable[[], bool]) -> list[float] | None:
        rows_N, targets_NC = self._train
        orders = [torch.randperm(len(rows_N), generator=stream(seed, "batches", epoch)) for seed in self.seeds]
        order_KN = torch.stack(orders).to(self.device)
        masks = [stream(seed, "dropout", epoch) for seed in self.seeds]
        rate = learning_rate(self.options, epoch)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        total_K = torch.zeros(len(self.seeds), dtype=torch.float64, device=self.device)
        known_K = torch.zeros(len(self.seeds), dtype=torch.int64, device=self.device)
        for batch_KB in order_KN.split(self.options.batch_size, dim=1):
            if not keep_going():
                return None
            logits, inputs = self.bank.forward(self.matrix_MD[rows_N[batch_KB]], masks)
            loss_K, count_K, slope = masked_loss(
                self.loss, logits, targets_NC[batch_KB], self.pos_weight_C, gradient=True
            )
            self.bank.backward(slope, inputs)
            self.optimizer.step()
            total_K += loss_K
            known_K += count_K
        return (total_K / known_K.clamp(min=1)).tolist()

    def _validate(self, epoch: int, train_loss_K: list[float]) -> list[EpochReport]:
        rows_N, targets_NC = self._val
        logits_KNC = forward_rows(self.bank, self.matrix_MD, rows_N)
        targets_KNC = targets_NC.expand(len(self.seeds), -1, -1)
        total_K, count_K, _ = masked_loss(self.loss, logits_KNC, targets_KNC, self.pos_weight_C, gradient=False)
        val_loss_K = (total_K.double() / count_K.clamp(min=1)).tolist()
        self._require_finite("validation", val_loss_K, epoch)  # the last step of an epoch may ruin the weights
        # float32 sigmoids saturate and make ties, so probabilities are taken in float64.
        probabilities = torch.sigmoid(logits_KNC.double()).cpu().numpy()
        targets = targets_NC.cpu().numpy()
        return [
            _report(epoch, train_loss_K[k], val_loss_K[k], targets, probabilities[k], self.labels)
            for k in range(len(self.seeds))
        ]

    def state_dict(self, k: int) -> dict[str, Tensor]:
        """Return head k as a plain state_dict that reads unstandardised features.

        Standardisation is folded into the first layer: W (x - m) / s + b = (W / s) x + (b - W m / s).
        """
        state = self.bank.state_dict(k)
        if self.shift is not None:
            weight = state["network.0.weight"].double() / torch.from_numpy(self.scale)
            bias = state["network.0.bias"].double() - weight @ torch.from_numpy(self.shift)
            state["network.0.weight"], state["network.0.bias"] = weight.to(self.dtype), bias.to(self.dtype)
        return state


def forward_rows(bank: Bank, matrix_MD: Tensor, rows_N: Tensor) -> Tensor:
    """Return the logits of given rows without dropout, shape (K, N, C)."""
    chunks = [bank.logits(matrix_MD[rows]) for rows in rows_N.split(EVALUATION_ROWS)]
    return torch.cat(chunks, dim=1)


def _standardiser(config: Config, dataset: Dataset) -> tuple[np.ndarray | None, np.ndarray]:
    """Return mean and deviation of the training rows, each (D,) float64; a constant dimension keeps 1."""
    if config.data.standardise != "zscore":
        return None, np.ones(1)
    rows = dataset.inputs("train").astype(np.float64)
    constant = rows.min(axis=0) == rows.max(axis=0)  # rounding gives its deviation some 1e-17, not 0
    return rows.mean(axis=0), np.where(constant, 1, rows.std(axis=0))


def _report(
    epoch: int, train_loss: float, val_loss: float, targets: np.ndarray, probabilities: np.ndarray, labels: list[str]
) -> EpochReport:
    ranks = ranking_metrics(targets, probabilities)
    at_half = thresholded_metrics(targets, probabilities, 0.5)
    columns = {
        "auprc": ranks.auprc,
        "auroc": ranks.auroc,
        "precision": at_half.precision,
        "recall": at_half.recall,
        "f1": at_half.f1,
        "support": at_half.support,
    }
    per_class = {label: {name: float(values[c]) for name, values in columns.items()} for c, label in enumerate(labels)}
    auprc, auroc, f1_macro = (float(macro(values)[0]) for values in (ranks.auprc, ranks.auroc, at_half.f1))
    return EpochReport(epoch, train_loss, val_loss, auprc, auroc, f1_macro, per_class)
