"""The report of one epoch of one head: losses and validation metrics.

Shape suffixes: K heads, N volumes, C findings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ctbench_core.declared import METRICS, brief_metrics
from ctbench_core.metrics import macro, metric_values


@dataclass(frozen=True)
class EpochReport:
    """Losses and validation metrics of one head after one epoch; NaN where undefined."""

    epoch: int
    train_loss: float
    val_loss: float
    macros: dict[str, float]  # by key in METRICS
    per_class: dict[str, dict[str, float]]
    setting: dict[str, float] = field(default_factory=dict)  # of a head fitted whole: the candidate of this epoch

    def monitored(self, name: str) -> float:
        """Return the metric that selects the best epoch, its sign such that larger is better."""
        value = self.val_loss if name == "loss" else self.macros[name]
        return value if METRICS.resolve(name).larger_is_better else -value

    def line(self) -> dict[str, Any]:
        """Return the entry of ``metrics.jsonl``."""
        metrics = {**self.macros, "per_class": self.per_class}
        losses = {"epoch": self.epoch, "train_loss": self.train_loss, "val_loss": self.val_loss}
        return losses | {"val_metrics": metrics} | self.setting


def report_epochs(
    epochs: Sequence[int],
    train_losses: Sequence[float],
    val_losses: Sequence[float],
    targets_NC: np.ndarray,
    probabilities_KNC: np.ndarray,
    labels: Sequence[str],
) -> list[EpochReport]:
    """Compute the metrics of heads that share their validation rows, all heads and findings in one call."""
    names = [*(metric.name for metric in brief_metrics()), "support"]
    columns = metric_values(names, targets_NC, probabilities_KNC)
    table_KCM = np.stack(list(columns.values()), axis=-1).tolist()
    means = {metric.macro: macro(columns[metric.name])[0].tolist() for metric in brief_metrics() if metric.macro}
    by_label = [{label: dict(zip(columns, row)) for label, row in zip(labels, rows)} for rows in table_KCM]
    return [
        EpochReport(
            epoch, train_losses[k], val_losses[k], {key: values[k] for key, values in means.items()}, by_label[k]
        )
        for k, epoch in enumerate(epochs)
    ]
