"""What the Compare page reads and computes, kept between reruns by the scores' stamps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from ctbench_core.compare.comparison import compare_runs
from ctbench_core.compare.export import paper_files
from ctbench_core.compare.label_sets import compare_label_sets
from ctbench_core.compare.tables import config_differences, read_scored, scores_path
from ctbench_core.manifest import read_table
from ctbench_core.runs import open_run
from ctbench_ui import cache
from ctbench_ui.cache import Stamp


def stamps(run_dirs: list[str], on: str) -> tuple[Stamp, ...]:
    """Return what tells whether the scores of any run have changed."""
    return tuple(cache.stamp(scores_path(open_run(folder), on)) for folder in run_dirs)


@st.cache_data(max_entries=16, show_spinner="Comparing: patients are resampled, ranks exchanged")
def compared(run_dirs: tuple[str, ...], on: str, _stamps: tuple[Stamp, ...], key: str) -> dict[str, Any]:
    """Return a comparison as plain frames and values, with the texts of its files.

    Args:
        key: the stamps as text, which tell the cache of a change.
    """
    runs = [open_run(folder) for folder in run_dirs]
    found = compare_runs(run_dirs, on)
    result = found.to_json(list(run_dirs))
    return {
        "names": found.common.names,
        "labels": found.common.labels,
        "figures": found.figures,
        "differences": found.differences,
        "settings": config_differences(runs),
        "files": paper_files(found, runs),
        **{
            name: result[name]
            for name in ("n", "left_out", "disagreeing_labels", "openings", "leak", "label_origin", "best")
        },
    }


@st.cache_data(max_entries=64, show_spinner=False)
def probabilities(first: Stamp, second: Stamp, label: str) -> pd.DataFrame:
    """Return the common volumes of two runs for one finding: volume, exam, patient, label, first, second, apart."""
    names = ["volumename", "exam", "patient", f"target_{label}", f"prob_{label}"]
    one = pd.read_parquet(first[0], columns=names)
    other = pd.read_parquet(second[0], columns=["volumename", f"prob_{label}"])
    frame = one.merge(other, on="volumename", suffixes=("", " of the other"))
    frame = frame.set_axis(["volume", "exam", "patient", "label", "first", "second"], axis=1)
    frame["apart"] = (frame["first"] - frame["second"]).abs()
    return frame.sort_values("apart", ascending=False, kind="stable")


@st.cache_data(max_entries=16, show_spinner="Scoring against the other labels")
def against_labels(run_dir: str, on: str, scores: Stamp, labels: Stamp) -> pd.DataFrame:
    """Return a run's figures against its own labels and against those of another table."""
    table = read_table(Path(labels[0]))[0]
    names = {name.lower(): name for name in table}
    column = names.get("volumename", table.columns[0])
    frame = table.rename(columns={column: "volumename"})
    frame["volumename"] = frame["volumename"].astype(str).str.replace(r"\.nii(\.gz)?$", "", regex=True)
    known = [name for name in read_scored(run_dir, on).labels if name in frame]
    frame[known] = frame[known].apply(pd.to_numeric, errors="coerce")
    return compare_label_sets(read_scored(run_dir, on), frame[["volumename", *known]])
