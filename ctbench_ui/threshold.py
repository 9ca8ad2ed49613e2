"""What a threshold does to one finding: confusion counts, rates, scores, and the volumes behind a cell."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from ctbench_core.evaluate.counts import best_thresholds, confusion_at
from ctbench_core.metrics import ThresholdedMetrics
from ctbench_core.runs import RunPaths
from ctbench_ui import cache, charts, chosen_thresholds, figures, volumes
from ctbench_ui.figures import Source
from ctbench_ui.style import figure

_KEY, _CELL = "threshold", "threshold.cell"
_CELLS = {"tp": "true positives", "fn": "missed", "fp": "false alarms", "tn": "true negatives"}
_RATES = {"precision": "Precision", "recall": "Recall", "specificity": "Specificity", "f1": "F1"}
_BINS = 50


def tab(run: RunPaths, name: str, tuning: dict[str, Any], labels: list[str], source: Source) -> None:
    """Draw one finding at the threshold of a slider, from stored counts."""
    paths = run.evaluation(name)
    left, right = st.columns([1, 1], gap="medium")
    with left:
        label = st.selectbox("Finding", labels, key="finding", bind="query-params")
        counts = cache.counts(cache.stamp(paths.counts), cache.stamp(paths.scores), label)
        if counts.empty:
            st.info("This finding has no positives or no negatives here, so no threshold tells anything.")
            return
        threshold, confusion = confusion_at(counts, _slider(counts))
        cell = _cells(confusion)
    with right:
        for card, (rate, title) in zip(st.columns(4), _RATES.items()):
            card.metric(title, figure(float(getattr(confusion, rate))), border=True)
        bins = histogram(counts)
        alt = f"Scores of positives and negatives of {label}, threshold {figure(threshold)}"
        figures.show(charts.score_histogram(bins, threshold), bins, source, "threshold", alt)
    if cell:
        frame = volumes.of_cell(volumes.scored(paths.scores, label), threshold, cell)
        st.markdown(f"**{label}: {_CELLS[cell]}** at threshold {figure(threshold)}, the most wrong first")
        file_name = f"{source.stem}-{label}-{cell}-{threshold:.3f}.csv"
        volumes.show(frame, source, file_name, "cell", f"{_CELLS[cell].capitalize()} of {label}")
    chosen_thresholds.draw(run, tuning, label, paths.scores, source, lambda value: _set(_KEY, value))


def _slider(counts: pd.DataFrame) -> float:
    st.session_state.setdefault(_KEY, 0.5)
    asked = st.slider(
        "Threshold", 0.0, 1.0, step=0.001, format="%.3f", key=_KEY, bind="query-params", persist_state="session"
    )
    best = best_thresholds(counts)
    presets = {".5": 0.5, "What if: Youden": best["youden"], "What if: max F1": best["f1"]}
    with st.container(horizontal=True, gap="small"):
        for text, value in presets.items():
            st.button(text, key=f"preset-{text.split()[-1].strip('.')}", on_click=_set, args=(_KEY, value))
    st.caption(
        ":material/info: *What if* thresholds are the best on this very set: hindsight, not a result to report. "
        "Those that validation chose stand below."
    )
    return float(asked)


def _set(key: str, value: float | str | None) -> None:
    st.session_state[key] = value


def _cells(confusion: ThresholdedMetrics) -> str | None:
    """Draw the confusion counts as buttons; return the cell whose volumes are asked for."""
    chosen = st.session_state.get(_CELL)
    for title, pair in (("Finding present", ("tp", "fn")), ("Finding absent", ("fp", "tn"))):
        name, *columns = st.columns([1, 2, 2], vertical_alignment="center", gap="small")
        name.caption(title)
        for column, cell in zip(columns, pair):
            count = int(getattr(confusion, cell))
            column.button(
                f"**{count:,}** {_CELLS[cell]}",
                key=f"cell-{cell}",
                type="primary" if cell == chosen else "secondary",
                width="stretch",
                on_click=_set,
                args=(_CELL, None if cell == chosen else cell),
            )
    st.caption("Press a count to see its volumes, the most wrong first.")
    return chosen


def histogram(counts: pd.DataFrame) -> pd.DataFrame:
    """Return positives and negatives by score in even bins, as differences of the stored counts.

    Args:
        counts: rows of one finding, whose thresholds include the edges of the bins.
    """
    edges = np.round(np.linspace(0, 1, _BINS + 1), 3)
    at = np.searchsorted(counts["threshold"].to_numpy(), edges)
    frame = pd.DataFrame({"bin_left": edges[:-1], "bin_right": edges[1:]})
    for name, column in (("positives", "tp"), ("negatives", "fp")):
        above = counts[column].to_numpy()[at].copy()
        above[-1] = 0  # a score of exactly 1 falls into the last bin
        frame[name] = -np.diff(above)
    return frame
