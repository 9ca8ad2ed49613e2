"""The metrics of every finding, as a table and as dots with whiskers."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from ctbench_core import figures
from ctbench_core.declared import (
    METRICS,
    TUNED,
    brief_metrics,
    interval_keys,
    metric_help,
    metric_title,
    metrics_of,
    short_title,
)
from ctbench_core.formatting import UNDEFINED, format_bounds
from ctbench_core.metrics import auprc_skill
from ctbench_ui.frame import address
from ctbench_ui.shared import exports
from ctbench_ui.shared.exports import Source

_WIDTHS = {"finding": 215, "skill": 48, "threshold": 68, "ci": 92}
# which threshold the rates are at, and how it is called
_AT = {"tuned": "chosen on validation", ".5": ".5"}
_ROUNDED = "Rounded here; whole in the CSV and on *Threshold*: the rounded one may call other volumes positive."
_MARGIN = 85  # pixels of a table beside its columns


def _metric_columns() -> list[str]:
    """Return the columns of numbers in the order of the table; metrics that are compared have their interval beside.

    AUPRC is first, where a phone shows it; then what it is judged by.
    """
    columns = []
    for metric in brief_metrics():
        columns += [metric.name, f"{metric.name}_ci"] if metric.compared else [metric.name]
        columns += [*(count.name for count in metrics_of("count")), "skill"] if metric.name == "auprc" else []
    return columns


def _table_columns() -> list[str]:
    return ["finding", *_metric_columns(), "threshold"]


def _width(name: str) -> int:
    return _WIDTHS["ci"] if name.endswith("_ci") else _WIDTHS[name] if name in _WIDTHS else METRICS[name].width


def tab(per_class: pd.DataFrame, source: Source) -> None:
    """Draw the metrics of every finding as dots and as a table, side by side where both fit."""
    with st.container(horizontal=True, gap="medium"):
        with st.container(width="stretch"):
            _dots(per_class, source)
        # The table has its full width; dots take what is left of the row, or a row of their own.
        with st.container(width=_MARGIN + sum(map(_width, _table_columns()))):
            _table(per_class, source)


def _table(per_class: pd.DataFrame, source: Source) -> None:
    at = None
    if "threshold_tuned" in per_class:
        at = st.segmented_control(
            "Threshold of precision, recall and F1",
            list(_AT),
            default="tuned",
            required=True,
            format_func=_AT.__getitem__,
            **address.bound("findings.at", _AT, _AT.__getitem__),
        )
    draw_rows(at_threshold(per_class, at == "tuned"), "findings")
    exports.download("Download CSV", per_class, f"{source.stem}-per_class.csv", "per-class-csv", source)


def draw_rows(per_class: pd.DataFrame, key: str) -> None:
    """Draw the metrics of every finding, as `at_threshold` gives them."""
    shown = with_intervals(per_class)
    st.dataframe(
        exports.styled(shown, pinned="finding").format("{:.0f}", subset=["support"]),
        hide_index=True,
        column_config=_columns(),
        height=38 + 35 * len(shown),
        key=key,
        placeholder="–",
        alt="Metrics by finding",
    )


def at_threshold(per_class: pd.DataFrame, tuned: bool) -> pd.DataFrame:
    """Return the metrics with skill, and those at a threshold at the tuned one or at .5."""
    shown = per_class.assign(skill=auprc_skill(per_class["auprc"], per_class["prevalence"]), threshold=0.5)
    if not tuned:
        return shown
    columns = {column.removesuffix(TUNED): shown[column] for column in shown if column.endswith(TUNED)}
    for ending in ("_ci_lower", "_ci_upper"):
        bounds = [column for column in shown if column.endswith(TUNED + ending)]
        columns |= {column.replace(TUNED + ending, ending): shown[column] for column in bounds}
    return shown.assign(**columns)


def _dots(per_class: pd.DataFrame, source: Source) -> None:
    names = [name for name in interval_keys() if name in per_class]
    metric = st.segmented_control(
        "Metric",
        names,
        default=names[0],
        required=True,
        format_func=short_title,
        label_visibility="collapsed",
        **address.bound("dots-metric", names, short_title),
    )
    metric = metric or names[0]
    alt = f"{metric_title(metric)} by finding, with 95 % intervals"
    exports.draw_chart(figures.finding_dots(per_class, metric), per_class, source, "dots", alt)


def with_intervals(per_class: pd.DataFrame) -> pd.DataFrame:
    """Return the columns of the table: intervals as text, and notes on undefined metrics and intervals, if any."""
    shown = per_class.copy()
    for name in (column.removesuffix("_ci") for column in _metric_columns() if column.endswith("_ci")):
        bounds = [f"{name}_ci_lower", f"{name}_ci_upper"]
        if set(bounds) <= set(shown):
            texts = [format_bounds(pair) or UNDEFINED for pair in shown[bounds].to_numpy().tolist()]
            shown[f"{name}_ci"] = [None if text == "–" else text for text in texts]
    columns = [name for name in _table_columns() if name in shown]
    notes = shown.reindex(columns=["undefined", "no_interval"]).fillna("").to_numpy().tolist()
    shown["note"] = ["; ".join(dict.fromkeys(filter(None, row))) for row in notes]
    return shown[[*columns, "note"] if shown["note"].any() else columns]


def _help(name: str) -> str:
    return f"{metric_help(name)} {_ROUNDED}" if name == "threshold" else metric_help(name)


def _columns() -> dict[str, Any]:
    number, text = st.column_config.NumberColumn, st.column_config.TextColumn
    intervals = [name for name in _metric_columns() if name.endswith("_ci")]
    numbers = [name for name in _table_columns()[1:] if name not in intervals]
    return {
        "finding": text("Finding", width=_WIDTHS["finding"], pinned=True),
        **{name: number(short_title(name), help=_help(name), width=_width(name)) for name in numbers},
        **{
            name: text("95 % CI", width=_WIDTHS["ci"], help="Over patients. A dash: see the note.")
            for name in intervals
        },
        "note": text("Note", help="Why a metric is undefined or has no interval."),
    }
