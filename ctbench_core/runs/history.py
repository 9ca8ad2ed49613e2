"""Follow the history of a run while it grows: what its curves show, in memory that does not grow with the findings.

A run of 100,000 epochs and 18 findings writes 230 MB of `metrics.jsonl`. Each line is read once; of every epoch its
losses and macro means stay, and of some epochs, evenly spaced, one metric of every finding.
"""

from __future__ import annotations

import functools
import math
from array import array
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd

from ctbench_core.declared import compared_metrics, macro_keys
from ctbench_core.runs.readers import follow, parse_epoch
from ctbench_core.stored import Count, Number

MOST_SPACED = 240  # epochs of which the metric of every finding stays
POINTS = 1000  # of a line that is drawn
LOSSES = ("train_loss", "val_loss")


@dataclass
class History:
    """The epochs of a run so far.

    Attributes:
        columns: epoch, train_loss, val_loss and the macro means by key: one value an epoch, NaN where undefined.
        last: the line of the last epoch; empty before the first.
        best: the line of the best epoch.
        findings: the first of the compared metrics by finding, at some epochs, evenly spaced, the first among them.
    """

    columns: dict[str, array[float]] = field(
        default_factory=lambda: {name: array("d") for name in ("epoch", *LOSSES, *macro_keys())}
    )
    last: dict[str, Any] = field(default_factory=dict)
    best: dict[str, Any] = field(default_factory=dict)
    findings: dict[str, array[float]] = field(default_factory=dict)
    _every: int = 1
    _spaced: int = 0
    _newest: dict[str, tuple[bytes, int]] = field(default_factory=dict)  # last and best, not parsed yet

    def __len__(self) -> int:
        return len(self.columns["epoch"])

    def add(self, line: bytes, number: int) -> None:
        """Add a line; `snapshot` completes what was added.

        Raises:
            ValueError: it is no epoch.
        """
        try:
            entry = _decoder(tuple(self.columns)).decode(line)
        except msgspec.MsgspecError as error:
            raise ValueError(f"line {number}: {error}") from error
        if len(self) % self._every == 0:
            self._add_findings(parse_epoch(line, number).get("val_metrics", {}).get("per_class", {}))
        values = (entry.epoch, entry.train_loss, entry.val_loss, *msgspec.structs.astuple(entry.val_metrics))
        for column, value in zip(self.columns.values(), values):
            column.append(math.nan if value is None else value)
        self._newest["last"] = line, number
        if entry.epoch == entry.best_epoch:
            self._newest["best"] = line, number

    def _add_findings(self, metrics: dict[str, dict[str, float | None]]) -> None:
        for label, values in metrics.items():
            value, column = values.get(compared_metrics()[0]), self.findings.setdefault(label, array("d"))
            column.extend([math.nan] * (self._spaced - len(column)))
            column.append(math.nan if value is None else value)
        self._spaced += 1
        if self._spaced >= 2 * MOST_SPACED:
            self.findings = {label: column[::2] for label, column in self.findings.items()}
            self._every, self._spaced = 2 * self._every, -(-self._spaced // 2)

    def snapshot(self) -> History:
        """Return a copy that does not grow.

        Raises:
            ValueError: the last or the best line is no epoch.
        """
        for name, (line, number) in self._newest.items():
            setattr(self, name, parse_epoch(line, number))
        self._newest.clear()
        columns, findings = (
            {name: column[:] for name, column in some.items()} for some in (self.columns, self.findings)
        )
        return History(columns, self.last, self.best, findings)


@functools.lru_cache(maxsize=4)
def _decoder(columns: tuple[str, ...]) -> msgspec.json.Decoder[Any]:
    """Return a decoder of what stays of every epoch; the rest of a line is only checked to be JSON."""
    macros = msgspec.defstruct("Macros", [(name, Number | None, None) for name in columns[3:]])
    fields: list[Any] = [
        ("epoch", Count | None),
        ("train_loss", float | None, None),
        ("val_loss", float | None, None),
        ("val_metrics", macros, msgspec.field(default_factory=macros)),
        ("best_epoch", Count | None, None),
    ]
    return msgspec.json.Decoder(msgspec.defstruct("Line", fields))


def follow_history(path: Path) -> History:
    """Return the epochs of a ``metrics.jsonl``, fast where lines were only added since the last call.

    An incomplete last line is left for the next call; a missing file has none.

    Raises:
        DamagedFile: a line is no epoch, or the file cannot be read.
    """
    return follow(path, History, History.add, History.snapshot)


def history_frame(history: History) -> pd.DataFrame:
    """Return one row an epoch: epoch, train_loss, val_loss and the macro means."""
    frame = pd.DataFrame({name: np.array(column) for name, column in history.columns.items()})
    return frame.astype({"epoch": "Int64"})


def smooth(values: pd.DataFrame, smoothing: float) -> pd.DataFrame:
    """Return the exponential moving average of columns over epochs; the share of the past is ``smoothing``, 0 to 1."""
    return values.ewm(alpha=1 - smoothing).mean()


def thin(frame: pd.DataFrame, points: int = POINTS) -> pd.DataFrame:
    """Return at most ``points`` rows, and the last, of a frame with more than twice as many: no peak is lost.

    Each column of every few epochs is drawn by its lowest and highest value, in their order.
    """
    if len(frame) <= 2 * points:
        return frame
    width = -(-2 * len(frame) // points)
    starts = np.arange(0, len(frame), width)
    middles = np.minimum(starts + width // 2, len(frame) - 1)
    rows = {"epoch": frame["epoch"].to_numpy()[np.column_stack([starts, middles]).ravel()]}
    for name in frame.columns.drop("epoch"):
        padded = np.full(len(starts) * width, np.nan)
        padded[: len(frame)] = frame[name]
        parts = padded.reshape(len(starts), width)
        lowest, highest = (np.where(np.isnan(parts), end, parts) for end in (np.inf, -np.inf))
        ends = np.sort(np.column_stack([lowest.argmin(1), highest.argmax(1)]))
        rows[name] = np.take_along_axis(parts, ends, 1).ravel()
    thinned = pd.DataFrame(rows)
    return pd.concat([thinned[thinned["epoch"] < frame["epoch"].iloc[-1]], frame.iloc[[-1]]], ignore_index=True)
