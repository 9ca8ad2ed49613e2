"""What the Compare page reads and computes, kept between reruns by the scores' stamps."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from ctbench_core.compare import (
    Comparison,
    compare_label_sets,
    compare_recipes,
    compare_runs,
    config_differences,
    read_scored,
    scores_path,
    tests_of,
)
from ctbench_core.report import paper_files
from ctbench_core.runs import disclosures_of, open_run
from ctbench_core.tables import read_table
from ctbench_ui.shared import cache
from ctbench_ui.shared.cache import Stamp


def stamps(run_dirs: list[str], on: str) -> tuple[Stamp, ...]:
    """Return what tells whether the scores of any run have changed."""
    return tuple(cache.stamp(scores_path(open_run(folder), on)) for folder in run_dirs)


def _repeats(row: dict[str, Any], mine: dict[str, Any]) -> bool:
    """Whether two runs differ in their seed alone: one recipe, and one fold of it."""
    return (row["recipe"], row["fold"]) == (mine["recipe"], mine["fold"])


def seeds_of(chosen: list[dict[str, Any]], rows: Mapping[str, dict[str, Any]], on: str) -> dict[str, list[str]] | None:
    """Return the runs of each chosen run's recipe that were scored on a set, the chosen one first; by run id.

    None where recipes cannot be compared: two chosen runs are of one recipe, or no recipe has several seeds.

    Args:
        chosen, rows: rows of `cache.run_row`.
    """
    recipes = [row["recipe"] for row in chosen]
    if len(set(recipes)) < len(recipes) or any(row["kind"] != "train" for row in chosen):
        return None
    found = {}
    for mine in chosen:
        same = [row for row in rows.values() if _repeats(row, mine) and row["state"] == "finished"]
        newest = {row["seed"]: row["run_dir"] for row in reversed(same) if on in tests_of([open_run(row["run_dir"])])}
        found[mine["run_id"]] = list(
            dict.fromkeys([mine["run_dir"], *(newest | {mine["seed"]: mine["run_dir"]}).values()])
        )
    return found if any(len(dirs) > 1 for dirs in found.values()) else None


def compared(run_dirs: tuple[str, ...], on: str, by_recipe: bool) -> dict[str, Any]:
    """Return a comparison as plain frames and values, its marks as they stand now.

    Args:
        by_recipe: the runs are seeds of recipes, which are compared in place of the runs.
    """
    at = stamps(list(run_dirs), on)
    whole = _comparison(run_dirs, on, by_recipe, repr(at))
    runs = [open_run(folder) for folder in run_dirs]
    whole = dataclasses.replace(whole, marks=disclosures_of(runs, on, n=whole.common.n))
    result = whole.to_json(list(run_dirs))
    return {
        "names": whole.common.names,
        "labels": whole.common.labels,
        "figures": whole.figures,
        "differences": whole.differences,
        "settings": config_differences(runs),
        "marks": whole.marks,
        "files": lambda: paper_files(whole, runs),
        **{name: result[name] for name in ("n", "left_out", "disagreeing_labels", "best")},
    }


@st.cache_resource(max_entries=16, show_spinner="Comparing: patients are resampled, ranks exchanged")
def _comparison(run_dirs: tuple[str, ...], on: str, by_recipe: bool, stamps: str) -> Comparison:
    """Return a comparison, worked out once for the scores of these stamps. Treat it as read-only."""
    return (compare_recipes if by_recipe else compare_runs)(run_dirs, on)


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
