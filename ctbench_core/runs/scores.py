"""Read the tables of a run: columns of ``scores.parquet`` as arrays, and CSV files with names as they are.

Shapes: N volumes, C findings.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from ctbench_core.atomic import write_with
from ctbench_core.errors import DamagedFile
from ctbench_core.stored import RESTORE, read_bytes, reading
from ctbench_core.tables import unguarded


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
_TEXTS = (
    *(*_NAMES, "curve", "direction", "truth", "pairs", "undefined", "label_origin", "warning"),
    *("run", "set", "metric", "interval", "reason", "marks", "key", "no_interval", "split", "labels"),
)
# The columns without which a table of an evaluation or alignment is not complete; in these tables, and in scores, every
# column but those of texts holds numbers.
_REQUIRED = {
    "scores.parquet": "volumename exam patient",
    "curves.parquet": "label curve threshold x y",
    "bands.parquet": "label curve x lower upper",
    "counts.parquet": "label threshold tp fp",
    "reliability.parquet": "finding stage forecast observed rows",
    "calibration.csv": "finding stage brier slope intercept",
    "per_class.csv": "finding",
    "recall.csv": "direction truth k recall chance lift lower upper",
    "histogram.csv": "truth pairs bin_left bin_right count density",
    "findings.csv": "finding direction queries prevalence",
    "hubs.csv": "direction sample occurrences",
    "ranks.parquet": "direction truth query first_rank n_relevant",
    "map.parquet": "visual_x visual_y text_x text_y",
    "inputs.parquet": "split volumename labels",
    ".results.parquet": "run set finding metric value",
}


def write_parquet(path: Path, frame: pd.DataFrame, **options: Any) -> None:
    """Write a table as Parquet without its index, atomically, with the checksums by which `read_frame` notices damage."""
    write_with(path, partial(frame.to_parquet, index=False, write_page_checksum=True, **options))


def read_frame(path: Path, columns: Sequence[str] | None = None, filters: list[tuple[Any, ...]] | None = None) -> Any:
    """Read a table that this program wrote, Parquet or CSV.

    Args:
        columns, filters: of a Parquet file, what to read of it; by default everything.

    Returns:
        A data frame.

    Raises:
        DamagedFile: it is missing or cannot be read, lacks a column, or has text in a column of numbers.
    """
    try:
        with reading(path):
            if path.suffix == ".csv":
                frame = read_result_csv(path)
            else:
                options: dict[str, Any] = {"columns": columns and list(columns), "filters": filters}
                with path.open("rb") as file:
                    frame = pd.read_parquet(file, page_checksum_verification=True, **options)
            _check_columns(path.name, frame, columns)
    except FileNotFoundError as error:
        raise DamagedFile(f"{path} is missing from a result that is marked complete. {RESTORE}") from error
    return frame


def _check_columns(name: str, frame: pd.DataFrame, columns: Sequence[str] | None) -> None:
    """Refuse a table without a column that it needs, or with text in a column of numbers."""
    required = _REQUIRED.get(name)
    if required is None:
        return
    lacking = [column for column in (columns or required.split()) if column not in frame]
    texts = [column for column in frame if column not in _TEXTS and not is_numeric_dtype(frame[column])]
    texts = [column for column in texts if frame[column].notna().any()]
    if lacking:
        raise ValueError(f"it lacks the column {', '.join(lacking)}")
    if texts:
        raise ValueError(f"column {', '.join(texts)} has text, expected numbers")


def read_result_csv(path: Path) -> pd.DataFrame:
    """Read a CSV file that this program wrote: names as text, numbers as numbers, blanks as NaN.

    Raises:
        FileNotFoundError: there is none. DamagedFile: it cannot be read, or was cut off.
    """
    with reading(path):
        content = read_bytes(path)
        if not content.endswith(b"\n"):
            raise ValueError("it ends in the middle of a line")
        header = pd.read_csv(io.BytesIO(content), nrows=0, dtype=str, encoding="utf-8").columns
        names = [column for column in header if column in _NAMES]
        blank = {column: [] if column in names else [""] for column in header}
        kinds = dict.fromkeys(names, str)
        options = {"dtype": kinds, "na_values": blank, "keep_default_na": False, "encoding": "utf-8"}
        return unguarded(pd.read_csv(io.BytesIO(content), **options))
