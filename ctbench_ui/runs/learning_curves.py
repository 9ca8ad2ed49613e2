"""Learning curves: one metric of the selected runs by epoch, in one chart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from ctbench_core import figures
from ctbench_core.compare import differing_parts
from ctbench_core.formatting import plural
from ctbench_core.palette import keep_places
from ctbench_core.runs import ACTIVE, LOSSES, MOST_CURVES, LearningCurves, curve_titles, learning_curves
from ctbench_ui.frame import address
from ctbench_ui.shared import as_text, exports, feedback, live

SHOWN = "runs.curves"
_METRIC, _PLACES = "runs.curves-metric", "runs.curve-places"
_EVERY_S = 5.0  # while one of the runs is active


def offer() -> None:
    """Draw the switch that shows the curves of the selected runs."""
    st.toggle("Curves", persist_state="session", width="content", **address.bound(SHOWN))


def draw(rows: Sequence[dict[str, Any]]) -> None:
    """Draw the curves of the selected runs; they redraw themselves while one of the runs is active.

    Args:
        rows: of `cache.run_row`, in the order of their selection.
    """
    every_s = _EVERY_S if any(row["state"] in ACTIVE for row in rows[:MOST_CURVES]) else None
    title = "These curves cannot be shown"
    with st.container(border=True):
        st.header("Learning curves", anchor=False)
        feedback.fragment(_draw, title, every_s)(list(rows))


def _draw(rows: list[dict[str, Any]]) -> None:
    titles, shown = curve_titles(), rows[:MOST_CURVES]
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        metric = st.selectbox(
            "Metric",
            list(titles),
            format_func=titles.__getitem__,
            persist_state="session",
            width=220,
            **address.bound(_METRIC, titles, titles.__getitem__),
        )
        smoothing = live.pick_smoothing("runs-curves")
    curves = learning_curves({row["run_id"]: Path(row["run_dir"]) for row in shown}, metric, smoothing)
    names = {row["run_id"]: row["name"] for row in shown}
    if len(curves.drawn):
        _draw_chart(curves, names, titles[metric], _note(shown, metric, smoothing))
    if len(rows) > len(shown):
        st.caption(
            f":material/info: The first {len(shown)} of {plural(len(rows), 'selected run')} are drawn, in the order of the "
            "table. Deselect runs, or change the order or the query, to draw others."
        )
    for run_id, reason in curves.missing.items():
        st.caption(f":material/info: No curve of {as_text(names[run_id])}: {as_text(reason)}.")


def _draw_chart(curves: LearningCurves, names: dict[str, str], title: str, note: str) -> None:
    epochs = curves.epochs.assign(run=curves.epochs["run_id"].map(names))
    short = dict(zip(names, differing_parts(list(names.values()))))  # a legend of whole names is cut on a phone
    drawn, best = (frame.assign(run=frame["run_id"].map(short)) for frame in (curves.drawn, curves.best))
    ids = [run_id for run_id in names if run_id not in curves.missing]
    places = keep_places(ids, st.session_state.get(_PLACES, {}))
    st.session_state[_PLACES] = st.session_state.get(_PLACES, {}) | places
    chart = figures.learning_curves(drawn, best, {short[run_id]: places[run_id] for run_id in ids}, title)
    source = exports.Source(f"{title} of {plural(len(ids), 'run')}", as_text(note), note, "learning-curves")
    own = [name for name in epochs if name not in ("run_id", "run")]
    # A legend of two columns needs more than a phone's width.
    with st.container(key="runs-curves-wide" if chart.layout.legend.orientation else None):
        exports.draw_chart(
            chart, epochs[["run_id", "run", *own]], source, title.replace(" ", "-").lower(), f"{title} by epoch"
        )


def _note(rows: Sequence[dict[str, Any]], metric: str, smoothing: float) -> str:
    """Write what the chart shows, and what it does not allow."""
    sets = len({row["validation_set"] for row in rows})
    parts = [*(["macro mean over findings"] if metric not in LOSSES else []), "dot: best epoch"]
    parts += [f"smoothed {smoothing:g}, faint: raw"] if smoothing else []
    parts += [f"{sets} validation sets: their values do not rank these runs"] if sets > 1 else []
    return " · ".join(parts)
