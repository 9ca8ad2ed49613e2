"""Draw the course of a training."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from ctbench_core.declared import macro_keys, short_title
from ctbench_core.figures.layout import build_chart, legend_columns, legend_name, set_layout
from ctbench_core.palette import COLOURS, line_style


def epoch_curves(frame: pd.DataFrame) -> go.Figure:
    """Draw the losses and the validation metrics over epochs, one above the other.

    Args:
        frame: columns epoch, train_loss, val_loss and the keys of macro means.
    """
    names = {"train_loss": "training loss", "val_loss": "validation loss"}
    metrics = {key: short_title(key) for key in macro_keys() if key in frame}
    chart = go.Figure()
    for axis, lines in (("y", names), ("y2", metrics)):
        for place, (column, name) in enumerate(lines.items()):
            style = {"color": COLOURS[place], "dash": "dot" if axis == "y" else "solid"}
            chart.add_scatter(x=frame["epoch"], y=frame[column].astype(float), name=name, line=style, yaxis=axis)
    chart.update_layout(
        xaxis={"title": "epoch", "anchor": "y"},
        yaxis={"title": "loss", "domain": [0, 0.46]},
        yaxis2={"title": "validation", "domain": [0.54, 1]},
    )
    return set_layout(chart, height=640, legend_below=False)


def learning_curves(
    drawn: pd.DataFrame, best: pd.DataFrame, places: Mapping[str, int], title: str, plot: int = 300
) -> go.Figure:
    """Draw one metric of several runs over epochs: a line a run, with a dot at its best epoch.

    Args:
        drawn: columns run, epoch, value; the column raw is drawn faint behind a smoothed value.
        best: columns run, epoch, value.
        places: the place of each run's colour and dash in `line_style`, in the order of the legend.
        title: of the metric. plot: height between the axes, in pixels.
    """
    traces: list[dict[str, Any]] = []
    lines, dots = dict(list(drawn.groupby("run"))), dict(list(best.groupby("run")))
    for run, place in places.items():
        colour, dash = line_style(place)
        line, name = lines[run], escape(run)
        group = {"name": legend_name(run), "legendgroup": run, "mode": "lines"}
        if "raw" in line:
            style = {"line": {"color": colour, "width": 1}, "opacity": 0.3, "hoverinfo": "skip", "showlegend": False}
            traces.append(group | style | _points(line, "raw"))
        tip = f"{name}<br>epoch %{{x:,}}: %{{y:.3f}}<extra></extra>"
        style = {"line": {"color": colour, "dash": dash, "width": 2}, "hovertemplate": tip}
        traces.append(group | style | _points(line, "value"))
        if run in dots:
            edge = {"size": 10, "color": colour, "line": {"width": 1.5, "color": "white"}}
            tip = f"{name}<br>best epoch %{{x:,}}: %{{y:.3f}}<extra></extra>"
            style = {"mode": "markers", "marker": edge, "hovertemplate": tip, "showlegend": False}
            traces.append(group | style | _points(dots[run], "value"))
    rows, columns = legend_columns(places)
    chart = build_chart(traces, plot, rows, {"title": "epoch"}, {"title": title})
    # A zoom stays while new epochs come in; lines of several traces have no gap in the legend.
    return chart.update_layout(uirevision=title, legend={"tracegroupgap": 0} | columns)


def _points(frame: pd.DataFrame, column: str) -> dict[str, Any]:
    return {"x": frame["epoch"].to_numpy("int64"), "y": frame[column].to_numpy("float64")}
