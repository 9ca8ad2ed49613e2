"""Tables of a study's runs, and the small choices that its tabs share."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
import streamlit as st

from ctbench_core.studies.recipes import cell_axes
from ctbench_ui import study_charts, study_data, tables
from ctbench_ui.navigation import go
from ctbench_ui.style import FINDINGS, interval, plural

_BOTTLENECKS = {
    "finding": "Finding",
    "mean": "Mean",
    "sd": "SD over seeds",
    "gain": "Gain of the last step",
    "patient_error": "Error of patients",
    "seed_error": "Error of seeds",
    "limited_by": "Limited by",
}


def pick_metric(key: str) -> str:
    """Draw the choice of a metric."""
    found = st.segmented_control(
        "Metric", ["auprc", "auroc"], default="auprc", required=True, key=key, format_func=study_charts.metric_name
    )
    return str(found)


def behind(folder: str, at: study_data.Stamp, event: Any) -> None:
    """Show the runs behind the selected points."""
    points = event.selection.points if event else []
    cells = [json.loads(point["customdata"][0]) for point in points if point.get("customdata")]
    if not cells:
        return
    axes = cell_axes(study_data.plan_of(folder))
    table = study_data.runs(folder, at)
    kept = table[
        [
            any(all(str(row[a]) == str(v) for a, v in zip(axes, cell)) for cell in cells)
            for row in table[axes].to_dict("records")
        ]
    ]
    run_table(kept, "behind")


def run_table(frame: pd.DataFrame, key: str) -> None:
    """Draw runs to choose one from, and lead to it."""
    event = st.dataframe(
        frame,
        hide_index=True,
        key=f"{key}-{hash(tuple(frame['run'])) & 0xFFFFFFFF:x}",
        on_select="rerun",
        selection_mode="single-row",
        height=min(420, 38 + 35 * len(frame)),
        lazy=False,
        column_config=shares(frame),
    )
    chosen = event.selection.rows
    if chosen and st.button(f"Open {frame['run'].iloc[chosen[0]]}", icon=":material/query_stats:", key=f"{key}-open"):
        go("evaluate", {"run": str(frame["run"].iloc[chosen[0]])})


def bottleneck_frame(table: pd.DataFrame) -> pd.DataFrame:
    """Return `bottlenecks` as it is read: named columns, and the interval as one."""
    shown = table.rename(columns=_BOTTLENECKS)
    bounds = [interval(None, pair).removeprefix("– ") for pair in table[["lo", "hi"]].to_numpy().tolist()]
    shown.insert(int(shown.columns.get_loc("Mean")) + 1, "[95 %]", bounds)
    return shown.drop(columns=["lo", "hi"])


def shares(frame: pd.DataFrame) -> dict[str, Any]:
    """Format every share with three digits."""
    return {name: st.column_config.NumberColumn(format=tables.SHARE) for name in frame.select_dtypes("float")}


def ordered(findings: Any) -> list[str]:
    """Return findings in the order that all pages have."""
    names = [name for name in findings if name]
    return sorted(names, key=lambda name: FINDINGS.index(name) if name in FINDINGS else len(FINDINGS))


def of_what(frame: pd.DataFrame) -> str:
    """Say which rows judge, and how many runs a cell has."""
    return f"On {frame['set'].iloc[0]}, up to {plural(int(frame['n'].max()), 'run')} a point."
