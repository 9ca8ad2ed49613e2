"""The live view of a run: its state, its curves, and a small curve of every finding.

Streamlit's own charts lose a zoom whenever their data change. The curves are therefore a small component around uPlot
(`vendor/uplot`): drag to zoom, double-click to see all, click a name to hide its line.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from ctbench_core import figures
from ctbench_core.declared import METRICS, compared_metrics, macro_keys, metric_title, short_title
from ctbench_core.errors import InputError, RunError
from ctbench_core.formatting import format_metric
from ctbench_core.palette import COLOURS
from ctbench_core.runs import (
    History,
    Run,
    Status,
    describe_stopping,
    elapsed_seconds,
    follow_history,
    history_frame,
    open_run,
    smooth,
    thin,
)
from ctbench_ui.shared import active_jobs, as_text, exports, feedback
from ctbench_ui.shared.style import ago, duration, state_badge

EVERY_S = 1.0
_TRACE_POINTS = 120
_SMOOTH = " smooth"
_METRIC_WIDTH = 165  # pixels: two in a row on a phone
_HERE = Path(__file__).parent
_LIBRARY = _HERE / "vendor" / "uplot"
_TITLES = {"finished": "Finished", "failed": "Failed", "interrupted": "Interrupted", "cancelled": "Stopped"}


# title, text for screen readers, names of the lines by column
_PANELS = (
    ("Loss", "Training and validation loss by epoch", {"train_loss": "training", "val_loss": "validation"}),
    ("Validation", "Validation metrics by epoch", {key: short_title(key) for key in macro_keys()}),
)


def _read(*files: Path) -> str:
    return "\n".join(file.read_text(encoding="utf-8") for file in files)


_component = st.components.v2.component(
    "ctbench_epochs",
    html='<div class="panels"></div>',
    css=_read(_LIBRARY / "uPlot.min.css", _HERE / "epochs.css"),
    js=_read(_LIBRARY / "uPlot.iife.min.js", _HERE / "epochs.js"),
)


def draw_run(run_dir: Path, key: str) -> None:
    """Draw the live view of a run; it redraws itself while the run is active."""
    with feedback.show_errors("This run cannot be shown"):
        active = open_run(run_dir).status.active
        every_s = EVERY_S if active else None
        feedback.fragment(_draw_view, "This run cannot be shown", every_s)(str(run_dir), key)


def _draw_view(run_dir: str, key: str) -> None:
    try:
        run = open_run(run_dir)
    except (InputError, RunError):  # renamed or deleted since: the whole page reports it
        st.rerun(scope="app")
    history = follow_history(run.paths.metrics)
    # The status is written less often than the history, and would lag behind the best epoch.
    _draw_state(run, max(run.status.epoch, history.last.get("epoch") or 0), history.best.get("epoch"))
    if run.status.error:
        feedback.show_error(_TITLES.get(run.status.state, "Problem"), run.status.error)
    if not len(history):
        if run.status.active:
            st.caption("Reading features; the first epoch follows.")
            st.skeleton(height=260)
        return
    _draw_curves(history, key)
    with st.expander(
        "Findings by epoch", icon=":material/grid_on:", key=f"{key}-findings", on_change="rerun"
    ) as expander:
        if expander.open:
            _draw_findings(history)


def draw_curves_of(run: Run, key: str) -> None:
    """Draw the curves of a run that has ended, with their files."""
    history = follow_history(run.paths.metrics)
    if not len(history):
        st.caption("No finished epoch.")
        return
    _draw_curves(history, key)
    with st.container(horizontal=True, gap="small"):
        frame = history_frame(history)
        exports.download("Download curves as CSV", frame, f"{run.run_id}-epochs.csv", f"{key}-csv")
        source = exports.Source(run.name, "", f"validation by epoch, run {run.run_id}", run.run_id)
        exports.download_html(lambda: figures.epoch_curves(thin(frame)), source, "Curves by epoch", f"{key}-html")
    _draw_findings(history)


def _draw_state(run: Run, epoch: int, best_epoch: int | None) -> None:
    status, best = run.status, run.best()
    metrics = best.get("val_metrics", {})
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(f"**{as_text(run.name)}** {state_badge(status.state)}", width="content")
        times = [_describe_time(status), describe_stopping(run.config, status, epoch, best_epoch)]
        st.caption(
            " · ".join(filter(None, [_describe_origin(run), *([] if status.active else times)])), width="content"
        )
    if status.active:
        st.progress(active_jobs.share_done(status), text=" · ".join(filter(None, times)))
    averaged = [METRICS[name] for name in compared_metrics() if METRICS[name].macro]
    with st.container(horizontal=True):
        st.metric("Epoch", f"{epoch:,} / {status.max_epochs:,}", width=_METRIC_WIDTH)
        st.metric("Best epoch", f"{best['epoch']:,}" if best else "–", width=_METRIC_WIDTH)
        for metric in averaged:
            value = format_metric(metrics.get(metric.macro))
            help_ = "Macro mean at the best epoch."
            st.metric(f"Validation {metric.title}", value, help=help_, width=_METRIC_WIDTH)


def _describe_origin(run: Run) -> str:
    status = run.status
    began = f"started {ago(status.started)}" if status.started else f"queued {ago(status.created)}"
    process = active_jobs.other_process(status) if status.active else ""
    return " · ".join(filter(None, (run.run_id, began, process)))


def _describe_time(status: Status) -> str:
    """Write the one time that has passed and the one that is left; only the first of a run that has ended."""
    passed = duration(elapsed_seconds(status))
    if not status.active:
        return f"took {passed}"
    return " · ".join(filter(None, (f"{passed} elapsed", active_jobs.time_left(status))))


def pick_smoothing(**widget: Any) -> float:
    """Draw the choice of how much curves are smoothed, and return it.

    Args:
        widget: its key, and what keeps it in the address.
    """
    return st.slider(
        "Smoothing",
        0.0,
        0.95,
        0.0,
        0.05,
        persist_state="session",
        help="Exponential moving average over epochs. 0: raw curves.",
        width=200,
        **widget,
    )


def _draw_curves(history: History, key: str) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        smoothing = pick_smoothing(key=f"{key}-smoothing")
        st.caption("Drag to zoom, double-click to see all epochs. The dashed line is the best epoch.")
    frame = history_frame(history)
    if smoothing:  # over all epochs, not over those that are drawn
        frame = frame.join(smooth(frame.drop(columns="epoch"), smoothing).add_suffix(_SMOOTH))
    frame = thin(frame)
    panels = [{"title": title, "alt": alt, "lines": _lines(frame, names)} for title, alt, names in _PANELS]
    draw_panels(f"{key}-curves", frame["epoch"].tolist(), panels, history.best.get("epoch"))


def draw_panels(
    key: str, along: list[float], panels: list[dict[str, Any]], marked: int | None = None, is_time: bool = False
) -> None:
    """Draw curves in panels beside each other, which keep their zoom while new points come in.

    Args:
        along: the axis that the panels share: epochs or, with ``is_time``, seconds since 1970, written in UTC.
        panels: title, alt and lines of each; ``isShare`` where they are shares from 0 to 1, written as percent.
        marked: the epoch with a dashed line.
    """
    _component(key=key, data={"along": along, "isTime": is_time, "best": marked, "panels": panels})


def _lines(frame: pd.DataFrame, names: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the lines of a panel; where they are smoothed, the raw values stay beside them."""
    lines = []
    for place, (column, name) in enumerate(names.items()):
        line = {"name": name, "colour": COLOURS[place], "values": _to_json(frame[column])}
        if (smooth := f"{column}{_SMOOTH}") in frame:
            line |= {"values": _to_json(frame[smooth]), "raw": line["values"]}
        lines.append(line)
    return lines


def _to_json(values: pd.Series) -> list[float | None]:
    """Return values with five digits, undefined as null."""
    return [None if pd.isna(value) else float(f"{value:.5g}") for value in values]


def _draw_findings(history: History) -> None:
    at_best = history.best or history.last
    names = compared_metrics()
    title, best = metric_title(names[0]), at_best["epoch"]
    rows = []
    for label, values in at_best["val_metrics"].get("per_class", {}).items():
        spaced = list(history.findings.get(label, ()))
        trace = [None if math.isnan(value) else value for value in spaced[:: max(1, len(spaced) // _TRACE_POINTS)]]
        rows.append({"finding": label, **{name: values.get(name) for name in names}, "trace": trace})
    config: dict[str, Any] = {
        "finding": "Finding",
        **{name: f"{metric_title(name)} at epoch {best}" for name in names},
        "trace": st.column_config.LineChartColumn(f"{title} by epoch", y_min=0, y_max=1, width=180),
    }
    alt = f"Validation {title} of every finding by epoch"
    shown = exports.styled(pd.DataFrame(rows))
    st.dataframe(shown, hide_index=True, column_config=config, placeholder="–", alt=alt)
