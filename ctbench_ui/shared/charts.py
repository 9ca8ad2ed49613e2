"""Charts of the app alone, from frames: nothing here reads files or session state. Others are in `ctbench_core.figures`."""

from __future__ import annotations

from typing import Any

import pandas as pd
import plotly.graph_objects as go

from ctbench_core.figures import SQUARE_PLOT, build_chart, histogram_bars, set_layout
from ctbench_core.palette import COLOURS, GREY

_PLAIN_DOTS = 3000  # a WebGL context takes a browser longer than a few thousand plain dots
_LINE = {"mode": "lines", "line": {"color": GREY, "width": 1}, "hoverinfo": "skip", "showlegend": False}
_DIAGONAL: dict[str, Any] = {"x": [0, 1], "y": [0, 1], **_LINE}


def score_histogram(frame: pd.DataFrame, threshold: float) -> go.Figure:
    """Draw the shares of positives and negatives by score, with the line of the threshold.

    Args:
        frame: columns bin_left, bin_right, positives, negatives (counts).
    """
    traces: list[dict[str, Any]] = []
    for side, colour in (("negatives", GREY), ("positives", COLOURS[1])):
        total = max(1, int(frame[side].sum()))
        name = f"{side} ({total:,})" if frame[side].sum() else side
        tip = f"{side} %{{x:.2f}}: %{{customdata:,}} (%{{y:.1%}})<extra></extra>"
        bars = histogram_bars(frame["bin_left"], frame["bin_right"], frame[side] / total, name, colour, tip)
        traces.append(bars | {"customdata": frame[side].to_numpy()})
    x = {"title": "probability", "range": [-0.005, 1.005]}
    chart = build_chart(traces, 220, len(traces), x, {"title": "share of volumes", "tickformat": ".0%"})
    line = {"type": "line", "x0": threshold, "x1": threshold, "y0": 0, "y1": 1, "yref": "y domain"}
    chart.layout.shapes = [line | {"line": {"width": 2, "color": COLOURS[0]}}]
    chart.layout.barmode, chart.layout.bargap = "overlay", 0
    return chart


def reliability(bins: pd.DataFrame, label: str) -> go.Figure:
    """Draw the observed share by mean forecast of each stage, with the rows of each bin as its dot's size.

    Args:
        bins: columns stage, forecast, observed, rows.
    """
    chart = go.Figure([_DIAGONAL])
    most = max(1.0, float(bins["rows"].max())) if len(bins) else 1.0
    for place, (stage, part) in enumerate(bins.groupby("stage", sort=False)):
        name = stage_title(str(stage))
        colour = GREY if stage == "before" else COLOURS[place % len(COLOURS)]
        tip = (
            f"{label}, {name}<br>predicted %{{x:.3f}}, observed %{{y:.3f}}<br>%{{customdata:,}} volumes<extra></extra>"
        )
        size = 5 + 9 * (part["rows"] / most) ** 0.5
        points = {"x": part["forecast"], "y": part["observed"], "customdata": part["rows"]}
        style = {"line": {"width": 1.6, "color": colour}, "marker": {"color": colour, "size": size}}
        # A dot at 0 or 1 is larger than the margin of the axis.
        chart.add_scatter(name=name, mode="lines+markers", cliponaxis=False, hovertemplate=tip, **points, **style)
    chart.update_xaxes(title="mean predicted probability", range=[-0.02, 1.02])
    chart.update_yaxes(title="observed frequency", range=[-0.02, 1.02])
    return set_layout(chart, height=430, legend_below=False)


def stage_title(stage: str) -> str:
    """Write a stage of calibration: ``before``, ``after (Platt)``, ``recalibrated``."""
    return stage if stage in ("before", "recalibrated") else f"after ({stage.replace('platt', 'Platt')})"


def decision_curve(rows: pd.DataFrame, label: str) -> go.Figure:
    """Draw net benefit by threshold probability: the model with the band of its gain, treat all, treat none.

    Args:
        rows: columns threshold, model, treat_all, gain, lower, upper of one finding.
    """
    default = rows["treat_all"].clip(lower=0)
    upper, lower = default + rows["upper"], default + rows["lower"]
    chart = go.Figure()
    edge = {"x": rows["threshold"], "mode": "lines", "line": {"width": 0}, "showlegend": False, "hoverinfo": "skip"}
    chart.add_scatter(y=upper, **edge)
    chart.add_scatter(y=lower, fill="tonexty", fillcolor="rgba(128, 128, 128, 0.18)", **edge)
    tip = "threshold %{x:.2f}: %{y:.4f}<extra>%{fullData.name}</extra>"
    for name, values, style in (
        ("model", rows["model"], {"width": 2, "color": COLOURS[0]}),
        ("treat all", rows["treat_all"], {"width": 1.4, "color": GREY, "dash": "dash"}),
        ("treat none", 0 * rows["threshold"], {"width": 1.4, "color": GREY}),
    ):
        chart.add_scatter(x=rows["threshold"], y=values, name=name, mode="lines", line=style, hovertemplate=tip)
    top = max(float(rows["treat_all"].max()), float(rows["model"].max()), 0.01)
    chart.update_xaxes(title="threshold probability", range=[0, 1])
    chart.update_yaxes(title=f"net benefit, {label}", range=[-0.25 * top, 1.1 * top])
    return set_layout(chart, height=320, legend_below=False)


def scatter(frame: pd.DataFrame, first: str, second: str) -> go.Figure:
    """Draw the probabilities of two models against each other, positives and negatives apart.

    Args:
        frame: columns volume, label, first, second, in the order whose positions a selection returns.
    """
    traces = [_DIAGONAL]
    kind = "scatter" if len(frame) < _PLAIN_DOTS else "scattergl"
    for value, name, colour in ((0, "negatives", GREY), (1, "positives", COLOURS[1])):
        part = frame[frame["label"] == value]
        tip = "%{customdata}<br>%{x:.3f}, %{y:.3f}<extra></extra>"
        style = {"type": kind, "mode": "markers", "marker": {"size": 6, "color": colour, "opacity": 0.8}}
        points = _points(part["first"], part["second"]) | {"customdata": part["volume"].to_numpy()}
        traces.append(points | style | {"name": f"{name} ({len(part):,})", "hovertemplate": tip})
    x, y = ({"title": f"probability by {model}", "range": [-0.02, 1.02]} for model in (first, second))
    return build_chart(traces, SQUARE_PLOT, 2, x, y)


def model_curves(curves: dict[str, pd.DataFrame], curve: str) -> go.Figure:
    """Draw one finding's curve of every model: ``pr`` or ``roc``; frames of columns curve, x, y."""
    traces = []
    for place, (name, frame) in enumerate(curves.items()):
        part = frame[frame["curve"] == curve]
        tip = f"{name}<br>%{{x:.3f}}, %{{y:.3f}}<extra></extra>"
        style = {"mode": "lines", "line": {"width": 2.2, "color": COLOURS[place % len(COLOURS)]}}
        traces.append(_points(part["x"], part["y"]) | style | {"name": name, "hovertemplate": tip})
    titles = {"pr": ("recall", "precision"), "roc": ("false positive rate", "recall (sensitivity)")}[curve]
    x, y = {"title": titles[0], "range": [-0.01, 1.01]}, {"title": titles[1], "range": [0, 1.02]}
    return build_chart(traces, SQUARE_PLOT, len(curves), x, y)


def _points(x: pd.Series, y: pd.Series) -> dict[str, Any]:
    return {"x": x.to_numpy("float32"), "y": y.to_numpy("float32")}
