"""Calibration of a test set before and after the maps that validation fitted, and what they promised there."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from ctbench_core.evaluate import BEFORE
from ctbench_core.formatting import format_interval, format_metric
from ctbench_core.metrics import METHODS
from ctbench_core.runs import EvaluationPaths
from ctbench_ui.shared import cache, charts, figures, tables
from ctbench_ui.shared.figures import Source

_FIGURES = {"ece": "ECE", "brier": "Brier", "slope": "Slope", "intercept": "Intercept"}
_HELP = {
    "ece": "Mean gap of forecast and observed share over 15 bins of equal mass; 0 is perfect, though no sample reaches it.",
    "brier": "Mean squared error of the probabilities.",
    "slope": "1 is perfect; below 1, forecasts are too extreme.",
    "intercept": "0 is perfect; above 0, forecasts are too low on average.",
}
_METHODS = {"platt": "Platt (slope and intercept)", "temperature": "Temperature (slope alone)"}


def tab(paths: EvaluationPaths, tuning: dict[str, Any], labels: list[str], source: Source) -> None:
    """Draw the reliability of one finding before and after calibration, and the figures of all."""
    if not (paths.calibration.is_file() and paths.reliability.is_file()):
        st.info("This evaluation is from before calibration was kept: open the test set again to have it.")
        return
    table, bins = cache.table(cache.stamp(paths.calibration)), cache.table(cache.stamp(paths.reliability))
    after = [stage for stage in METHODS if (table["stage"] == stage).any()]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        label = str(st.selectbox("Finding", labels, key="calibration.finding", width=280))
        method = _method(after)
    stages = [BEFORE, method] if method else [BEFORE]
    left, right = st.columns([3, 2], gap="medium")
    with left:
        mine = bins[(bins["finding"] == label) & bins["stage"].isin(stages)]
        found = charts.reliability(mine, label)
        figures.show(found, mine, source, "reliability", f"Observed share by forecast of {label}, before and after")
    with right:
        _figures(table[table["finding"] == label].set_index("stage"), stages)
        _promise(table, tuning, label, method)
    shown = _wide(table, labels, stages)
    st.dataframe(shown, hide_index=True, height=38 + 35 * len(shown), key="calibration-table", placeholder="–")
    tables.download("Calibration of every finding", table, f"{source.stem}-calibration.csv", "calibration-csv", source)


def _method(after: list[str]) -> str | None:
    """Let the map be chosen; say so where validation fitted none."""
    if not after:
        st.caption("Validation was not scored for these predictions, so no map was fitted: before only.")
        return None
    return st.segmented_control(
        "Fitted on validation",
        after,
        default=after[0],
        required=True,
        key="calibration.method",
        format_func=_METHODS.__getitem__,
    )


def _figures(rows: pd.DataFrame, stages: list[str]) -> None:
    """Draw the four figures of a finding, a column a stage."""
    values = {_titled(stage): [_of(rows, stage, name) for name in _FIGURES] for stage in stages}
    frame = pd.DataFrame({"": list(_FIGURES.values()), **values})
    st.dataframe(frame, hide_index=True, key="calibration-figures", alt="Calibration of the finding")
    st.caption(" ".join(f"**{_FIGURES[name]}**: {text}" for name, text in _HELP.items()))
    reasons = [str(text) for text in rows["undefined"].dropna() if text]
    if reasons:
        st.caption(f":material/info: slope and intercept undefined: {reasons[0]}")


def _titled(stage: str) -> str:
    return "before" if stage == BEFORE else f"after ({stage})"


def _of(rows: pd.DataFrame, stage: str, name: str) -> str:
    row = rows.loc[stage]
    return format_interval(row[name], [row[f"{name}_ci_lower"], row[f"{name}_ci_upper"]])


def _promise(table: pd.DataFrame, tuning: dict[str, Any], label: str, method: str | None) -> None:
    """Say what the map was worth on validation, cross-fitted, and here: the difference is optimism."""
    of_label = tuning.get("validation", {}).get("per_class", {}).get(label)
    if not method or not of_label:
        return
    here = table[(table["finding"] == label) & (table["stage"] == method)].iloc[0]
    parts = []
    for name in ("ece", "brier"):
        promised = of_label.get(f"{name}_{method}")
        if promised is not None:
            parts.append(f"{_FIGURES[name]} {format_metric(promised)} there, {format_metric(here[name])} here")
    reason = tuning.get("reasons", {}).get(label)
    text = f"nothing was fitted: {reason}" if reason else "; ".join(parts)
    st.caption(
        f":material/balance: **Optimism.** Cross-fitted over patients on validation ({tuning['n']['patients']:,} patients): {text}."
    )


def _wide(table: pd.DataFrame, labels: list[str], stages: list[str]) -> pd.DataFrame:
    """Return a row a finding, the figures of each stage side by side with their intervals."""
    known = {(row["finding"], row["stage"]): row for row in table.to_dict("records")}
    rows = []
    for label in labels:
        row = {"Finding": label}
        for name, title in _FIGURES.items():
            for stage in stages:
                found = known[label, stage]
                text = format_interval(found[name], [found[f"{name}_ci_lower"], found[f"{name}_ci_upper"]])
                row[f"{title}, {stage}"] = text
        rows.append(row)
    return pd.DataFrame(rows)
