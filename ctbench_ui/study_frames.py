"""Frames of a study that the page and its report share."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd

from ctbench_core.studies.recipes import cell_axes
from ctbench_core.studies.variance import PARTS
from ctbench_ui import study_charts, study_data, study_tables
from ctbench_ui.style import figure

_MACRO = ("auprc", "auroc")
_PARTS = dict(zip(("folds", "seeds", "rest"), PARTS))  # of a K-fold


def wide_axis(axes: list[str]) -> str:
    """Name the axis whose values stand side by side in a heat map."""
    return "encoder" if "encoder" in axes else axes[-1] if axes else ""


def slices(folder: str, at: study_data.Stamp, axes: list[str]) -> list[dict[str, Any]]:
    """Return the labels of the other axes, one mapping a heat map; of budgets the largest alone."""
    frame = study_data.cells(folder, at)
    others = [axis for axis in axes if axis != wide_axis(axes)]
    values = [list(dict.fromkeys(frame[axis]))[-1 if axis == study_data.BUDGET else 0 :] for axis in others]
    return [dict(zip(others, labels)) for labels in itertools.product(*values)]


def overview_frame(frame: pd.DataFrame, axes: list[str]) -> pd.DataFrame:
    """Return the macro AUPRC and AUROC of every cell as text."""
    rows = []
    macros = frame[(frame["finding"] == "") & frame["metric"].isin(_MACRO)]
    for row in macros.to_dict("records"):
        bounds = "" if pd.isna(row["lo"]) else f"[{figure(row['lo'])}, {figure(row['hi'])}]"
        rows.append(
            {
                **{axis: row[axis] for axis in axes},
                "metric": study_charts.metric_name(row["metric"]),
                "mean": figure(row["mean"]),
                "sd": figure(row["std"]),
                "95 %": bounds,
                "error, patients": figure(row["patient_error"]),
                "error, seeds": figure(row["seed_error"]),
                **{f"sd, {of}": figure(np.sqrt(row[part])) for of, part in _PARTS.items() if part in row},
                "runs": row["n"],
                "patients": row["n_patients"],
            }
        )
    return pd.DataFrame(rows)


def heat_frames(
    folder: str, at: study_data.Stamp, metric: str, axis: str, fixed: dict[str, Any], marks: bool = True
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the mean figure by finding and value of an axis, the other axes fixed, and which are marked best."""
    frame, axes = study_data.cells(folder, at), cell_axes(study_data.plan_of(folder))
    rows = frame[(frame["metric"] == metric) & (frame["finding"] != "")]
    for name, value in fixed.items():
        rows = rows[rows[name] == value]
    rows = rows.assign(column=rows[axis] if axis else "all")
    values = rows.pivot(index="finding", columns="column", values="mean")
    values = values.loc[study_tables.ordered(values.index), list(dict.fromkeys(rows["column"]))]
    marked = pd.DataFrame(False, index=values.index, columns=values.columns)
    if not marks:
        return values, marked
    chosen = tuple(tuple(str(name if a == axis else fixed[a]) for a in axes) for name in values.columns)
    for row in study_data.best(folder, at, chosen, metric).to_dict("records"):
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
