"""Draw how well volumes and reports retrieve each other."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from ctbench_core.declared import DIRECTIONS
from ctbench_core.figures.layout import band, histogram_bars, lower_bands, set_layout
from ctbench_core.formatting import format_metric
from ctbench_core.palette import COLOURS, GREY


def recall_at_k(frame: pd.DataFrame) -> go.Figure:
    """Draw Recall@K of both directions with the recall of chance.

    Args:
        frame: columns direction, k, recall, chance, and lower, upper of an interval where defined; rows of one truth.
    """
    chart = go.Figure()
    for place, (direction, rows) in enumerate(frame.groupby("direction", sort=False)):
        name, style = DIRECTIONS[str(direction)].title, {"color": COLOURS[place], "width": 2.5}
        if "lower" in rows and rows["lower"].notna().any():
            known = rows.dropna(subset=["lower", "upper"])
            chart.add_scatter(**band(known["k"], known["lower"], known["upper"], COLOURS[place]))
        chart.add_scatter(
            x=rows["k"],
            y=rows["recall"],
            name=name,
            mode="lines+markers",
            line=style,
            marker={"size": 8},
            customdata=rows["recall"] / rows["chance"],
            hovertemplate=name + "<br>recall at %{x}: %{y:.3f}<br>%{customdata:.1f} times chance<extra></extra>",
        )
    _add_chance(chart, frame)
    depths = sorted(frame["k"].unique().tolist())
    chart.update_xaxes(type="log", title="K", tickvals=depths, ticktext=[str(depth) for depth in depths])
    chart.update_yaxes(title="recall", range=[0, 1.02])
    return set_layout(lower_bands(chart), height=400)


def _add_chance(chart: go.Figure, frame: pd.DataFrame) -> None:
    """Add the recall of chance: one grey line where all directions have the same, else one of each in its colour."""
    by_direction = frame.pivot(index="k", columns="direction", values="chance").to_numpy()
    is_same = np.allclose(by_direction, by_direction[:, :1], rtol=1e-9, atol=0, equal_nan=True)
    for place, (direction, rows) in enumerate(frame.groupby("direction", sort=False)):
        name, colour = ("chance", GREY) if is_same else (f"{DIRECTIONS[str(direction)].title}, chance", COLOURS[place])
        dotted = {"color": colour, "width": 1.5, "dash": "dot"}
        chart.add_scatter(x=rows["k"], y=rows["chance"], mode="lines", name=name, line=dotted)
        if is_same:
            return


def similarity_histogram(frame: pd.DataFrame, means: Mapping[str, float | None]) -> go.Figure:
    """Draw the densities of paired and unpaired similarities with their means.

    Args:
        frame: columns pairs, bin_left, bin_right, density; rows of one truth.
        means: mean similarity by kind of pairs.
    """
    chart = go.Figure()
    for (pairs, rows), colour in zip(frame.groupby("pairs", sort=False), COLOURS):
        mean = means.get(str(pairs))
        name, tip = f"{pairs}, mean {format_metric(mean)}", f"{pairs} %{{x:.2f}}: %{{y:.2f}}<extra></extra>"
        chart.add_trace(histogram_bars(rows["bin_left"], rows["bin_right"], rows["density"], name, colour, tip))
        if mean is not None:
            chart.add_vline(x=mean, line_dash="dash", line_color=colour)
    used = frame[frame["density"] > 0]
    if len(used):
        chart.update_xaxes(range=[float(used["bin_left"].min()) - 0.02, float(used["bin_right"].max()) + 0.02])
    chart.update_layout(barmode="overlay", xaxis_title="cosine similarity", yaxis_title="density")
    return set_layout(chart, height=400)
