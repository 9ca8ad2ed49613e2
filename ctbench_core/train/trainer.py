"""Train a stack of heads epoch by epoch.

The trainer knows no files and no clock: `loop.py` drives it, writes its reports, and decides when to stop. Every draw
comes from a stream keyed by (seed, purpose, epoch), so an epoch that is repeated after a crash gives the same weights,
whichever heads share the stack.

Shape suffixes: K heads, S steps of a block, N volumes, B batch rows, D features, C findings.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ctbench_core.config import Config, TrainingConfig
from ctbench_core.dataset import Dataset, finding_columns
from ctbench_core.declared import HEADS, load
from ctbench_core.errors import RunError
from ctbench_core.runs import Convergence, loss_error_text
from ctbench_core.train import losses
from ctbench_core.train.batches import Batches, Block
from ctbench_core.train.convergence import LinearRun, compare_with_optimum, has_optimum
from ctbench_core.train.epoch_report import EpochReport, report_epochs
from ctbench_core.train.fitted import DTYPES, Fitter
from ctbench_core.train.inputs import DeviceFeatures, Rows, Scaler, fit_scaler
from ctbench_core.train.module import ModuleNetwork
from ctbench_core.train.network import Network, Probes
from ctbench_core.train.optim import Optimiser
from ctbench_core.train.parameters import StackedParameters, take_heads
from ctbench_core.train.refusals import check_device, check_training

# Values in the widest layer of one forward pass outside training, features included: that many stay in the cache.
EVALUATION_UNITS = 1 << 21


def choose_device(name: str) -> str:
    """Return the torch device of ``utils.device`` on this machine.

    Raises:
        ConfigError: the name is unknown, or this machine has no such device.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    check_device(name)
    return name


def make_trainer(configs: Sequence[Config], datasets: Sequence[Dataset]) -> Trainer | Fitter:
    """Return the trainer of a stack, or the fitter of a head that is fitted whole."""
    config, dataset = configs[0], datasets[0]
    check_training(config, dataset.manifests["train"].labels)
    head = HEADS.resolve(config.model._target_)
    if head.stepwise:
        return Trainer(configs, datasets)
    fitter: Fitter = load(head.fitter)(config, dataset, choose_device(config.utils.device))
    return fitter


def _network(config: Config, dataset: Dataset, heads: int, device: str) -> Network:
    head, labels = HEADS.resolve(config.model._target_), dataset.manifests["train"].labels
    if head.module:
        return ModuleNetwork(load(head.module), config.model.params, dataset.matrix.shape[1], len(labels))
    if config.data.per_finding:
        return Probes(finding_columns(config, labels, dataset.widths), dataset.matrix.shape[1])
    network: Network = load(head.network)(config.model, dataset.widths, len(labels))
    network.divide(heads, device)
    return network


class Trainer:
    """K heads of one shape on the rows of one matrix, with their optimiser.

    Inside, heads are ordered by falling number of training rows (``order``); callers number them as they passed them.
    """

    def __init__(
        self, configs: Sequence[Config], datasets: Sequence[Dataset], features: DeviceFeatures | None = None
    ) -> None:
        first, data = configs[0], datasets[0]
        self.labels = data.manifests["train"].labels
        self.device, self.dtype = choose_device(first.utils.device), DTYPES[first.training.precision]
        work = torch.bfloat16 if first.training.precision == "bf16" else self.dtype
        self.order = sorted(range(len(configs)), key=lambda k: -len(datasets[k].rows["train"]))
        self.configs = [configs[k] for k in self.order]
        self.datasets = [datasets[k] for k in self.order]
        self.seeds = [config.utils.seed for config in self.configs]
        self.features = features or DeviceFeatures(data.matrix, work, self.device)
        self._tensors: dict[bytes, Rows] = {}
        self._train = [self._rows(dataset, "train", self._scaler(dataset)) for dataset in self.datasets]
        scalers = [rows.scaler for rows in self._train]
        self._val = [self._rows(dataset, "val", scaler) for dataset, scaler in zip(self.datasets, scalers)]
        self.loss = losses.bind_loss(first.training.loss)
        self.pos_weight_K1C = self._pos_weight()
        self.network = _network(first, data, len(configs), self.device)
        self.parameters = StackedParameters(self.network, len(configs), self.dtype, self.device, work)
        for k, seed in enumerate(self.seeds):
            self.parameters.initialise(k, seed)
        self.optimiser = Optimiser(self.parameters, [config.training for config in self.configs])
        self._batches = Batches(
            self.features, self._train, first.training.batch_size, self.network, first.training.shuffle
        )

    def _rows(self, dataset: Dataset, split: str, scaler: Scaler | None) -> Rows:
        """Return the rows of a split; heads with equal rows share one object."""
        rows, targets = dataset.rows[split], dataset.manifests[split].targets
        key = hashlib.blake2b(rows.tobytes() + targets.tobytes() + str(id(scaler)).encode()).digest()
        if key not in self._tensors:
            targets_NC = torch.as_tensor(targets, dtype=self.dtype, device=self.device)
            self._tensors[key] = Rows(torch.as_tensor(rows, device=self.device), targets_NC, scaler)
        return self._tensors[key]

    def _scaler(self, dataset: Dataset) -> Scaler | None:
        """Return the scaler of the training rows; heads with equal rows share one object."""
        key = dataset.rows["train"].tobytes()
        if key not in self.features.scalers:
            self.features.scalers[key] = fit_scaler(self.configs[0], dataset, self.dtype, self.device)
        return self.features.scalers[key]

    def _pos_weight(self) -> Tensor | None:
        weights = [
            losses.class_weights(config, rows.targets, len(self.labels))
            for config, rows in zip(self.configs, self._train)
        ]
        if all(weight is None for weight in weights):
            return None
        ones = self._train[0].targets.new_ones(len(self.labels))
        return torch.stack([ones if weight is None else weight for weight in weights]).unsqueeze(1)

    def run_epoch(
        self, epochs: Sequence[int], keep_going: Callable[[], bool] = lambda: True
    ) -> list[EpochReport | RunError] | None:
        """Train each head for its epoch, counted from 1, and validate it.

        Returns:
            For each head a report, or the error of a loss that is not finite; None when ``keep_going`` turned false:
            the epoch is then incomplete, and the trainer must be discarded or restored.
        """
        ordered = [epochs[k] for k in self.order]
        train_loss_K = self._train_epoch(ordered, keep_going)
        if train_loss_K is None:
            return None
        outcomes = dict(zip(self.order, self._validate(ordered, train_loss_K)))
        return [outcomes[head] for head in range(len(epochs))]

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
        """Run the steps of a block; return each head's summed loss (K,)."""
        weight_SKBC = losses.element_weights(block.y_SKBC, block.known_SKBC, self.pos_weight_K1C)
        share_SKBC = weight_SKBC / block.count_SK.clamp(min=1).to(self.dtype)[..., None, None]
        logits_SKBC = torch.zeros_like(block.y_SKBC)
        parts = [block.x_SKBD, logits_SKBC, block.y_SKBC, share_SKBC, *block.draws]
        whole = tuple(block.x_SKBD.shape[1:3])  # heads, rows; dropout bytes may have the parts of a single head instead
        for (heads, rows), step in zip(block.sizes, zip(*(part.unbind() for part in parts))):
            full = (heads, rows) == whole
            self._step(heads, *(step if full else (t[: len(t) * heads // whole[0], :rows] for t in step)))
        return losses.weighted_sum(self.loss.values, logits_SKBC, block.y_SKBC, weight_SKBC).sum(dim=0)

    def _step(
        self, heads: int, x_KBD: Tensor, logits_KBC: Tensor, y_KBC: Tensor, share_KBC: Tensor, *draws: Tensor
    ) -> None:
        """Update the first heads by one batch each, and write its logits into ``logits_KBC``."""
        layers, grads = self.parameters.leading_layers(heads)
        self.parameters.update_work_copy()
        self.network.forward(layers, x_KBD, draws, logits_KBC)
        slope = self.loss.gradient(logits_KBC, y_KBC).mul_(share_KBC)
        self.network.backward(layers, slope, grads)
        self.parameters.collect_gradients()
        self.optimiser.step(heads)

    def _validate(self, epochs: Sequence[int], train_loss_K: Sequence[float]) -> list[EpochReport | RunError]:
        outcomes: dict[int, EpochReport | RunError] = {}
        groups: dict[int, list[int]] = {}
        for k, rows in enumerate(self._val):
            groups.setdefault(id(rows), []).append(k)
        for heads in groups.values():
            outcomes |= zip(heads, self._validate_together(heads, epochs, train_loss_K))
        return [outcomes[k] for k in range(len(epochs))]

    def _validate_together(
        self, heads: list[int], epochs: Sequence[int], train_loss_K: Sequence[float]
    ) -> list[EpochReport | RunError]:
        """Validate heads that share their validation rows."""
        val = self._val[heads[0]]
        with torch.inference_mode():
            logits_KNC = self.logits(val, heads)
            labels, known = losses.known_labels(val.targets)
            class_weight = None if self.pos_weight_K1C is None else self.pos_weight_K1C[heads]
            weights = losses.element_weights(labels, known, class_weight)
            total_K = losses.weighted_sum(self.loss.values, logits_KNC, labels.expand_as(logits_KNC), weights)
            loss_K = (total_K / known.sum().clamp(min=1)).tolist()
            # float32 sigmoids saturate and make ties, so probabilities are taken in float64.
            probabilities = torch.sigmoid(logits_KNC.double()).cpu().numpy()
        errors = [self._loss_error(k, epochs[k], train_loss_K[k], loss) for k, loss in zip(heads, loss_K)]
        if any(errors):
            probabilities = np.nan_to_num(probabilities)
        train = [train_loss_K[k] for k in heads]
        reports = report_epochs(
            [epochs[k] for k in heads], train, loss_K, val.targets.cpu().numpy(), probabilities, self.labels
        )
        return [error or report for error, report in zip(errors, reports)]

    def _loss_error(self, k: int, epoch: int, train_loss: float, val_loss: float) -> RunError | None:
        """Return the error of a loss that is not finite; validation shows it when the last step ruined the weights."""
        for kind, value in (("training", train_loss), ("validation", val_loss)):
            if not math.isfinite(value):
                return RunError(
                    f"{loss_error_text(kind, value, epoch)} Lower training.learning_rate (now "
                    f"{self.configs[k].training.learning_rate:g}), or standardise the features (data.standardise=zscore)."
                )
        return None

    def logits(self, rows: Rows, heads: Sequence[int]) -> Tensor:
        """Return the logits of some heads on shared rows, shape (K, N, C), without dropout."""
        every = list(heads) == list(range(len(self.parameters)))
        groups = [slice(None)] if every else [slice(k, k + 1) for k in heads]
        units = max([*self.network.hidden, len(self.labels)]) * (len(self.parameters) if every else 1)
        size = max(64, EVALUATION_UNITS // max(units, self.features.width))
        parts = []
        for chunk in rows.rows.split(size):
            x = self.features.take(chunk, rows.scaler)
            parts.append(torch.cat([self.parameters.logits(x, group) for group in groups]))
        return torch.cat(parts, dim=1)

    def state_dict(self, head: int) -> dict[str, Tensor]:
        """Return the state_dict of a head, for unstandardised features."""
        k = self.order.index(head)
        return self.network.stored(self.parameters.state_dict(k), self._train[k].scaler)

    def convergence(
        self, head: int, auprc: Mapping[str, float], losses: Sequence[float], keep_going: Callable[[], bool]
    ) -> Convergence | None:
        """Compare a head's best epoch with its optimum; None where it has none, or when stopped.

        Args:
            auprc: of the best epoch on validation, by finding.
            losses: the training losses of the last epochs.
        """
        k = self.order.index(head)
        if not has_optimum(self.configs[k]):
            return None
        weight_C = None if self.pos_weight_K1C is None else self.pos_weight_K1C[k, 0]
        known = int((~torch.isnan(self._train[k].targets)).sum())
        run = LinearRun(self.configs[k], self.features, self._train[k], self._val[k], weight_C, known)
        return compare_with_optimum(run, self.datasets[k].manifests["val"], auprc, losses, keep_going)

    def limits(self, options: TrainingConfig) -> TrainingConfig:
        """Return the options that limit a run's epochs, here unchanged."""
        return options

    def snapshot(self, head: int) -> dict[str, Any]:
        """Return weights and optimiser state of a head, for its checkpoint."""
        k = self.order.index(head)
        return {"model": self.parameters.state_dict(k), "optimizer": self.optimiser.state_dict(k)}

    def starter(self) -> Callable[[Sequence[int]], Trainer]:
        """Return a function that makes trainers of some of the heads, as before their first epoch."""
        inputs = {k: (config, data) for k, config, data in zip(self.order, self.configs, self.datasets)}
        features = self.features  # the function below must not keep this trainer in memory

        def start(heads: Sequence[int]) -> Trainer:
            configs, datasets = zip(*(inputs[k] for k in heads))
            return Trainer(configs, datasets, features)

        return start

    def subset(self, heads: Sequence[int]) -> Trainer:
        """Return a trainer of some of the heads, as they are now."""
        trainer = self.starter()(heads)
        positions = [self.order.index(heads[k]) for k in trainer.order]

        def copy(target: Tensor, source: Tensor) -> None:
            rows = take_heads(self.parameters.to_canonical(source), positions)
            target.copy_(trainer.parameters.to_parts(rows))

        copy(trainer.parameters.flat_KP, self.parameters.flat_KP)
        trainer.optimiser.step_K.copy_(take_heads(self.optimiser.step_K, positions))
        for name, tensor in trainer.optimiser.moments.items():
            copy(tensor, self.optimiser.moments[name])
        return trainer

    def restore(self, head: int, saved: dict[str, Any]) -> None:
        """Continue a head from its checkpoint; refuse one of another shape or optimiser."""
        k = self.order.index(head)
        self.parameters.load_state_dict(k, saved["model"])
        self.optimiser.load_state_dict(k, saved["optimizer"])
