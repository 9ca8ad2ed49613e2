"""Rows and columns of a stored alignment, read a few at a time: a look-up never reads the texts of all volumes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ctbench_core.declared import INSTANCE, OTHERS, SEMANTIC
from ctbench_core.declared import TRUTHS as DECLARED
from ctbench_core.runs import read_frame
from ctbench_core.stored import reading
from ctbench_ui.shared.cache import per_file

# Truths of the ranks that a result stores.
TRUTHS = {INSTANCE: "as measured", SEMANTIC: DECLARED["labels"].title, OTHERS: "own exam left out"}


def read_rows(path: Path, rows: Sequence[int]) -> pd.DataFrame:
    """Return some rows of a Parquet file, in this order, from the row groups that hold them."""
    with reading(path), pq.ParquetFile(path) as file:
        sizes = [file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)]
        starts = np.concatenate([[0], np.cumsum(sizes)])
        groups = np.searchsorted(starts, rows, side="right") - 1
        needed = sorted(set(groups.tolist()))
        table = file.read_row_groups(needed).to_pandas()
    before = dict(zip(needed, np.concatenate([[0], np.cumsum([sizes[group] for group in needed])]).tolist()))
    places = [before[group] + row - starts[group] for group, row in zip(groups.tolist(), rows)]
    return table.iloc[places].reset_index(drop=True)


def names(folder: Path) -> pd.DataFrame:
    """Return volumename, exam and patient of every sample; treat it as read-only."""
    return _names(folder / "samples.parquet")


@per_file(max_entries=8)
def _names(path: Path) -> pd.DataFrame:
    return read_frame(path, columns=["volumename", "exam", "patient"])


def samples(folder: Path) -> pd.DataFrame:
    """Return all that is stored of every sample, texts of reports included; read at each call."""
    frame: pd.DataFrame = read_frame(folder / "samples.parquet")
    return frame


def findings(folder: Path) -> list[str]:
    """Return the findings whose labels the samples hold."""
    columns = _columns(folder / "samples.parquet")
    return [name.removeprefix("target_") for name in columns if name.startswith("target_")]


@per_file(max_entries=8)
def _columns(path: Path) -> list[str]:
    with reading(path):
        return list(pq.read_schema(path).names)


def has_reports(folder: Path) -> bool:
    """Whether the samples hold texts of reports."""
    return any(name.startswith("text_") for name in _columns(folder / "samples.parquet"))


def count_words(folder: Path, words: tuple[str, ...]) -> np.ndarray:
    """Return how many of some words each sample's report has, int (N,); treat it as read-only.

    A word is the beginning of one of the report, in whatever case: ``effusion`` finds ``effusions``.
    """
    return _count_words(folder / "samples.parquet", words)


@per_file(max_entries=16)
def _count_words(path: Path, words: tuple[str, ...]) -> np.ndarray:
    with reading(path), pq.ParquetFile(path) as file:
        table = file.read([name for name in file.schema_arrow.names if name.startswith("text_")])
    counts = np.zeros(len(table), int)
    for word in words:
        pattern = rf"(^|\W){re.escape(word)}"
        matches = [
            pc.fill_null(pc.match_substring_regex(column.cast("string"), pattern, ignore_case=True), False)
            for column in table.columns
        ]
        counts += np.logical_or.reduce([match.to_numpy() for match in matches])
    return counts


def first_ranks(folder: Path, way: str, truth: str = INSTANCE) -> np.ndarray:
    """Return the expected rank of each query's first hit, float64 (N,); treat it as read-only."""
    return _first_ranks(folder / "ranks.parquet", way, truth)


@per_file(max_entries=16)
def _first_ranks(path: Path, way: str, truth: str) -> np.ndarray:
    filters = [("direction", "==", way), ("truth", "==", truth)]
    frame = read_frame(path, columns=["query", "first_rank"], filters=filters)
    return frame.sort_values("query")["first_rank"].to_numpy()


def targets(folder: Path, label: str) -> np.ndarray:
    """Return one finding of every sample in {0, 1, NaN}; treat it as read-only."""
    return _targets(folder / "samples.parquet", f"target_{label}")


@per_file(max_entries=8)
def _targets(path: Path, name: str) -> np.ndarray:
    return read_frame(path, columns=[name])[name].astype("Float32").to_numpy(np.float32, na_value=np.nan)


def positions(folder: Path) -> pd.DataFrame:
    """Return visual_x, visual_y, text_x, text_y of every sample on the map; treat it as read-only."""
    return _positions(folder / "map.parquet")


@per_file(max_entries=8)
def _positions(path: Path) -> pd.DataFrame:
    return read_frame(path)
