"""Volumes of a test set for one finding: their scores and errors, with filters."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import streamlit as st

from ctbench_core.formatting import format_metric, plural
from ctbench_ui.frame import address
from ctbench_ui.shared import cache, exports
from ctbench_ui.shared.exports import Source
from ctbench_ui.shared.style import metric_column, metric_texts

# More rows make a table slow to send; the CSV holds them all.
SHOWN = 1000
# Confusion cells by what a reader asks for.
_KINDS = {"all": (), "false negatives": ("fn",), "false positives": ("fp",), "correct": ("tp", "tn"), "unknown": ()}


def load_scores(scores: Path, label: str) -> pd.DataFrame:
    """Return volume, exam, patient, label, probability and error of a finding, largest error first."""
    frame = cache.load_columns(scores, ("volumename", "exam", "patient", f"target_{label}", f"prob_{label}"))
    frame = frame.set_axis(["volume", "exam", "patient", "label", "probability"], axis=1)
    frame["error"] = (frame["label"].astype("Float64") - frame["probability"]).abs()
    return frame.sort_values("error", ascending=False, na_position="last", kind="stable")


def select_cells(frame: pd.DataFrame, threshold: float, *cells: str) -> pd.DataFrame:
    """Return the volumes of confusion cells: tp, fp, fn, tn."""
    label, called = frame["label"], frame["probability"] >= threshold
    masks = {
        "tp": (label == 1) & called,
        "fn": (label == 1) & ~called,
        "fp": (label == 0) & called,
        "tn": (label == 0) & ~called,
    }
    return frame[np.logical_or.reduce([masks[cell].fillna(False).astype(bool) for cell in cells])]


def select_kind(frame: pd.DataFrame, threshold: float, kind: str) -> pd.DataFrame:
    """Return the volumes of one kind of `_KINDS` at a threshold."""
    if kind == "unknown":
        return frame[frame["label"].isna()]
    return select_cells(frame, threshold, *_KINDS[kind]) if _KINDS[kind] else frame


def search(frame: pd.DataFrame, text: str) -> pd.DataFrame:
    """Return the volumes whose name, exam or patient contains the text."""
    columns = [frame[name] for name in ("volume", "exam", "patient")]
    matches = [column.str.contains(text.strip(), case=False, regex=False) for column in columns]
    return frame[matches[0] | matches[1] | matches[2]] if text.strip() else frame


def draw_table(frame: pd.DataFrame, source: Source, file_name: str, key: str, alt: str) -> None:
    """Draw the first thousand volumes as a table, and offer all of them as CSV."""
    config = {
        "volume": st.column_config.TextColumn("Volume", pinned=True),
        "exam": st.column_config.TextColumn("Exam"),
        "patient": st.column_config.TextColumn("Patient"),
        "label": st.column_config.NumberColumn("Label", format="%d"),
        "probability": metric_column("Probability"),
        "error": metric_column("Error", help="Absolute difference between probability and label."),
    }
    shown = frame.head(SHOWN)
    shown = shown.assign(**{name: metric_texts(shown[name]) for name in ("probability", "error") if name in shown})
    order = sorted(shown, key=lambda name: name in ("exam", "patient"))  # a phone shows the scores first
    st.dataframe(
        shown,
        hide_index=True,
        column_order=order,
        column_config=config,
        key=f"table-{key}",
        placeholder="–",
        alt=alt,
    )
    with st.container(horizontal=True, vertical_alignment="center"):
        rest = f"{SHOWN:,} of {len(frame):,} volumes shown. The CSV has all." if len(frame) > SHOWN else ""
        st.caption(rest or plural(len(frame), "volume"), width="stretch")
        exports.download("CSV", frame, file_name, f"{key}-csv", source)


def tab(scores: Path, labels: list[str], threshold: float, source: Source) -> None:
    """Draw the scores of every volume for one finding, filtered by error and by name."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        label = st.selectbox("Finding", labels, width=250, **address.bound("volumes.finding", labels))
        kind = st.segmented_control(
            f"Volumes at threshold {format_metric(threshold)}",
            list(_KINDS),
            default="all",
            required=True,
            **address.bound("volumes.kind", _KINDS),
        )
        text = st.text_input(
            "Volume, exam or patient", width=180, placeholder="part of a name", **address.bound("volumes.text")
        )
    frame = search(select_kind(load_scores(scores, label), threshold, kind or "all"), text)
    draw_table(
        frame, source, f"{source.stem}-{label}-volumes.csv", "volumes", f"Volumes for {label}, largest error first"
    )
    exports.download_stored("Download all scores as CSV", scores, f"{source.stem}-scores.csv", "scores-csv", source)
