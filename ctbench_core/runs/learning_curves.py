"""The learning curves of several runs: some metrics of each history, by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ctbench_core.declared import macro_keys, metric_title
from ctbench_core.errors import InputError, RunError
from ctbench_core.runs.history import follow_history, history_frame, smooth, thin
from ctbench_core.runs.store import open_run

MOST_CURVES = 12  # more lines hide one another
MOST_METRICS = 4  # drawn side by side
FIRST_METRICS = ("auprc", "val_loss")  # what is drawn before any is chosen


@dataclass(frozen=True)
class LearningCurves:
    """Some metrics of several runs by epoch.

    Attributes:
        epochs: every epoch: run_id, epoch, and each metric under its key.
        drawn: fewer epochs of long runs: metric, run_id, epoch, value; with smoothing, value is smoothed, and raw is not.
        best: the best epoch of each run: metric, run_id, epoch, value.
        missing: why a run lacks curves, by run id.
    """

    epochs: pd.DataFrame
    drawn: pd.DataFrame
    best: pd.DataFrame
    missing: dict[str, str]


def curve_titles() -> dict[str, str]:
    """Return the title of each metric of a history by its key."""
    titles = {key: f"Validation {metric_title(key)}" for key in macro_keys()}
    return titles | {"val_loss": "Validation loss", "train_loss": "Training loss"}


def learning_curves(runs: Mapping[str, Path], metrics: Sequence[str], smoothing: float = 0.0) -> LearningCurves:
    """Read the curves of some metrics.

    Args:
        runs: run directories by run id, of which the first `MOST_CURVES` are read.
        metrics: keys of `curve_titles`. smoothing: see `smooth`; best epochs stay those of the raw values.
    """
    epochs, drawn, best, missing = [], [], [], {}
    for run_id, folder in list(runs.items())[:MOST_CURVES]:
        try:
            history = follow_history(open_run(folder).paths.metrics)
        except (InputError, RunError) as error:
            missing[run_id] = str(error)
            continue
        frame = history_frame(history)[["epoch", *metrics]]
        present = [metric for metric in metrics if frame[metric].notna().any()]
        if len(present) < len(metrics):
            lacking = [curve_titles()[metric] for metric in metrics if metric not in present]
            missing[run_id] = f"no {' or '.join(lacking)} in its history" if len(frame) else "no finished epoch"
        if present:
            epochs.append(frame.assign(run_id=run_id))
        for metric in present:
            line = _line(frame, metric, smoothing)
            of = {"metric": metric, "run_id": run_id}
            best.append(line[line["epoch"] == history.best.get("epoch")].assign(**of))
            drawn.append(thin(line).assign(**of))
    return LearningCurves(_joined(epochs), _joined(drawn), _joined(best), missing)


def _line(frame: pd.DataFrame, metric: str, smoothing: float) -> pd.DataFrame:
    """Return epoch and value of a metric; with smoothing, value is smoothed, and raw is not."""
    line = frame[["epoch", metric]].rename(columns={metric: "value"})
    return line.assign(raw=line["value"], value=smooth(line[["value"]], smoothing)["value"]) if smoothing else line


def _joined(parts: list[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
