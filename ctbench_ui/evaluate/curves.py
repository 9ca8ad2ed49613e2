"""The tab of precision-recall and ROC curves."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from ctbench_core.figures import BANDS, precision_recall, receiver_operating, small_multiples
from ctbench_ui.frame import address
from ctbench_ui.shared import exports
from ctbench_ui.shared.exports import Source

_KINDS = {"chosen": "Chosen findings", "pr": "All: precision-recall", "roc": "All: ROC"}


def tab(points: pd.DataFrame, bands: pd.DataFrame | None, per_class: pd.DataFrame, source: Source) -> None:
    """Draw precision-recall and ROC curves: of the chosen findings, or of every finding in a panel of its own."""
    kind = st.segmented_control(
        "Curves",
        list(_KINDS),
        default="chosen",
        required=True,
        format_func=_KINDS.__getitem__,
        label_visibility="collapsed",
        **address.bound("curves.kind", _KINDS, _KINDS.__getitem__),
    )
    if kind not in ("pr", "roc"):
        _chosen(points, bands, per_class, source)
        return
    chart = small_multiples(points, per_class, list(per_class["finding"]), kind, bands)
    alt = f"Curves of every finding ({_KINDS[kind].removeprefix('All: ')}), with the chance level"
    exports.draw_chart(chart, exported(points[points["curve"] == kind]), source, f"all-{kind}", alt)


def _chosen(points: pd.DataFrame, bands: pd.DataFrame | None, per_class: pd.DataFrame, source: Source) -> None:
    labels = list(per_class["finding"])
    frequent = per_class.dropna(subset=["auprc"]).sort_values("prevalence", ascending=False)["finding"].head(4)
    chosen = st.multiselect(
        "Findings",
        labels,
        default=list(frequent),
        key=f"curves-{source.stem}",
        placeholder="Choose findings",
    )
    if not chosen:
        st.caption("Choose one or more findings.")
        return
    shown = points[points["label"].isin(chosen)]
    shown_bands = None if bands is None else bands[bands["label"].isin(chosen)]
    panels = {
        "pr": ("Precision-recall", precision_recall, "Precision over recall"),
        "roc": ("Receiver operating characteristic", receiver_operating, "Recall over false positive rate"),
    }
    for column, (name, (title, draw, alt)) in zip(exports.square_pair(), panels.items()):
        with column:
            st.markdown(f"**{title}**")
            chart, rows = draw(shown, per_class, chosen, labels, shown_bands), shown[shown["curve"] == name]
            exports.draw_chart(chart, exported(rows), source, name, f"{alt} of the chosen findings")
    has_bands = shown_bands is not None and len(shown_bands) > 0 and len(chosen) <= BANDS
    st.caption(_marks(per_class, has_bands))


def _marks(per_class: pd.DataFrame, has_bands: bool) -> str:
    """Say what the marks, thin lines and bands of the curves are."""
    texts = ["**Circle**: threshold .5."]
    texts += ["**Diamond**: threshold chosen on validation."] if "threshold_tuned" in per_class else []
    texts += ["**Thin straight line**: chance level."]
    texts += ["**Band**: pointwise 95 % interval over patients."] if has_bands else []
    return " ".join(texts)


def exported(points: pd.DataFrame) -> pd.DataFrame:
    """Return points of curves with the column names of files."""
    return points.rename(columns={"label": "finding"})
