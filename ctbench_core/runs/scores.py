"""Read the tables of a run: columns of ``scores.parquet`` as arrays, and CSV files with names as they are.

Shapes: N volumes, C findings.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd


def score_labels(frame: pd.DataFrame) -> list[str]:
    """Return the findings of a scores table, in their order."""
    return [name.removeprefix("prob_") for name in frame if name.startswith("prob_")]


def label_columns(frame: pd.DataFrame, prefix: str, labels: Sequence[str]) -> np.ndarray:
    """Return the columns with a prefix of these findings as float64 (N, C), NaN where blank."""
    return frame[[prefix + label for label in labels]].astype("Float64").to_numpy(np.float64, na_value=np.nan)


def score_arrays(frame: pd.DataFrame) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Return findings, targets (N, C) in {0, 1, NaN} and probabilities (N, C) of a scores table."""
    labels = score_labels(frame)
    return labels, label_columns(frame, "target_", labels), label_columns(frame, "prob_", labels)


# Columns of names: ``1``, ``01``, ``NA`` and ``None`` are names too.
_NAMES = ("finding", "label", "stage", "volumename", "exam", "patient")


def read_result_csv(path: Path) -> pd.DataFrame:
    """Read a CSV file that this program wrote: names as text, numbers as numbers, blanks as NaN."""
    header = pd.read_csv(path, nrows=0, dtype=str, encoding="utf-8").columns
    names = [column for column in header if column in _NAMES]
    blank = {column: [] if column in names else [""] for column in header}
    kinds = dict.fromkeys(names, str)
    return pd.read_csv(path, dtype=kinds, na_values=blank, keep_default_na=False, encoding="utf-8")
