"""Runs grouped by the values of any field, each validation set apart: how many there are, and their validation metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from ctbench_core.declared import averaged_metrics, short_title
from ctbench_core.query import Condition
from ctbench_core.runs import run_fields, validation_mean
from ctbench_ui.shared import metric_column, run_table
from ctbench_ui.shared.controls import select_rows

_NUMBER = st.column_config.NumberColumn
_NONE, _SET = "–", "validation set"


def table(rows: Sequence[Mapping[str, Any]], name: str) -> pd.DataFrame:
    """Return one row a value of a field and validation set, in their order; a run with several values counts for each.

    Returns:
        Columns value, set (empty where all runs have one), runs, finished, and for each metric mean, standard deviation
        (of n - 1 degrees of freedom; NaN for one run) and highest value over the finished runs.
    """
    field = run_fields()[name]
    groups: dict[tuple[Any, str], list[Mapping[str, Any]]] = {}
    for row, of_set in zip(rows, run_table.where_several([row["validation_name"] for row in rows])):
        values = (row["head"],) if name == "head" else field.read(row)[:1] if name == _SET else field.read(row)
        for value in dict.fromkeys(map(_plain, values)) or (field.empty or _NONE,):
            groups.setdefault((value, of_set), []).append(row)
    ordered = sorted(groups, key=lambda group: (isinstance(group[0], str), *group))
    return pd.DataFrame(
        [{"value": str(value), "set": of_set} | _row(groups[value, of_set]) for value, of_set in ordered]
    )


def _plain(value: Any) -> Any:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else str(value)


def _row(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    finished = [row for row in rows if row["state"] == "finished"]
    cells: dict[str, Any] = {"runs": len(rows), "finished": len(finished)}
    for name in (f"val_{metric.name}" for metric in averaged_metrics()):
        scored = [row for row in finished if row[name] is not None]
        values = [row[name] for row in scored]
        cells[name], cells[f"{name}_sd"] = validation_mean(values, {row["validation_set"] for row in scored})
        cells[f"{name}_best"] = max(values, default=np.nan)
    return cells


def _columns(title: str) -> dict[str, Any]:
    columns: dict[str, Any] = {
        "value": st.column_config.TextColumn(title),
        "set": st.column_config.TextColumn("Val. set", help="Metrics of several validation sets are not averaged."),
        "runs": _NUMBER("Runs", format="%d"),
        "finished": _NUMBER("Finished", format="%d"),
    }
    for metric in averaged_metrics():
        short = f"Val. {short_title(metric.name)}"
        columns[f"val_{metric.name}"] = metric_column(short, help="Mean over the finished runs.")
        columns[f"val_{metric.name}_sd"] = metric_column(
            "± SD", help="Standard deviation over the finished runs, whatever else they differ in."
        )
        columns[f"val_{metric.name}_best"] = metric_column("Best", help="Of the finished runs.")
    return columns


def draw(groups: pd.DataFrame, name: str) -> tuple[str, str | None] | None:
    """Draw groups to select one from; return value and validation set of the selected one, None where all have one set."""
    field = run_fields()[name]
    is_idle = name == _SET or not groups["set"].any()
    chosen = select_rows(
        run_table.with_val_texts(groups.drop(columns="set") if is_idle else groups),
        [f"{value} {of_set}".strip() for value, of_set in zip(groups["value"], groups["set"])],
        "groups",
        _columns(field.title),
        f"Runs by {field.title}",
        mode="single-row",
    )
    if not chosen:
        return None
    value, of_set = groups[["value", "set"]].iloc[chosen[0]]
    return str(value), None if is_idle else str(of_set)


def terms(name: str, value: str, of_set: str | None) -> list[Condition]:
    """Return the conditions of a query that the runs of a group meet."""
    is_value = value != _NONE or bool(run_fields()[name].empty)
    chosen = [Condition(name, "=", (value,)) if is_value else Condition(name, "empty")]
    if of_set is not None:
        chosen.append(Condition(_SET, "=", (of_set,)) if of_set else Condition(_SET, "empty"))
    return chosen
