"""Volumes of a test set for one finding: scores, how wrong they are, and filters."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import streamlit as st

from ctbench_ui.shared import cache, tables
from ctbench_ui.shared.figures import Source

# More rows make a table heavy to send; the CSV holds them all.
SHOWN = 1000
_KINDS = ("all", "missed", "false alarms", "right", "unknown")


def scored(scores: Path, label: str) -> pd.DataFrame:
    """Return volume, exam, patient, label, probability and error of a finding, the most wrong first."""
    names = ("volumename", "exam", "patient", f"target_{label}", f"prob_{label}")
    frame = cache.part(cache.stamp(scores), names)
    frame = frame.set_axis(["volume", "exam", "patient", "label", "probability"], axis=1)
    frame["error"] = (frame["label"].astype("Float64") - frame["probability"]).abs()
    return frame.sort_values("error", ascending=False, na_position="last", kind="stable")


def of_cell(frame: pd.DataFrame, threshold: float, cell: str) -> pd.DataFrame:
    """Return the volumes of a confusion cell: tp, fp, fn or tn."""
    positive, called = (frame["label"] == int(cell in ("tp", "fn"))).fillna(False), frame["probability"] >= threshold
    return frame[positive & (called if cell in ("tp", "fp") else ~called)]


def of_kind(frame: pd.DataFrame, threshold: float, kind: str) -> pd.DataFrame:
    """Return the volumes that a threshold judges right or wrong, in one of the ways a reader asks for."""
    if kind == "all":
        return frame
    if kind == "unknown":
        return frame[frame["label"].isna()]
    cells = {"missed": ("fn",), "false alarms": ("fp",), "right": ("tp", "tn")}[kind]
    return pd.concat([of_cell(frame, threshold, cell) for cell in cells]).sort_values("error", ascending=False)


def of_name(frame: pd.DataFrame, text: str) -> pd.DataFrame:
    """Return the volumes whose name, exam or patient holds the text."""
    text = text.strip()
    if not text:
        return frame
    found = [frame[name].str.contains(text, case=False, regex=False) for name in ("volume", "exam", "patient")]
    return frame[found[0] | found[1] | found[2]]


def show(frame: pd.DataFrame, source: Source, file_name: str, key: str, alt: str) -> None:
    """Draw volumes as a table, the first thousand of many, and offer them all as CSV."""
    config = {
        "volume": st.column_config.TextColumn("Volume", pinned=True),
        "exam": st.column_config.TextColumn("Exam"),
        "patient": st.column_config.TextColumn("Patient"),
        "label": st.column_config.NumberColumn("Label", format="%d"),
        "probability": st.column_config.ProgressColumn("Probability", format=tables.SHARE, min_value=0, max_value=1),
        "error": st.column_config.NumberColumn("Off by", format=tables.SHARE, help="Distance of score and label."),
    }
    st.dataframe(frame.head(SHOWN), hide_index=True, column_config=config, key=f"table-{key}", placeholder="–", alt=alt)
    with st.container(horizontal=True, vertical_alignment="center"):
        rest = f"{SHOWN:,} of {len(frame):,} volumes shown; the CSV holds all." if len(frame) > SHOWN else ""
        st.caption(rest or f"{len(frame):,} volumes", width="stretch")
        tables.download("CSV", frame, file_name, f"{key}-csv", source)


def tab(scores: Path, labels: list[str], threshold: float, source: Source) -> None:
    """Draw the scores of every volume for one finding, filtered by how they are judged and by name."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        label = st.selectbox("Finding", labels, key="volumes.finding", width=250)
        kind = st.segmented_control(
            f"At threshold {threshold:g}", _KINDS, default="all", required=True, key="volumes.kind"
        )
        text = st.text_input("Volume, exam or patient", key="volumes.text", width=180, placeholder="part of a name")
    frame = of_name(of_kind(scored(scores, label), threshold, kind or "all"), text)
    show(frame, source, f"{source.stem}-{label}-volumes.csv", "volumes", f"Volumes for {label}, most wrong first")
    tables.download_stored("All scores, every finding", scores, f"{source.stem}-scores.csv", "scores-csv", source)
