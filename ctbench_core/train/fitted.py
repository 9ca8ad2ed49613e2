"""Heads that are fitted whole, once for each candidate setting; the best candidate on validation is kept.

Each candidate counts as an epoch, so that such a run has the same files, resume and pages as any other. A candidate
is a penalty strength of logistic regression or a number of neighbours of kNN.

Shape suffixes: N volumes, B rows, D features, C findings.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ctbench_core.config import Config, TrainingConfig
from ctbench_core.dataset import Dataset, finding_columns
from ctbench_core.errors import ConfigError, RunError
from ctbench_core.train.checkpoint import head_logits, load_head
from ctbench_core.train.epoch_report import EpochReport, report_epochs
from ctbench_core.train.inputs import DeviceFeatures, Rows, fit_scaler, fold_scaler
from ctbench_core.train.logistic import LogisticPath
from ctbench_core.train.losses import class_weights, element_weights, known_labels
from ctbench_core.train.prompts import read_prompts

DTYPES = {"float32": torch.float32, "float64": torch.float64, "bf16": torch.float32}


class Fitter:
    """One head that is fitted once for each candidate; it has the interface of a trainer of one head."""

    candidates: Sequence[Any]
    setting = ""  # name of a candidate in metrics.jsonl

    def __init__(self, config: Config, dataset: Dataset, device: str) -> None:
        self.config, self.dataset, self.device = config, dataset, device
        self.dtype = DTYPES[config.training.precision]
        self.labels = dataset.manifests["train"].labels
        self.features = DeviceFeatures(dataset.matrix, self.dtype, device)
        self.scaler = fit_scaler(config, dataset, self.dtype, device)
        self.train, self.val = self._rows("train"), self._rows("val")
        self.pos_weight_C = class_weights(config, self.train.targets, len(self.labels))
        self.state: dict[str, Tensor] = {}
        self.prepare()

    def _rows(self, split: str) -> Rows:
        targets = torch.as_tensor(self.dataset.manifests[split].targets, dtype=self.dtype, device=self.device)
        return Rows(torch.as_tensor(self.dataset.rows[split]), targets, self.scaler)

    def prepare(self) -> None:
        """Set ``candidates`` and what all of them need."""
        raise NotImplementedError

    def fit(self, candidate: Any, keep_going: Callable[[], bool]) -> float | None:
        """Set ``state`` for a candidate; return the training loss, NaN where there is none, None when stopped."""
        return float("nan")

    def limits(self, options: TrainingConfig) -> TrainingConfig:
        """Return the options with one epoch for each candidate."""
        count = len(self.candidates)
        return dataclasses.replace(options, max_epochs=count, early_stopping_patience=count)

    def run_epoch(
        self, epochs: Sequence[int], keep_going: Callable[[], bool] = lambda: True
    ) -> list[EpochReport | RunError] | None:
        """Fit the candidate of an epoch and validate it."""
        candidate = self.candidates[epochs[0] - 1]
        with torch.inference_mode():
            loss = self.fit(candidate, keep_going)
            if loss is None:
                return None
            logits = head_logits(load_head(self.state, self.device), self.features, self.val.rows)
            labels, known = known_labels(self.val.targets)
            weights = element_weights(labels, known, self.pos_weight_C).double()
            values = F.binary_cross_entropy_with_logits(logits.double(), labels.double(), weights, reduction="sum")
            probabilities = torch.sigmoid(logits.double()).cpu().numpy()[None]
        val_loss = float(values / known.sum().clamp(min=1))
        (report,) = report_epochs(
            epochs, [loss], [val_loss], self.val.targets.cpu().numpy(), probabilities, self.labels
        )
        return [dataclasses.replace(report, setting={self.setting: candidate} if self.setting else {})]

    def convergence(
        self, head: int, auprc: Mapping[str, float], losses: Sequence[float], keep_going: Callable[[], bool]
    ) -> None:
        """Return None: a head that is fitted whole is not stopped early."""

    def starter(self) -> Callable[[Sequence[int]], Fitter]:
        """Return a function that makes the fitter again."""
        kind, config, dataset, device = type(self), self.config, self.dataset, self.device
        return lambda heads: kind(config, dataset, device)

    def subset(self, heads: Sequence[int]) -> Fitter:
        """Return this fitter: it has one head."""
        return self

    def state_dict(self, head: int) -> dict[str, Tensor]:
        """Return the head of the present candidate."""
        return {name: tensor.cpu().clone() for name, tensor in self.state.items()}

    def snapshot(self, head: int) -> dict[str, Any]:
        """Return what the next candidate needs for its start."""
        return {"model": {}, "optimizer": {}}

    def restore(self, head: int, saved: dict[str, Any]) -> None:
        """Continue after the candidates of a checkpoint."""


class Logistic(Fitter):
    """Logistic regression of every finding, from the strongest penalty to the weakest."""

    setting = "c"

    def prepare(self) -> None:
        self.candidates = sorted(self.config.model.params.c)  # each fit starts from the result of the one before
        self._paths: list[tuple[Tensor, Tensor, LogisticPath]] = []  # findings, their columns and the bias, their path
        self._start: Tensor | None = None

    def fit(self, candidate: float, keep_going: Callable[[], bool]) -> float | None:
        self._paths = self._paths or self._make_paths()
        width, counts = self.features.width + 1, [float(path.count_C.sum()) for *_, path in self._paths]
        weights = torch.zeros((len(self.labels), width), dtype=torch.float64, device=self.device)
        loss = 0.0
        for (findings, columns, path), count in zip(self._paths, counts):
            before = None if self._start is None else self._start[findings[:, None], columns]
            result = path.fit(candidate, before, keep_going)
            if result is None:
                return None
            weights[findings[:, None], columns] = result[0]
            loss += result[1] * (count / sum(counts))
        self._start = weights
        weight, bias = (part.to(self.dtype).contiguous() for part in (self._start[:, :-1], self._start[:, -1]))
        state = {"network.0.weight": weight, "network.0.bias": bias}
        self.state = fold_scaler(state, {"network.0": slice(None)}, self.scaler)
        return loss

    def _make_paths(self) -> list[tuple[Tensor, Tensor, LogisticPath]]:
        """Return the paths of the findings that read the same columns; one path where all read all."""
        labels, known = known_labels(self.train.targets)
        weights = element_weights(labels, known, self.pos_weight_C)
        x_ND = self.features.take(self.train.rows, self.scaler).clone()
        every = torch.arange(self.features.width + 1, device=self.device)
        read = [slice(0, self.features.width)] * len(self.labels)
        if self.config.data.per_finding:
            read = finding_columns(self.config, self.labels, self.dataset.widths)
        paths = []
        for own in dict.fromkeys((part.start, part.stop) for part in read):
            findings = torch.tensor([c for c, part in enumerate(read) if (part.start, part.stop) == own])
            findings = findings.to(self.device)
            columns = torch.cat([every[slice(*own)], every[-1:]])
            parts = (values[:, findings] for values in (labels, weights, known))
            paths.append((findings, columns, LogisticPath(x_ND[:, slice(*own)].contiguous(), *parts)))
        return paths

    def snapshot(self, head: int) -> dict[str, Any]:
        return {"model": {"start": self._start.cpu().clone()} if self._start is not None else {}, "optimizer": {}}

    def restore(self, head: int, saved: dict[str, Any]) -> None:
        start = saved["model"]["start"]
        expected = (len(self.labels), self.features.width + 1)
        if tuple(start.shape) != expected:
            raise ConfigError(f"The weights have shape {tuple(start.shape)}, but the data need {expected}.")
        self._start = start.to(self.device)


class Neighbours(Fitter):
    """k nearest training volumes by cosine, and the share of positives among them for each finding."""

    setting = "k"

    def prepare(self) -> None:
        count = len(self.train.rows)
        self.candidates = sorted({min(k, count) for k in self.config.model.params.k})

    def fit(self, candidate: int, keep_going: Callable[[], bool]) -> float | None:
        x_ND = self.features.take(self.train.rows, self.scaler)
        self.state = {
            "knn.features": F.normalize(x_ND, dim=1),
            "knn.targets": self.train.targets,
            "knn.k": torch.tensor(candidate),
        }
        if self.scaler is not None:
            self.state |= {"knn.shift": self.scaler.shift, "knn.scale": self.scaler.scale}
        return float("nan")


class ZeroShot(Fitter):
    """Similarity to the positive prompt of a finding minus that to its negative prompt; nothing is fitted."""

    def prepare(self) -> None:
        self.candidates = [None]
        assert self.config.model.prompts is not None  # a zero-shot head without prompts is refused
        prompts = read_prompts(self.config.model.prompts, self.labels, self.features.width)
        self.state = {f"zero_shot.{name}": tensor.to(self.device, self.dtype) for name, tensor in prompts.items()}
