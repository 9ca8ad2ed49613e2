"""The learning curves of several runs: one metric of each history, by epoch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ctbench_core.declared import macro_keys, metric_title
from ctbench_core.errors import InputError, RunError
from ctbench_core.runs.history import follow_history, history_frame, smooth, thin
from ctbench_core.runs.store import open_run

MOST_CURVES = 12  # more lines hide one another


@dataclass(frozen=True)
class LearningCurves:
    """One metric of several runs by epoch.

    Attributes:
        epochs: every epoch: run_id, epoch, and the metric under its key.
        drawn: fewer epochs of long runs: run_id, epoch, value; with smoothing, value is smoothed, and raw is not.
        best: the best epoch of each run: run_id, epoch, value.
        missing: why a run has no curve, by run id.
    """

    epochs: pd.DataFrame
    drawn: pd.DataFrame
    best: pd.DataFrame
    missing: dict[str, str]


def curve_titles() -> dict[str, str]:
    """Return the title of each metric of a history by its key; the one to begin with comes first."""
    titles = {key: f"Validation {metric_title(key)}" for key in macro_keys()}
    return titles | {"val_loss": "Validation loss", "train_loss": "Training loss"}


def learning_curves(runs: Mapping[str, Path], metric: str, smoothing: float = 0.0) -> LearningCurves:
    """Read the curves of one metric.

    Args:
        runs: run directories by run id, of which the first `MOST_CURVES` are read.
        metric: a key of `curve_titles`. smoothing: see `smooth`; best epochs stay those of the raw values.
    """
    epochs, drawn, best, missing = [], [], [], {}
    for run_id, folder in list(runs.items())[:MOST_CURVES]:
        try:
            history = follow_history(open_run(folder).paths.metrics)
        except (InputError, RunError) as error:
            missing[run_id] = str(error)
            continue
        frame = history_frame(history)[["epoch", metric]]
        if frame[metric].isna().all():
            missing[run_id] = f"no {curve_titles()[metric]} in its history" if len(frame) else "no finished epoch"
            continue
        line = frame.rename(columns={metric: "value"})
        if smoothing:
            line = line.assign(raw=line["value"], value=smooth(line[["value"]], smoothing)["value"])
        epochs.append(frame.assign(run_id=run_id))
        best.append(line[line["epoch"] == history.best.get("epoch")].assign(run_id=run_id))
        drawn.append(thin(line).assign(run_id=run_id))
    return LearningCurves(_joined(epochs), _joined(drawn), _joined(best), missing)


def _joined(parts: list[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
