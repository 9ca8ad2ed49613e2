"""Calibration of a test set before and after the maps fitted on validation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

from ctbench_core.declared import METRICS, metric_help, metrics_of, short_title
from ctbench_core.evaluate import BEFORE, PLATT, RECALIBRATED
from ctbench_core.formatting import format_bounds, format_interval, format_metric, plural
from ctbench_core.metrics import METHODS
from ctbench_core.report import RECALIBRATION
from ctbench_core.runs import EvaluationPaths
from ctbench_ui.frame import address
from ctbench_ui.shared import as_text, cache, charts, exports
from ctbench_ui.shared.exports import Source

_METHODS = {"platt": "Platt (slope and intercept)", "temperature": "Temperature (slope only)"}

_CI = ", 95 % CI"  # how the name of a column of intervals ends

# Rows of the calibration table by finding and stage.
Rows = Mapping[tuple[str, str], dict[str, Any]]


def _columns() -> dict[str, str]:
    """Return the short title of each column of calibration."""
    names = [*(metric.name for metric in metrics_of("calibration")), "slope", "intercept"]
    return {name: short_title(name) for name in names}


def tab(paths: EvaluationPaths, tuning: dict[str, Any], labels: list[str], source: Source) -> None:
    """Draw one finding's reliability before and after calibration, and the metrics of all findings."""
    if not (paths.calibration.is_file() and paths.reliability.is_file()):
        st.info("An older version stored this evaluation, without calibration. Evaluate on test again.")
        return
    table, bins = cache.load_table(paths.calibration), cache.load_table(paths.reliability)
    rows = {(row["finding"], row["stage"]): row for row in table.to_dict("records")}
    with st.container(horizontal=True, vertical_alignment="bottom"):
        label = str(st.selectbox("Finding", labels, width=280, **address.bound("calibration.finding", labels)))
        method = _pick_method([method for method in METHODS if (table["stage"] == method).any()])
    stages = [BEFORE, method] if method else [BEFORE]
    if method == PLATT and (table["stage"] == RECALIBRATED).any():
        stages.append(RECALIBRATED)
    left, right = exports.square_pair()
    with left:
        shown = bins[(bins["finding"] == label) & bins["stage"].isin(stages)]
        alt = f"Observed frequency by predicted probability of {label}, before and after calibration"
        exports.draw_chart(charts.reliability(shown, label), shown, source, "reliability", alt)
    with right:
        _metrics(rows, label, stages)
        if method:
            _validation_minus_test(rows[label, method], tuning, label, method)
            _warn_of_reversal(tuning, label, method)
    _decision_curve(paths, label, source)
    every = _by_finding(rows, labels, stages)
    alt = "Calibration of every finding, a row for each stage"
    st.dataframe(
        exports.styled(every),
        hide_index=True,
        column_config={name: "95 % CI" for name in every if name.endswith(_CI)},
        height=38 + 35 * len(every),
        key="calibration-table",
        placeholder="–",
        alt=alt,
    )
    exports.download("Download calibration as CSV", table, f"{source.stem}-calibration.csv", "calibration-csv", source)


def _decision_curve(paths: EvaluationPaths, label: str, source: Source) -> None:
    """Draw the net benefit of a finding by threshold probability, where a Platt map was fitted."""
    if not paths.net_benefit.is_file():
        return
    table = cache.load_table(paths.net_benefit)
    rows = table[table["finding"] == label]
    st.markdown("**Decision curve (net benefit)**")
    alt = f"Net benefit of {label} by threshold probability, beside treating all and treating none"
    exports.draw_chart(charts.decision_curve(rows, label), rows, source, "net-benefit", alt)
    reason, mark = (str(rows[name].iloc[0]) if name in rows else "" for name in ("reason", "mark"))
    st.caption(
        "Platt probabilities; net benefit is TP/n − FP/n · t/(1 − t). The band is the pointwise 95 % interval of the gain over "
        "the better of treating all and none, over patients."
        + (f" :material/info: No interval: {as_text(reason)}." if reason else "")
        + (f" :material/info: {as_text(mark)}." if mark else "")
    )


def _pick_method(methods: list[str]) -> str | None:
    """Draw the choice of a map; None where validation fitted none."""
    if not methods:
        st.caption("No calibration map: these predictions have no validation scores.")
        return None
    return st.segmented_control(
        "Fitted on validation",
        methods,
        default=methods[0],
        required=True,
        format_func=_METHODS.__getitem__,
        **address.bound("calibration.method", methods, _METHODS.__getitem__),
    )


def _metrics(rows: Rows, label: str, stages: list[str]) -> None:
    """Draw the metrics of a finding, a column a stage."""
    short = _columns()
    titles = {stage: charts.stage_title(stage) for stage in stages}
    columns = {title: [_interval(rows[label, stage], name) for name in short] for stage, title in titles.items()}
    frame = pd.DataFrame({"Metric": list(short.values()), **columns})
    headings = {title: title[0].upper() + title[1:] for title in columns}
    st.dataframe(
        frame,
        hide_index=True,
        column_config=headings,
        key="calibration-figures",
        alt="Calibration of the finding",
    )
    if RECALIBRATED in stages:
        st.caption(f":material/info: **{RECALIBRATED}**: the Platt probabilities, {RECALIBRATION}.")
    st.caption(" ".join(f"**{title}**: {metric_help(name)}" for name, title in short.items()))
    texts = [row["undefined"] for (finding, _), row in rows.items() if finding == label]
    if reasons := [text for text in texts if isinstance(text, str) and text]:
        st.caption(f":material/info: Slope and intercept are undefined: {as_text(reasons[0])}")


def _interval(row: dict[str, Any], name: str) -> str:
    """Write a metric with its interval, where it has one."""
    return format_interval(row[name], _bounds(row, name))


def _bounds(row: dict[str, Any], name: str) -> list[float]:
    """Return the interval of a metric; ECE has none, and one that an older version stored is not shown."""
    declared = METRICS.get(name)
    if declared is not None and not declared.interval:
        return []
    return [row[f"{name}_ci_lower"], row[f"{name}_ci_upper"]]


def _validation_minus_test(row: dict[str, Any], tuning: dict[str, Any], label: str, method: str) -> None:
    """Write the metrics of a map on validation, cross-fitted, beside those on test."""
    validation = tuning.get("validation", {}).get("per_class", {}).get(label)
    if not validation:
        return
    pairs = {name: validation.get(f"{name}_{method}") for name in (metric.name for metric in metrics_of("calibration"))}
    text = "; ".join(
        f"{short_title(name)} {format_metric(value)} − {format_metric(row[name])} = "
        f"{format_metric(value - row[name], signed=True)}"
        for name, value in pairs.items()
        if value is not None
    )
    if reason := tuning.get("reasons", {}).get(label):
        text = f"no calibration map: {as_text(reason)}"
    patients = plural(tuning["n"]["patients"], "patient")
    st.caption(
        f":material/balance: **Validation − test**, {charts.stage_title(method)}, validation cross-fitted over {patients}: "
        f"{text}."
    )


def _warn_of_reversal(tuning: dict[str, Any], label: str, method: str) -> None:
    """Warn of a map that turns the order of the scores around, as few positives on validation can make it."""
    slope = tuning.get("calibration", {}).get(method, {}).get("slope", {}).get(label)
    if slope is not None and slope < 0:
        st.caption(
            f":material/warning: The map fitted on validation has the slope {format_metric(slope, 2)}: it turns the order "
            f"of the scores of {as_text(label)} around. Validation has too few volumes of one class to calibrate it, or "
            "the scores rank them the wrong way."
        )


def _by_finding(rows: Rows, labels: list[str], stages: list[str]) -> pd.DataFrame:
    """Return the metrics with their intervals, a row for each stage of a finding: stages beside each other are cut.

    Metrics are numbers, which a click on the heading sorts by.
    """
    return pd.DataFrame(
        {"Finding": label, "Probabilities": charts.stage_title(stage)} | _cells(rows[label, stage])
        for label in labels
        for stage in stages
    )


def _cells(row: dict[str, Any]) -> dict[str, Any]:
    """Return each metric by its title, and beside it its interval where it has one."""
    cells: dict[str, Any] = {}
    for name, title in _columns().items():
        cells[title] = row[name]
        if bounds := _bounds(row, name):
            cells[title + _CI] = format_bounds(bounds)
    return cells
