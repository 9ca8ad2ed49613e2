"""Volumes of a test set for one finding: their scores and errors, with filters."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import streamlit as st

from ctbench_core.evaluate import confusion_cells
from ctbench_core.formatting import format_threshold, plural
from ctbench_ui.evaluate import chosen_threshold
from ctbench_ui.evaluate.chosen_threshold import VOLUMES_FINDING
from ctbench_ui.frame import address
from ctbench_ui.shared import as_text, cache, exports
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


def cells_of(scores: Path, label: str, threshold: float) -> dict[str, np.ndarray]:
    """Return which volumes are in each confusion cell, in the order of the scores."""
    frame = cache.load_columns(scores, (f"target_{label}", f"prob_{label}"))
    return _cells(frame, threshold)


def select_cells(frame: pd.DataFrame, threshold: float, *cells: str) -> pd.DataFrame:
    """Return the volumes of confusion cells: tp, fp, fn, tn."""
    masks = _cells(frame[["label", "probability"]], threshold)
    return frame[np.logical_or.reduce([masks[cell] for cell in cells])]


def _cells(frame: pd.DataFrame, threshold: float) -> dict[str, np.ndarray]:
    """Return the confusion cells of a column of targets, which may be blank, and one of scores."""
    targets, scores = frame.astype("Float64").to_numpy(np.float64, na_value=np.nan).T
    return confusion_cells(targets, scores, threshold)


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
        "volume": st.column_config.TextColumn("Volume"),
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


def tab(scores: Path, labels: list[str], default: float, source: Source) -> None:
    """Draw the scores of every volume for one finding, filtered by error and by name.

    Args:
        default: the threshold of a finding for which *Threshold* has set none.
    """
    shown = chosen_threshold.shown(labels)
    if shown and not address.linked_value(VOLUMES_FINDING):
        st.session_state.setdefault(VOLUMES_FINDING, shown[0])
    with st.container(horizontal=True, vertical_alignment="bottom"):
        label = st.selectbox("Finding", labels, width=250, **address.bound(VOLUMES_FINDING, labels))
        threshold = shown[1] if shown and shown[0] == label else default
        kind = st.segmented_control(
            f"Volumes at threshold {format_threshold(threshold)}",
            list(_KINDS),
            default="all",
            required=True,
            **address.bound("volumes.kind", _KINDS),
        )
        text = st.text_input(
            "Volume, exam or patient", width=180, placeholder="part of a name", **address.bound("volumes.text")
        )
    with st.container():  # what follows keeps its place
        _draw_origin(label, threshold, default, source)
    frame = search(select_kind(load_scores(scores, label), threshold, kind or "all"), text)
    draw_table(
        frame, source, f"{source.stem}-{label}-volumes.csv", "volumes", f"Volumes for {label}, largest error first"
    )
    exports.download_stored("Download all scores as CSV", scores, f"{source.stem}-scores.csv", "scores-csv", source)


def _draw_origin(label: str, threshold: float, default: float, source: Source) -> None:
    """Say where another threshold than the default comes from, and offer the default."""
    if threshold == default:
        return
    preset = chosen_threshold.preset_at(source.stem, label, threshold)
    reason = f": {preset.reason}" if preset and preset.reason else ""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.caption(
            f":material/tune: {format_threshold(threshold)} is set for {as_text(label)} on *Threshold*{reason}.",
            width="content",
        )
        st.button(
            f"Use {format_threshold(default)}",
            key="volumes-reset",
            type="tertiary",
            on_click=chosen_threshold.reset,
            args=(label, default),
        )
