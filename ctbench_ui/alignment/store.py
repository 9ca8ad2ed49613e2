"""Rows of a stored alignment, read a few at a time: a look-up never reads the texts of all volumes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import streamlit as st

from ctbench_ui.shared.cache import Stamp, stamp


def prefix_of(truth: str) -> str:
    """Return how the names of a truth's figures begin."""
    return "" if truth == "instance" else f"{truth}_"


def rows_of(path: Path, rows: Sequence[int], columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Return some rows of a Parquet file, in the order asked for, from the groups that hold them."""
    with pq.ParquetFile(path) as file:
        sizes = [file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)]
        starts = np.concatenate([[0], np.cumsum(sizes)])
        groups = np.searchsorted(starts, rows, side="right") - 1
        needed = sorted(set(groups.tolist()))
        table = file.read_row_groups(needed, columns=None if columns is None else list(columns)).to_pandas()
    before = dict(zip(needed, np.concatenate([[0], np.cumsum([sizes[group] for group in needed])]).tolist()))
    places = [before[group] + row - starts[group] for group, row in zip(groups.tolist(), rows)]
    return table.iloc[places].reset_index(drop=True)


@st.cache_resource(max_entries=8, show_spinner=False)
def _names(at: Stamp) -> pd.DataFrame:
    return pd.read_parquet(Path(at[0]), columns=["volumename", "exam", "patient"])


def names(folder: Path) -> pd.DataFrame:
    """Return volumename, exam and patient of every sample; treat it as read-only."""
    return _names(stamp(folder / "samples.parquet"))


@st.cache_resource(max_entries=8, show_spinner=False)
def _columns(at: Stamp) -> list[str]:
    return list(pq.read_schema(Path(at[0])).names)


def columns(folder: Path, prefix: str) -> list[str]:
    """Name the columns of the samples that begin so, without the beginning."""
    found = _columns(stamp(folder / "samples.parquet"))
    return [name.removeprefix(prefix) for name in found if name.startswith(prefix)]


@st.cache_resource(max_entries=16, show_spinner=False)
def _first_ranks(at: Stamp, way: str, truth: str) -> np.ndarray:
    wanted = [("direction", "==", way), ("truth", "==", truth)]
    frame = pd.read_parquet(Path(at[0]), columns=["query", "first_rank"], filters=wanted)
    return frame.sort_values("query")["first_rank"].to_numpy()


def first_ranks(folder: Path, way: str, truth: str = "instance") -> np.ndarray:
    """Return the expected rank of each query's first hit, float64 (N,); treat it as read-only."""
    return _first_ranks(stamp(folder / "ranks.parquet"), way, truth)


@st.cache_resource(max_entries=8, show_spinner=False)
def _column(at: Stamp, name: str) -> np.ndarray:
    return pd.read_parquet(Path(at[0]), columns=[name])[name].astype("Float32").to_numpy(np.float32, na_value=np.nan)


def targets(folder: Path, label: str) -> np.ndarray:
    """Return one finding of every sample in {0, 1, NaN}; treat it as read-only."""
    return _column(stamp(folder / "samples.parquet"), f"target_{label}")


@st.cache_resource(max_entries=8, show_spinner=False)
def _map(at: Stamp) -> pd.DataFrame:
    return pd.read_parquet(Path(at[0]))


def places(folder: Path) -> pd.DataFrame:
    """Return visual_x, visual_y, text_x, text_y of every sample; treat it as read-only."""
    return _map(stamp(folder / "map.parquet"))
