"""What one epoch of one head came to: losses and validation metrics.

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
    setting: dict[str, float] = field(default_factory=dict)  # the candidate that a fitted head was fitted with

    def monitored(self, name: str) -> float:
        """Return the figure that picks the best epoch, larger being better."""
        return -self.val_loss if name == "loss" else float(getattr(self, name))

    def line(self) -> dict[str, Any]:
        """Return the entry of ``metrics.jsonl``."""
        metrics = {"auprc": self.auprc, "auroc": self.auroc, "f1_macro": self.f1_macro, "per_class": self.per_class}
        return {
            "epoch": self.epoch,
            "train_loss": self.train_loss,
            "val_loss": self.val_loss,
            "val_metrics": metrics,
        } | self.setting


def reports(
    epochs: Sequence[int],
    train_losses: Sequence[float],
    val_losses: Sequence[float],
    targets_NC: np.ndarray,
    probabilities_KNC: np.ndarray,
    labels: Sequence[str],
) -> list[EpochReport]:
    """Measure heads that share their validation rows, all heads and findings in one pass of the metric kernel."""
    ranks = ranking_metrics(targets_NC, probabilities_KNC)
    calls = thresholded_metrics(targets_NC, probabilities_KNC, 0.5)
    columns = {
        "auprc": ranks.auprc,
        "auroc": ranks.auroc,
        "precision": calls.precision,
        "recall": calls.recall,
        "f1": calls.f1,
        "support": calls.support,
    }
    table_KCM = np.stack(list(columns.values()), axis=-1).tolist()
    auprcs, aurocs, f1s = (macro(columns[name])[0].tolist() for name in ("auprc", "auroc", "f1"))
    return [
        EpochReport(
            epoch,
            train_losses[k],
            val_losses[k],
            auprcs[k],
            aurocs[k],
            f1s[k],
            {label: dict(zip(columns, row)) for label, row in zip(labels, table_KCM[k])},
        )
        for k, epoch in enumerate(epochs)
    ]
