"""Learning curves: some metrics of several runs by epoch, a chart each, under one legend."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from ctbench_core import figures
from ctbench_core.compare import differing_parts
from ctbench_core.formatting import plural
from ctbench_core.palette import keep_places
from ctbench_core.runs import (
    ACTIVE,
    FIRST_METRICS,
    LOSSES,
    MOST_CURVES,
    MOST_METRICS,
    LearningCurves,
    curve_titles,
    learning_curves,
)
from ctbench_ui.frame import address
from ctbench_ui.shared import as_text, exports, feedback, live, pictures
from ctbench_ui.shared.style import line_sample

SHOWN = "runs.curves"
_METRICS, _PLACES = "runs.curves-metric", "runs.curve-places"  # the address of one metric is that of several
_EVERY_S = 5.0  # while one of the runs is active
_PLOT, _SMALL_PLOT = 300, 220  # pixels between the axes of a chart alone, and of one of several
_STYLE = """<style>
.st-key-runs-curves-grid {display: grid; gap: .5rem 1rem}
.st-key-runs-curves-grid {grid-template-columns: repeat(auto-fit, minmax(min(100%, max(16rem, 40%)), 1fr))}
.runs-legend {display: flex; flex-wrap: wrap; gap: .1rem 1rem; list-style: none; font-size: .8rem}
.runs-legend, .runs-legend li {margin: 0 !important; padding: 0 !important}
.runs-legend img {width: 1.4rem; height: 1.4rem; margin-right: .4rem; vertical-align: middle}
</style>"""


def offer(has_card: bool) -> bool:
    """Draw the switch that shows curves; return whether they are shown.

    Args:
        has_card: whether the card of a run has their place.
    """
    is_on = st.toggle("Curves", disabled=has_card, persist_state="session", width="content", **address.bound(SHOWN))
    return is_on and not has_card


def line_places(run_ids: Sequence[str]) -> dict[str, int]:
    """Return the place of each run's colour and dash in `line_style`; a run keeps it while others come and go."""
    places = keep_places(run_ids, st.session_state.get(_PLACES, {}))
    st.session_state[_PLACES] = st.session_state.get(_PLACES, {}) | places
    return {run_id: places[run_id] for run_id in run_ids}


def marked_rows(rows: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Return the places of those runs that `draw` draws and that have finished an epoch."""
    return line_places([row["run_id"] for row in rows[:MOST_CURVES] if row["trace"]])


def draw(rows: Sequence[dict[str, Any]], noun: str) -> None:
    """Draw the curves of runs; they redraw themselves while one of the runs is active.

    Args:
        rows: of `cache.run_row`, in the order of the table; the first are drawn.
        noun: what they are: "selected run", or "run" where they are all that match.
    """
    every_s = _EVERY_S if any(row["state"] in ACTIVE for row in rows[:MOST_CURVES]) else None
    title, is_cut = "These curves cannot be shown", len(rows) > MOST_CURVES
    st.html(_STYLE)
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.header("Learning curves", anchor=False, width="content")
            if is_cut:
                st.caption(f"First {MOST_CURVES} of {plural(len(rows), noun)}", width="content")
        feedback.fragment(_draw, title, every_s)(list(rows[:MOST_CURVES]))
        if is_cut:
            change = "Deselect" if noun != "run" else "Select"
            st.caption(f"{change} runs, or change the order or the query, to draw others.")


def _draw(rows: list[dict[str, Any]]) -> None:
    titles = curve_titles()
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        metrics = st.multiselect(
            "Metrics",
            list(titles),
            default=list(FIRST_METRICS),
            format_func=titles.__getitem__,
            max_selections=MOST_METRICS,
            wrap=True,
            persist_state="session",
            **address.bound(_METRICS, titles, titles.__getitem__),
        )
        smoothing = live.pick_smoothing(**address.bound("runs.smoothing"))
    curves = learning_curves({row["run_id"]: Path(row["run_dir"]) for row in rows}, metrics, smoothing)
    names = {row["run_id"]: row["name"] for row in rows}
    if not metrics:
        st.caption("Choose a metric.")
    elif len(curves.drawn):
        drawn = set(curves.drawn["run_id"])
        own = {run_id: name for run_id, name in names.items() if run_id in drawn}
        _draw_charts(curves, own, _note(rows, metrics, smoothing))
    for reason in dict.fromkeys(curves.missing.values()):
        lacking = ", ".join(names[run_id] for run_id, why in curves.missing.items() if why == reason)
        st.caption(f":material/info: No curve of {as_text(lacking)}: {as_text(reason)}.")


def _draw_charts(curves: LearningCurves, names: Mapping[str, str], note: str) -> None:
    """Draw a chart for each metric, the legend of all, and their files.

    Args:
        names: of the runs with curves.
    """
    places = line_places(list(names))
    short = dict(zip(names, differing_parts(list(names.values()))))  # whole names fill the panel
    title = f"Learning curves of {plural(len(names), 'run')}"
    source = exports.Source(title, as_text(note), note, "learning-curves", is_on_page=True)
    make = functools.partial(_figures, curves, short, places)
    with st.container(key="runs-curves-grid"):
        for one in make():
            with st.container():
                chart = exports.noted(figures.keep_legend_for_pictures(one.chart), source)
                pictures.draw_plot(chart, f"chart-{one.name}", f"{source.stem}-{one.name}", one.alt)
    st.html(_legend({short[run_id]: place for run_id, place in places.items()}))
    st.caption(as_text(note))
    with st.container(horizontal=True, horizontal_alignment="right", gap="small"):
        epochs = _with_names(curves.epochs, names)
        first = ["run_id", "run", "epoch"]
        table = epochs[[*first, *epochs.columns.drop(first)]]
        exports.download("CSV", table, f"{source.stem}.csv", "learning-curves-csv")
        exports.download_figures(make, source, "learning-curves-figures")


def _figures(curves: LearningCurves, names: Mapping[str, str], places: Mapping[str, int]) -> Iterator[pictures.Figure]:
    """Yield the chart of each metric that has curves."""
    metrics = list(dict.fromkeys(curves.drawn["metric"]))
    for metric in metrics:
        lines, best = (_with_names(frame[frame["metric"] == metric], names) for frame in (curves.drawn, curves.best))
        own = {names[run_id]: place for run_id, place in places.items() if run_id in set(lines["run_id"])}
        title = curve_titles()[metric]
        chart = figures.learning_curves(lines, best, own, title, _SMALL_PLOT if len(metrics) > 1 else _PLOT)
        table = _with_names(curves.epochs[["run_id", "epoch", metric]], names)
        yield pictures.Figure(title.replace(" ", "-").lower(), chart, table, f"{title} by epoch")


def _with_names(frame: pd.DataFrame, names: Mapping[str, str]) -> pd.DataFrame:
    return frame.assign(run=frame["run_id"].map(names))


def _legend(places: Mapping[str, int]) -> str:
    """Return the legend of the charts as HTML: the line of each run, and its name."""
    lines = (f"<li><img src='{line_sample(place)}' alt=''>{escape(name)}</li>" for name, place in places.items())
    return f'<ul class="runs-legend" aria-label="Legend">{"".join(lines)}</ul>'


def _note(rows: Sequence[dict[str, Any]], metrics: Sequence[str], smoothing: float) -> str:
    """Write what the charts show, and what they do not allow."""
    sets = len({row["validation_set"] for row in rows})
    parts = [*(["macro mean over findings"] if set(metrics).difference(LOSSES) else []), "dot: best epoch"]
    parts += [f"smoothed {smoothing:g}, faint: raw"] if smoothing else []
    parts += [f"{sets} validation sets: their values do not rank these runs"] if sets > 1 else []
    return " · ".join(parts)
