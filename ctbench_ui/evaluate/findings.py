"""The figures of every finding, as a table, as dots with whiskers and as curves."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from ctbench_core.formatting import format_interval
from ctbench_core.metrics import auprc_skill
from ctbench_ui.evaluate import curves
from ctbench_ui.shared import charts, figures, tables
from ctbench_ui.shared.figures import Source

_RATES = ("precision", "recall", "f1")
_TABLE = ("finding", "support", "prevalence", "auprc", "auprc_ci", "skill", "auroc", "auroc_ci", *_RATES, "threshold")
_HELP = {
    "prevalence": "Share of positives among the known labels: the AUPRC of chance.",
    "skill": "AUPRC above chance: (AUPRC - prevalence) / (1 - prevalence).",
}
_WIDTHS = {
    "prevalence": 50,
    "auprc": 56,
    "skill": 48,
    "auroc": 58,
    "precision": 48,
    "recall": 52,
    "f1": 46,
    "threshold": 46,
}
_TITLES = {
    "prevalence": "Prev.",
    "auprc": "AUPRC",
    "skill": "Skill",
    "auroc": "AUROC",
    "precision": "Prec.",
    "recall": "Recall",
    "f1": "F1",
    "f1_tuned": "F1, tuned",
    "threshold": "At",
}
# Pixels of the table at its full width; dots take what is left of the row, or a row of their own.
_TABLE_WIDTH = 940
_KINDS = {"chosen": "Chosen findings", "pr": "All: precision, recall", "roc": "All: ROC"}


def table(per_class: pd.DataFrame, source: Source) -> None:
    """Draw the figures of every finding, as a table and as dots with whiskers: side by side where both fit."""
    with st.container(horizontal=True, gap="medium"):
        with st.container(width="stretch"):
            _dots(per_class, source)
        with st.container(width=_TABLE_WIDTH):
            _table(per_class, source)


def _table(per_class: pd.DataFrame, source: Source) -> None:
    tuned = "threshold_tuned" in per_class
    at = None
    if tuned:
        at = st.segmented_control(
            "Precision, recall and F1 at",
            ["tuned", ".5"],
            default="tuned",
            required=True,
            key="findings.at",
            format_func={"tuned": "the threshold that validation chose", ".5": ".5"}.__getitem__,
        )
    shown = with_intervals(at_threshold(per_class, at == "tuned"))
    st.dataframe(
        shown,
        hide_index=True,
        column_config=_columns(),
        height=38 + 35 * len(shown),
        key="findings",
        placeholder="–",
        alt="Figures by finding",
    )
    tables.download("Download CSV", per_class, f"{source.stem}-per_class.csv", "per-class-csv", source)


def at_threshold(per_class: pd.DataFrame, tuned: bool) -> pd.DataFrame:
    """Return the figures with skill, and precision, recall and F1 at the tuned threshold or at .5."""
    shown = per_class.assign(skill=auprc_skill(per_class["auprc"], per_class["prevalence"]), threshold=0.5)
    if tuned:
        shown = shown.assign(**{name: shown[f"{name}_tuned"] for name in (*_RATES, "threshold")})
    return shown


def _dots(per_class: pd.DataFrame, source: Source) -> None:
    metrics = [name for name in ("auprc", "auroc", "f1", "f1_tuned") if name in per_class]
    metric = st.segmented_control(
        "Metric",
        metrics,
        default="auprc",
        required=True,
        key="dots-metric",
        format_func=_TITLES.__getitem__,
        label_visibility="collapsed",
    )
    metric = metric or "auprc"
    found = charts.finding_dots(per_class, metric)
    figures.show(found, per_class, source, "dots", f"{_TITLES[metric]} by finding, with 95 % intervals")


def with_intervals(per_class: pd.DataFrame) -> pd.DataFrame:
    """Return what the table shows: intervals as papers write them, and why a figure is undefined, if any is."""
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
    config: dict[str, Any] = {
        name: number(_TITLES.get(name, name.capitalize()), format=tables.SHARE, help=_HELP.get(name), width=width)
        for name, width in _WIDTHS.items()
    }
    config["support"] = number("Pos.", format="%d", width=52, help="Positives.")
    config["finding"] = text("Finding", width=215, pinned=True)
    for name in ("auprc_ci", "auroc_ci"):
        config[name] = text("[95 %]", width=92, help="Interval, patients resampled. A dash: too few patients.")
    config["undefined"] = text("Undefined because", help="Why a figure of this row is a dash.")
    return config


def curve_tab(points: pd.DataFrame, bands: pd.DataFrame | None, per_class: pd.DataFrame, source: Source) -> None:
    """Draw precision-recall and ROC curves: of the chosen findings, or of every finding in a panel of its own."""
    kind = st.segmented_control(
        "Curves",
        list(_KINDS),
        default="chosen",
        required=True,
        key="curves.kind",
        format_func=_KINDS.__getitem__,
        label_visibility="collapsed",
    )
    if kind in ("pr", "roc"):
        found = curves.small_multiples(points, per_class, list(per_class["finding"]), kind, bands)
        alt = f"{_KINDS[kind].removeprefix('All: ').capitalize()} of every finding, with the level of chance"
        figures.show(found, points[points["curve"] == kind], source, f"all-{kind}", alt)
        return
    _chosen(points, bands, per_class, source)


def _chosen(points: pd.DataFrame, bands: pd.DataFrame | None, per_class: pd.DataFrame, source: Source) -> None:
    labels = list(per_class["finding"])
    best = per_class.dropna(subset=["auprc"]).sort_values("prevalence", ascending=False)["finding"].head(4)
    chosen = st.multiselect(
        "Findings",
        labels,
        default=list(best),
        key=f"curves-{source.stem}",
        placeholder="Choose findings",
        help="A dot marks threshold .5, a diamond the threshold that validation chose; a thin level line the prevalence, "
        "which is chance. Bands, of up to five findings: 95 % limits at each point, patients resampled.",
    )
    if not chosen:
        st.caption("Choose one finding or more.")
        return
    mine = points[points["label"].isin(chosen)]
    near = None if bands is None else bands[bands["label"].isin(chosen)]
    panels = {
        "pr": ("Precision and recall", curves.precision_recall, "Precision over recall"),
        "roc": ("Receiver operating characteristic", curves.receiver_operating, "True over false positive rate"),
    }
    for column, (name, (title, draw, alt)) in zip(st.columns(2, gap="medium"), panels.items()):
        with column:
            st.markdown(f"**{title}**")
            found = draw(mine, per_class, chosen, labels, near)
            figures.show(found, mine[mine["curve"] == name], source, name, f"{alt} of the chosen findings")
    tables.download("Download curves as CSV", mine, f"{source.stem}-curves.csv", "curves-csv", source)
