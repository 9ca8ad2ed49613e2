"""The report of one epoch of one head: losses and validation metrics.

Shape suffixes: K heads, N volumes, C findings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ctbench_core.metrics import macro, ranking_metrics, thresholded_metrics


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
    setting: dict[str, float] = field(default_factory=dict)  # of a head fitted whole: the candidate of this epoch

    def monitored(self, name: str) -> float:
        """Return the metric that selects the best epoch; larger is better."""
        return -self.val_loss if name == "loss" else float(getattr(self, name))

    def line(self) -> dict[str, Any]:
        """Return the entry of ``metrics.jsonl``."""
        metrics = {"auprc": self.auprc, "auroc": self.auroc, "f1_macro": self.f1_macro, "per_class": self.per_class}
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
    ranks = ranking_metrics(targets_NC, probabilities_KNC)
    calls = thresholded_metrics(targets_NC, probabilities_KNC, 0.5)
    columns = {"auprc": ranks.auprc, "auroc": ranks.auroc}
    columns |= {name: getattr(calls, name) for name in ("precision", "recall", "f1", "support")}
    table_KCM = np.stack(list(columns.values()), axis=-1).tolist()
    auprcs, aurocs, f1s = (macro(columns[name])[0].tolist() for name in ("auprc", "auroc", "f1"))
    by_label = [{label: dict(zip(columns, row)) for label, row in zip(labels, rows)} for rows in table_KCM]
    return [
        EpochReport(epoch, train_losses[k], val_losses[k], auprcs[k], aurocs[k], f1s[k], by_label[k])
        for k, epoch in enumerate(epochs)
    ]
