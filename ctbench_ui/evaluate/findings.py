"""The metrics of every finding, as a table and as dots with whiskers."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from ctbench_core.declared import METRICS
from ctbench_core.formatting import format_interval
from ctbench_core.metrics import auprc_skill
from ctbench_ui.shared import charts, exports
from ctbench_ui.shared.exports import Source

_RATES = ("precision", "recall", "f1")
_TABLE = ("finding", "support", "prevalence", "auprc", "auprc_ci", "skill", "auroc", "auroc_ci", *_RATES, "threshold")
_WIDTHS = {
    "support": 52,
    "prevalence": 50,
    "auprc": 56,
    "skill": 48,
    "auroc": 58,
    "precision": 48,
    "recall": 52,
    "f1": 46,
    "threshold": 68,
}
# Pixels of the table at its full width; dots take what is left of the row, or a row of their own.
_TABLE_WIDTH = 962


def tab(per_class: pd.DataFrame, source: Source) -> None:
    """Draw the metrics of every finding as dots and as a table, side by side where both fit."""
    with st.container(horizontal=True, gap="medium"):
        with st.container(width="stretch"):
            _dots(per_class, source)
        with st.container(width=_TABLE_WIDTH):
            _table(per_class, source)


def _table(per_class: pd.DataFrame, source: Source) -> None:
    at = None
    if "threshold_tuned" in per_class:
        at = st.segmented_control(
            "Precision, recall and F1 at",
            ["tuned", ".5"],
            default="tuned",
            required=True,
            key="findings.at",
            format_func={"tuned": "the threshold chosen on validation", ".5": ".5"}.__getitem__,
        )
    shown = with_intervals(at_threshold(per_class, at == "tuned"))
    st.dataframe(
        exports.styled(shown).format("{:.0f}", subset=["support"]),
        hide_index=True,
        column_config=_columns(),
        height=38 + 35 * len(shown),
        key="findings",
        placeholder="–",
        alt="Metrics by finding",
    )
    exports.download("Download CSV", per_class, f"{source.stem}-per_class.csv", "per-class-csv", source)


def at_threshold(per_class: pd.DataFrame, tuned: bool) -> pd.DataFrame:
    """Return the metrics with skill, and precision, recall and F1 at the tuned threshold or at .5."""
    shown = per_class.assign(skill=auprc_skill(per_class["auprc"], per_class["prevalence"]), threshold=0.5)
    if tuned:
        shown = shown.assign(**{name: shown[f"{name}_tuned"] for name in (*_RATES, "threshold")})
    return shown


def _dots(per_class: pd.DataFrame, source: Source) -> None:
    metric = st.segmented_control(
        "Metric",
        [name for name in ("auprc", "auroc", "f1", "f1_tuned") if name in per_class],
        default="auprc",
        required=True,
        key="dots-metric",
        format_func=lambda name: METRICS[name].short,
        label_visibility="collapsed",
    )
    metric = metric or "auprc"
    alt = f"{METRICS[metric].title} by finding, with 95 % intervals"
    exports.draw_chart(charts.finding_dots(per_class, metric), per_class, source, "dots", alt)


def with_intervals(per_class: pd.DataFrame) -> pd.DataFrame:
    """Return the columns of the table: intervals as text, and why a metric is undefined, if any is."""
    shown = per_class.copy()
    for name in ("auprc", "auroc"):
        bounds = [f"{name}_ci_lower", f"{name}_ci_upper"]
        if set(bounds) <= set(shown):
            texts = [format_interval(None, pair).removeprefix("– ") for pair in shown[bounds].to_numpy().tolist()]
            shown[f"{name}_ci"] = [None if text == "–" else text for text in texts]
    columns = [name for name in _TABLE if name in shown]
    reasons = "undefined" in shown and shown["undefined"].notna().any()
    return shown[[*columns, "undefined"] if reasons else columns]


def _columns() -> dict[str, Any]:
    number, text = st.column_config.NumberColumn, st.column_config.TextColumn
    ci = text("95 % CI", width=92, help="Over patients. A dash: too few patients.")
    return {
        "finding": text("Finding", width=215, pinned=True),
        **{name: number(METRICS[name].short, help=METRICS[name].help, width=px) for name, px in _WIDTHS.items()},
        "auprc_ci": ci,
        "auroc_ci": ci,
        "undefined": text("Note", help="Why a metric in this row is undefined."),
    }
