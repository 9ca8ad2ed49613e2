"""Tables of a study's runs, and the small choices that its tabs share."""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from ctbench_core.formatting import format_interval, format_metric, plural
from ctbench_core.studies import PARTS, cell_axes
from ctbench_ui.pages import go
from ctbench_ui.shared import tables
from ctbench_ui.shared.style import FINDINGS
from ctbench_ui.studies import frames, plots

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
        "Metric", ["auprc", "auroc"], default="auprc", required=True, key=key, format_func=plots.metric_name
    )
    return str(found)


def behind(folder: str, at: frames.Stamp, event: Any) -> None:
    """Show the runs behind the selected points."""
    points = event.selection.points if event else []
    cells = [json.loads(point["customdata"][0]) for point in points if point.get("customdata")]
    if not cells:
        return
    axes = cell_axes(frames.plan_of(folder))
    table = frames.runs(folder, at)
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
    bounds = [format_interval(None, pair).removeprefix("– ") for pair in table[["lo", "hi"]].to_numpy().tolist()]
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


_MACRO = ("auprc", "auroc")


_PARTS = dict(zip(("folds", "seeds", "rest"), PARTS))  # of a K-fold


def wide_axis(axes: list[str]) -> str:
    """Name the axis whose values stand side by side in a heat map."""
    return "encoder" if "encoder" in axes else axes[-1] if axes else ""


def slices(folder: str, at: frames.Stamp, axes: list[str]) -> list[dict[str, Any]]:
    """Return the labels of the other axes, one mapping a heat map; of budgets the largest alone."""
    frame = frames.cells(folder, at)
    others = [axis for axis in axes if axis != wide_axis(axes)]
    values = [list(dict.fromkeys(frame[axis]))[-1 if axis == frames.BUDGET else 0 :] for axis in others]
    return [dict(zip(others, labels)) for labels in itertools.product(*values)]


def overview_frame(frame: pd.DataFrame, axes: list[str]) -> pd.DataFrame:
    """Return the macro AUPRC and AUROC of every cell as text."""
    rows = []
    macros = frame[(frame["finding"] == "") & frame["metric"].isin(_MACRO)]
    for row in macros.to_dict("records"):
        bounds = "" if pd.isna(row["lo"]) else f"[{format_metric(row['lo'])}, {format_metric(row['hi'])}]"
        rows.append(
            {
                **{axis: row[axis] for axis in axes},
                "metric": plots.metric_name(row["metric"]),
                "mean": format_metric(row["mean"]),
                "sd": format_metric(row["std"]),
                "95 %": bounds,
                "error, patients": format_metric(row["patient_error"]),
                "error, seeds": format_metric(row["seed_error"]),
                **{f"sd, {of}": format_metric(np.sqrt(row[part])) for of, part in _PARTS.items() if part in row},
                "runs": row["n"],
                "patients": row["n_patients"],
            }
        )
    return pd.DataFrame(rows)


def heat_frames(
    folder: str, at: frames.Stamp, metric: str, axis: str, fixed: dict[str, Any], marks: bool = True
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the mean figure by finding and value of an axis, the other axes fixed, and which are marked best."""
    frame, axes = frames.cells(folder, at), cell_axes(frames.plan_of(folder))
    rows = frame[(frame["metric"] == metric) & (frame["finding"] != "")]
    for name, value in fixed.items():
        rows = rows[rows[name] == value]
    rows = rows.assign(column=rows[axis] if axis else "all")
    values = rows.pivot(index="finding", columns="column", values="mean")
    values = values.loc[ordered(values.index), list(dict.fromkeys(rows["column"]))]
    marked = pd.DataFrame(False, index=values.index, columns=values.columns)
    if not marks:
        return values, marked
    chosen = tuple(tuple(str(name if a == axis else fixed[a]) for a in axes) for name in values.columns)
    for row in frames.best(folder, at, chosen, metric).to_dict("records"):
        if row["marked"] and row["finding"] in marked.index:
            marked.loc[row["finding"], marked.columns[int(row["best"])]] = True
    return values, marked


def macro_differences(table: pd.DataFrame, axes: list[str], axis: str, metric: str) -> pd.DataFrame:
    """Return the macro rows of `differences`, named for a forest plot."""
    macros = table[(table["finding"] == "") & (table["metric"] == metric)]
    others = [name for name in axes if name != axis]
    names = [
        " · ".join([*(str(row[name]) for name in others), f"{row['a']} − {row['b']}"])
        for row in macros.to_dict("records")
    ]
    return macros.assign(name=names)
