"""Runs grouped by the values of any field: how many there are, and their validation metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from ctbench_core.declared import averaged_metrics, short_title
from ctbench_core.runs import run_fields
from ctbench_ui.shared import metric_column, run_table
from ctbench_ui.shared.controls import select_rows

_NUMBER = st.column_config.NumberColumn
_NONE = "–"


def table(rows: Sequence[Mapping[str, Any]], name: str) -> pd.DataFrame:
    """Return one row a value of a field, in the order of the values; a run with several values counts for each.

    Returns:
        Columns value, runs, finished, sets (validation sets of the finished runs), and for each metric mean, standard
        deviation (of n - 1 degrees of freedom; NaN for one run) and highest value over the finished runs; NaN where these have several validation sets.
    """
    field = run_fields()[name]
    groups: dict[Any, list[Mapping[str, Any]]] = {}
    for row in rows:
        values = (row["head"],) if name == "head" else field.read(row)
        for value in dict.fromkeys(map(_plain, values)) or (field.empty or _NONE,):
            groups.setdefault(value, []).append(row)
    ordered = sorted(groups, key=lambda value: (isinstance(value, str), value))
    return pd.DataFrame([{"value": str(value)} | _row(groups[value]) for value in ordered])


def _plain(value: Any) -> Any:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else str(value)


def _row(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    finished = [row for row in rows if row["state"] == "finished"]
    cells: dict[str, Any] = {"runs": len(rows), "finished": len(finished)}
    cells["sets"] = len({row["validation_set"] for row in finished})
    for name in (f"val_{metric.name}" for metric in averaged_metrics()):
        values = np.array([row[name] for row in finished if row[name] is not None], float)
        cells[name] = values.mean() if len(values) else np.nan
        cells[f"{name}_sd"] = values.std(ddof=1) if len(values) > 1 else np.nan
        cells[f"{name}_best"] = values.max() if len(values) and cells["sets"] == 1 else np.nan
    return cells


def _columns(title: str) -> dict[str, Any]:
    columns: dict[str, Any] = {
        "value": st.column_config.TextColumn(title),
        "runs": _NUMBER("Runs", format="%d"),
        "finished": _NUMBER("Finished", format="%d"),
        "sets": _NUMBER(
            "Val. sets",
            format="%d",
            help="Validation sets of the finished runs. Means over several sets do not rank groups.",
        ),
    }
    for metric in averaged_metrics():
        short = f"Val. {short_title(metric.name)}"
        columns[f"val_{metric.name}"] = metric_column(short, help="Mean over the finished runs.")
        columns[f"val_{metric.name}_sd"] = metric_column(
            "± SD", help="Standard deviation over the finished runs, whatever else they differ in."
        )
        columns[f"val_{metric.name}_best"] = metric_column(
            "Best", help="Of the finished runs; blank where they have several validation sets."
        )
    return columns


def draw(groups: pd.DataFrame, name: str) -> str | None:
    """Draw groups to select one from, and return the value of the selected one."""
    field = run_fields()[name]
    chosen = select_rows(
        run_table.with_val_texts(groups),
        list(groups["value"]),
        "groups",
        _columns(field.title),
        f"Runs by {field.title}",
        mode="single-row",
    )
    return str(groups["value"].iloc[chosen[0]]) if chosen else None


def members(rows: Sequence[dict[str, Any]], name: str, value: str) -> list[dict[str, Any]]:
    """Return the runs of a group."""
    field = run_fields()[name]
    none = field.empty or _NONE

    def values(row: dict[str, Any]) -> Sequence[str]:
        return [row["head"]] if name == "head" else [str(_plain(one)) for one in field.read(row)] or [none]

    return [row for row in rows if value in values(row)]


def is_value(name: str, value: str) -> bool:
    """Whether a group is of a value, and not of the runs without one."""
    return value != _NONE or bool(run_fields()[name].empty)
