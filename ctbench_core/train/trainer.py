"""Train a bank of heads epoch by epoch.

The trainer knows no files and no clock: `loop.py` drives it, writes what it reports, and decides when
to stop. Every draw comes from a stream keyed by (seed, purpose, epoch), so an epoch can be repeated
after a crash and gives the same weights, and no head knows which others share its bank.

Shape suffixes: K heads, S steps of a block, N volumes, B batch rows, D features, C findings.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ctbench_core.config import Config, TrainingConfig
from ctbench_core.dataset import Dataset
from ctbench_core.declared import STEPWISE, head_name
from ctbench_core.errors import ConfigError, RunError
from ctbench_core.train.bank import Bank, take_heads
from ctbench_core.train.batches import Batches, Block, Features, Rows
from ctbench_core.train.epoch import EpochReport, reports
from ctbench_core.train.fitted import Fitter, make_fitter
from ctbench_core.train.heads import check_head, layer_widths
from ctbench_core.train.losses import class_weights, element_weights, find_loss, known_labels, slopes, weighted_sum
from ctbench_core.train.network import Dropout, Gated, Mlp, Network, parts_for
from ctbench_core.train.optim import Optimiser
from ctbench_core.train.standardise import Scaler, fit_scaler, folded

# Numbers in the widest layer of one forward pass outside training, features included: its memory stays in the cache.
EVALUATION_UNITS = 1 << 21

DTYPES = {"float32": torch.float32, "float64": torch.float64, "bf16": torch.float32}


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


def make_trainer(configs: Sequence[Config], datasets: Sequence[Dataset]) -> Trainer | Fitter:
    """Return what trains these heads: a bank, or the fit of a head that is not trained step by step."""
    check_head(configs[0].model)
    if head_name(configs[0].model._target_) in STEPWISE:
        return Trainer(configs, datasets)
    return make_fitter(configs[0], datasets[0], choose_device(configs[0].utils.device))


def _network(config: Config, dataset: Dataset, heads: int, device: str) -> Network:
    labels = len(dataset.manifests["train"].labels)
    widths, dropout = layer_widths(config.model, dataset.matrix.shape[1], labels), Dropout(config.model.params.dropout)
    if config.model.inputs != "gated":
        return Mlp(widths, dropout, parts_for(widths[1], heads, device) if len(widths) > 2 else 1)
    gate = 1 if config.model.params.gate == "scalar" else widths[1]
    return Gated(dataset.widths, widths[1:], gate, dropout)


class Trainer:
    """K heads of one shape on the rows of one matrix, with their optimiser.

    Heads are kept in falling order of training rows; whoever calls sees them in the order given.
    """

    def __init__(
        self, configs: Sequence[Config], datasets: Sequence[Dataset], features: Features | None = None
    ) -> None:
        first, data = configs[0], datasets[0]
        self.labels = data.manifests["train"].labels
        self.device, self.dtype = choose_device(first.utils.device), DTYPES[first.training.precision]
        work = torch.bfloat16 if first.training.precision == "bf16" else self.dtype
        self.order = sorted(range(len(configs)), key=lambda k: -len(datasets[k].rows["train"]))
        self.configs = [configs[k] for k in self.order]
        self.datasets = [datasets[k] for k in self.order]
        self.seeds = [config.utils.seed for config in self.configs]
        self.features = features or Features(data.matrix, work, self.device)
        self._tensors: dict[bytes, Rows] = {}
        self._train = [self._rows(dataset, "train", self._scaler(dataset)) for dataset in self.datasets]
        scalers = [rows.scaler for rows in self._train]
        self._val = [self._rows(dataset, "val", scaler) for dataset, scaler in zip(self.datasets, scalers)]
        self.loss = find_loss(first.training.loss._target_)
        self.pos_weight_K1C = self._pos_weight()
        self.network = _network(first, data, len(configs), self.device)
        self.bank = Bank(self.network, len(configs), self.dtype, self.device, work)
        for k, seed in enumerate(self.seeds):
            self.bank.initialise(k, seed)
        self.optimiser = Optimiser(self.bank, [config.training for config in self.configs])
        self._batches = Batches(self.features, self._train, first.training.batch_size, self.network)

    def _rows(self, dataset: Dataset, split: str, scaler: Scaler | None) -> Rows:
        """Return the rows of a split; heads whose rows are equal get the same ones."""
        rows, targets = dataset.rows[split], dataset.manifests[split].targets
        key = hashlib.blake2b(rows.tobytes() + targets.tobytes() + str(id(scaler)).encode()).digest()
        if key not in self._tensors:
            there = torch.as_tensor(targets, dtype=self.dtype, device=self.device)
            self._tensors[key] = Rows(torch.as_tensor(rows, device=self.device), there, scaler)
        return self._tensors[key]

    def _scaler(self, dataset: Dataset) -> Scaler | None:
        """Return mean and deviation of the training rows, the same ones for equal rows; a constant dimension keeps 1."""
        if self.configs[0].data.standardise != "zscore":
            return None
        key = dataset.rows["train"].tobytes()
        if key not in self.features.scalers:
            found = fit_scaler(self.configs[0], dataset, self.dtype, self.device)
            assert found is not None
            self.features.scalers[key] = found
        return self.features.scalers[key]

    def _pos_weight(self) -> Tensor | None:
        weights = [
            class_weights(config, rows.targets, len(self.labels)) for config, rows in zip(self.configs, self._train)
        ]
        if all(weight is None for weight in weights):
            return None
        ones = self._train[0].targets.new_ones(len(self.labels))
        return torch.stack([ones if weight is None else weight for weight in weights]).unsqueeze(1)

    def run_epoch(
        self, epochs: Sequence[int], keep_going: Callable[[], bool] = lambda: True
    ) -> list[EpochReport | RunError] | None:
        """Train each head for the given epoch, counted from 1, and validate it.

        Returns:
            A report a head, or the error of a head whose loss is not finite; None when ``keep_going`` turned false:
            the epoch is then incomplete and the bank must be thrown away or restored.
        """
        own = [epochs[k] for k in self.order]
        train_loss_K = self._train_epoch(own, keep_going)
        if train_loss_K is None:
            return None
        found: list[Any] = [None] * len(own)
        for given, outcome in zip(self.order, self._validate(own, train_loss_K)):
            found[given] = outcome
        return found

    def _train_epoch(self, epochs: Sequence[int], keep_going: Callable[[], bool]) -> list[float] | None:
        total_K = torch.zeros(len(epochs), dtype=torch.float64, device=self.device)
        known_K = torch.zeros_like(total_K)
        self.optimiser.start_epoch(epochs)
        with torch.inference_mode():
            for block in self._batches.epoch(self.seeds, epochs):
                if not keep_going():
                    return None
                total_K += self._train_block(block)
                known_K += block.count_SK.sum(dim=0)
        return (total_K / known_K.clamp(min=1)).tolist()

    def _train_block(self, block: Block) -> Tensor:
        """Take the steps of a block; return each head's summed loss (K,)."""
        weight_SKBC = element_weights(block.y_SKBC, block.known_SKBC, self.pos_weight_K1C)
        share_SKBC = weight_SKBC / block.count_SK.clamp(min=1).to(self.dtype)[..., None, None]
        logits_SKBC = torch.zeros_like(block.y_SKBC)
        parts = [block.x_SKBD, logits_SKBC, block.y_SKBC, share_SKBC, *block.draws]
        whole = tuple(block.x_SKBD.shape[1:3])  # heads, rows; random bytes may have the parts of the one head instead
        for (heads, rows), step in zip(block.sizes, zip(*(part.unbind() for part in parts))):
            full = (heads, rows) == whole
            self._step(heads, *(step if full else (t[: len(t) * heads // whole[0], :rows] for t in step)))
        return weighted_sum(self.loss, logits_SKBC, block.y_SKBC, weight_SKBC).sum(dim=0)

    def _step(
        self, heads: int, x_KBD: Tensor, logits_KBC: Tensor, y_KBC: Tensor, share_KBC: Tensor, *draws: Tensor
    ) -> None:
        """Move the first heads by one batch each, and leave its logits."""
        layers, grads = self.bank.first(heads)
        self.bank.refresh()
        self.network.forward(layers, x_KBD, draws, logits_KBC)
        slope = slopes(self.loss, logits_KBC, y_KBC).mul_(share_KBC)
        self.network.backward(layers, slope, grads)
        self.bank.collect()
        self.optimiser.step(heads)

    def _validate(self, epochs: Sequence[int], train_loss_K: Sequence[float]) -> list[EpochReport | RunError]:
        found: list[Any] = [None] * len(epochs)
        groups: dict[int, list[int]] = {}
        for k, rows in enumerate(self._val):
            groups.setdefault(id(rows), []).append(k)
        for heads in groups.values():
            for k, outcome in zip(heads, self._validate_together(heads, epochs, train_loss_K)):
                found[k] = outcome
        return found

    def _validate_together(
        self, heads: list[int], epochs: Sequence[int], train_loss_K: Sequence[float]
    ) -> list[EpochReport | RunError]:
        """Measure heads that share their validation rows."""
        val = self._val[heads[0]]
        with torch.inference_mode():
            logits_KNC = self.logits(val, heads)
            labels, known = known_labels(val.targets)
            class_weight = None if self.pos_weight_K1C is None else self.pos_weight_K1C[heads]
            weights = element_weights(labels, known, class_weight)
            total_K = weighted_sum(self.loss, logits_KNC, labels.expand_as(logits_KNC), weights)
            loss_K = (total_K / known.sum().clamp(min=1)).tolist()
            # float32 sigmoids saturate and make ties, so probabilities are taken in float64.
            probabilities = torch.sigmoid(logits_KNC.double()).cpu().numpy()
        broken = [self._trouble(k, epochs[k], train_loss_K[k], loss) for k, loss in zip(heads, loss_K)]
        if any(broken):
            probabilities = np.nan_to_num(probabilities)
        train = [train_loss_K[k] for k in heads]
        found = reports(
            [epochs[k] for k in heads], train, loss_K, val.targets.cpu().numpy(), probabilities, self.labels
        )
        return [error or report for error, report in zip(broken, found)]

    def _trouble(self, k: int, epoch: int, train_loss: float, val_loss: float) -> RunError | None:
        """Return the error of a loss that is not finite; the last step of an epoch may ruin the weights."""
        for kind, value in (("training", train_loss), ("validation", val_loss)):
            if not math.isfinite(value):
                return RunError(
                    f"The {kind} loss became {value} in epoch {epoch}. Lower training.learning_rate (now "
                    f"{self.configs[k].training.learning_rate:g}), or standardise the features (data.standardise=zscore)."
                )
        return None

    def logits(self, rows: Rows, heads: Sequence[int]) -> Tensor:
        """Return the logits of some heads on rows that they share, shape (K, N, C), without dropout."""
        every = list(heads) == list(range(len(self.bank)))
        chosen = [slice(None)] if every else [slice(k, k + 1) for k in heads]
        units = max([*self.network.hidden, len(self.labels)]) * (len(self.bank) if every else 1)
        size = max(64, EVALUATION_UNITS // max(units, self.features.width))
        parts = []
        for chunk in rows.rows.split(size):
            x = self.features.take(chunk, rows.scaler)
            parts.append(torch.cat([self.bank.logits(x, one) for one in chosen]))
        return torch.cat(parts, dim=1)

    def state_dict(self, given: int) -> dict[str, Tensor]:
        """Return a head as a plain state_dict that reads unstandardised features."""
        k = self.order.index(given)
        return folded(self.bank.state_dict(k), self.network.reads, self._train[k].scaler)

    def limits(self, options: TrainingConfig) -> TrainingConfig:
        """Return how long a run may go on: as its options say."""
        return options

    def snapshot(self, given: int) -> dict[str, Any]:
        """Return weights and optimiser state of a head, for its checkpoint."""
        k = self.order.index(given)
        return {"model": self.bank.state_dict(k), "optimizer": self.optimiser.state_dict(k)}

    def anew(self) -> Callable[[Sequence[int]], Trainer]:
        """Return what makes trainers of some of the heads as they were before their first epoch."""
        given = {k: (config, data) for k, config, data in zip(self.order, self.configs, self.datasets)}
        features = self.features  # nothing below keeps the bank itself in memory

        def make(heads: Sequence[int]) -> Trainer:
            configs, datasets = zip(*(given[k] for k in heads))
            return Trainer(configs, datasets, features)

        return make

    def keep(self, heads: Sequence[int]) -> Trainer:
        """Return a trainer of some of the heads, as they are now."""
        rest = self.anew()(heads)
        chosen = [self.order.index(heads[k]) for k in rest.order]
        rest.bank.flat_KP.copy_(rest.bank.laid(take_heads(self.bank.plain(self.bank.flat_KP), chosen)))
        rest.optimiser.step_K.copy_(take_heads(self.optimiser.step_K, chosen))
        for name, tensor in rest.optimiser.moments.items():
            tensor.copy_(rest.bank.laid(take_heads(self.bank.plain(self.optimiser.moments[name]), chosen)))
        return rest

    def restore(self, given: int, saved: dict[str, Any]) -> None:
        """Continue a head from its checkpoint.

        Raises:
            CheckpointError: it is of another shape, or another optimiser's.
        """
        k = self.order.index(given)
        self.bank.load_state_dict(k, saved["model"])
        self.optimiser.load_state_dict(k, saved["optimizer"])
