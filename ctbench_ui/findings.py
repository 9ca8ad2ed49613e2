"""The tabs of the Evaluate page: the table of findings, their curves, and the volumes behind them."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from ctbench_ui import charts, tables

_TABLE = ("finding", "prevalence", "support", "auprc", "auroc", "precision", "recall", "f1", "undefined")
_HELP = {
    "prevalence": "Share of positives among the known labels: the AUPRC of chance.",
    "precision": "At threshold .5.",
    "recall": "At threshold .5.",
    "f1": "At threshold .5.",
}
# Pixels, so that the whole table shows beside the plot on a laptop.
_WIDTHS = {"prevalence": 55, "auprc": 58, "auroc": 60, "precision": 54, "recall": 58, "f1": 50}
_TITLES = {
    "prevalence": "Prev.",
    "auprc": "AUPRC",
    "auroc": "AUROC",
    "precision": "Prec.",
    "recall": "Recall",
    "f1": "F1",
}


def table(per_class: pd.DataFrame, key: str) -> None:
    """Draw the figures of every finding, as a table and as dots."""
    left, right = st.columns([5, 3], gap="small")
    shown = per_class[[name for name in _TABLE if name in per_class]]
    if shown["undefined"].isna().all():
        shown = shown.drop(columns="undefined")
    with left:
        st.dataframe(
            shown,
            hide_index=True,
            column_config=_columns(),
            height=38 + 35 * len(shown),
            key=f"findings-{key}",
            alt="Figures by finding",
        )
        tables.download("Download CSV", per_class, f"{key}-per_class.csv", "per-class-csv")
    with right:
        metric = st.segmented_control(
            "Metric",
            ["auprc", "auroc", "f1"],
            default="auprc",
            required=True,
            key="dots-metric",
            format_func=lambda name: _TITLES[name],
            label_visibility="collapsed",
        )
        st.plotly_chart(
            charts.finding_dots(per_class, metric or "auprc"),
            config=charts.CONFIG,
            key=f"dots-{key}",
            alt="Findings, best first, with the level of chance",
        )


def _columns() -> dict[str, Any]:
    number = st.column_config.NumberColumn
    config: dict[str, Any] = {
        name: number(_TITLES.get(name, name.capitalize()), format=tables.SHARE, help=_HELP.get(name), width=width)
        for name, width in _WIDTHS.items()
    }
    config["support"] = number("Pos.", format="%d", width=52, help="Positives.")
    config["finding"] = st.column_config.TextColumn("Finding", width=198, pinned=True)
    config["undefined"] = st.column_config.TextColumn("Undefined because")
    return config


def curves(points: pd.DataFrame, per_class: pd.DataFrame, key: str) -> None:
    """Draw precision-recall and ROC curves of the chosen findings."""
    labels = list(per_class["finding"])
    best = per_class.dropna(subset=["auprc"]).sort_values("prevalence", ascending=False)["finding"].head(4)
    chosen = st.multiselect("Findings", labels, default=list(best), key=f"curves-{key}", placeholder="Choose findings")
    if not chosen:
        st.caption("Choose one finding or more.")
        return
    left, right = st.columns(2, gap="medium")
    with left:
        st.markdown("**Precision and recall**")
        st.plotly_chart(
            charts.precision_recall(points, per_class, chosen, labels),
            config=charts.CONFIG,
            key="pr",
            alt="Precision over recall of the chosen findings",
        )
    with right:
        st.markdown("**Receiver operating characteristic**")
        st.plotly_chart(
            charts.receiver_operating(points, per_class, chosen, labels),
            config=charts.CONFIG,
            key="roc",
            alt="True over false positive rate of the chosen findings",
        )
    tables.download("Download curves as CSV", points[points["label"].isin(chosen)], "curves.csv", "curves-csv")


def volumes(scores: pd.DataFrame, labels: list[str], key: str) -> None:
    """Draw the scores of every volume for one finding, the most wrong first."""
    label = st.selectbox("Finding", labels, key=f"volumes-{key}")
    frame = scores[["volumename", "exam", "patient", f"target_{label}", f"prob_{label}"]].set_axis(
        ["volume", "exam", "patient", "label", "probability"], axis=1
    )
    frame["error"] = (frame["label"].astype("Float64") - frame["probability"]).abs()
    frame = frame.sort_values("error", ascending=False, na_position="last")
    config = {
        "probability": st.column_config.ProgressColumn("Probability", format=tables.SHARE, min_value=0, max_value=1),
        "error": st.column_config.NumberColumn("Off by", format=tables.SHARE),
    }
    st.dataframe(
        frame, hide_index=True, column_config=config, alt=f"Scores of every volume for {label}, most wrong first"
    )
    tables.download("Download all scores as CSV", scores, f"{key}-scores.csv", "scores-csv")
