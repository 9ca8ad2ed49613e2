"""Figures of a comparison, from frames: forest plots, scatters and overlaid curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from ctbench_core.formatting import format_p
from ctbench_ui.shared.charts import drawn_once, laid_out
from ctbench_ui.shared.style import COLOURS, GREY

LEVEL = 0.05
_PLAIN_DOTS = 3000
_PLOT = 370  # pixels between the axes


def forest(differences: pd.DataFrame, rows: Sequence[str], title: str = "difference from the baseline") -> go.Figure:
    """Draw differences with intervals, one line a row and one colour a series; filled where adjusted p is below the level.

    Args:
        differences: columns a (the series), label (the row; ``macro`` is the macro mean), delta, lo, hi, p_adjusted.
        rows: labels from top to bottom.
    """
    series = list(dict.fromkeys(differences["a"]))
    found = go.Figure()
    found.add_vline(x=0, line_width=1, line_color=GREY)
    places = {name: place for place, name in enumerate(rows)}
    for place, name in enumerate(series):
        part = differences[differences["a"] == name]
        colour = COLOURS[place % len(COLOURS)]
        found.add_scatter(
            x=part["delta"],
            y=part["label"].map(places) + (place - (len(series) - 1) / 2) * 0.6 / max(len(series), 1),
            name=name,
            mode="markers",
            marker={
                "size": 10 if len(series) < 4 else 7,
                "color": [colour if sure else "rgba(0,0,0,0)" for sure in part["p_adjusted"] < LEVEL],
                "line": {"width": 2, "color": colour},
            },
            error_x=_whiskers(part, colour),
            customdata=part[["label", "lo", "hi"]].assign(p=part["p_adjusted"].map(format_p)),
            hovertemplate="%{customdata[0]}<br>%{x:+.3f} [%{customdata[1]:.3f}, %{customdata[2]:.3f}]"
            "<br>adjusted p %{customdata[3]}<extra>" + str(name) + "</extra>",
        )
    found.update_yaxes(
        tickvals=list(range(len(rows))),
        ticktext=["Macro mean" if row == "macro" else row for row in rows],
        range=[len(rows) - 0.4, -0.6],
        ticksuffix="  ",
        showgrid=False,
        zeroline=False,
    )
    found.update_xaxes(title=title, zeroline=False, tickformat="+.2f")
    height = 110 + (26 + 4 * max(0, len(series) - 2)) * len(rows) + 8 * len(series)
    return laid_out(found, height=height, legend_below=False).update_layout(
        showlegend=len(series) > 1, margin={"t": 34 + 8 * max(0, len(series) - 1)}
    )


def _whiskers(part: pd.DataFrame, colour: str) -> dict[str, Any]:
    up, down = part["hi"] - part["delta"], part["delta"] - part["lo"]
    return {"type": "data", "array": up, "arrayminus": down, "thickness": 1.6, "width": 0, "color": colour}


def scatter(frame: pd.DataFrame, first: str, second: str) -> go.Figure:
    """Draw the probabilities of two models against each other, positives and negatives apart.

    Args:
        frame: columns volume, label, first, second, in the order whose positions a selection returns.
    """
    even = {"x": [0, 1], "y": [0, 1], "mode": "lines", "line": {"color": GREY, "width": 1}}
    traces: list[dict[str, Any]] = [even | {"hoverinfo": "skip", "showlegend": False}]
    # A WebGL context takes a browser longer than a few thousand plain dots.
    kind = "scatter" if len(frame) < _PLAIN_DOTS else "scattergl"
    for value, name, colour in ((0, "negatives", GREY), (1, "positives", COLOURS[1])):
        part = frame[frame["label"] == value]
        traces.append(
            {
                "type": kind,
                "x": part["first"].to_numpy("float32"),
                "y": part["second"].to_numpy("float32"),
                "customdata": part["volume"].to_numpy(),
                "name": f"{name} ({len(part):,})",
                "mode": "markers",
                "marker": {"size": 6, "color": colour, "opacity": 0.55},
                "hovertemplate": "%{customdata}<br>%{x:.3f}, %{y:.3f}<extra></extra>",
            }
        )
    x, y = ({"title": f"probability by {model}", "range": [-0.02, 1.02]} for model in (first, second))
    return drawn_once(traces, _PLOT, 2, x, y)


def overlaid(curves: dict[str, pd.DataFrame], curve: str) -> go.Figure:
    """Draw one finding's curve of every model: ``pr`` or ``roc``; frames of columns curve, x, y."""
    traces = []
    for place, (name, frame) in enumerate(curves.items()):
        part = frame[frame["curve"] == curve]
        traces.append(
            {
                "type": "scatter",
                "x": part["x"].to_numpy("float32"),
                "y": part["y"].to_numpy("float32"),
                "name": name,
                "mode": "lines",
                "line": {"width": 2.2, "color": COLOURS[place % len(COLOURS)]},
                "hovertemplate": f"{name}<br>%{{x:.3f}}, %{{y:.3f}}<extra></extra>",
            }
        )
    titles = {"pr": ("recall", "precision"), "roc": ("false positive rate", "true positive rate")}[curve]
    x, y = {"title": titles[0], "range": [-0.01, 1.01]}, {"title": titles[1], "range": [0, 1.02]}
    return drawn_once(traces, _PLOT, len(curves), x, y)
