"""Draw the curve of every finding in a panel of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import ArrayLike

from ctbench_core.figures.layout import band, set_layout
from ctbench_core.formatting import format_metric
from ctbench_core.palette import COLOURS, GREY

# Panels in a row, and the distance of their corners, where a panel is 1 x 1.
_COLUMNS, _WIDE, _HIGH = 6, 1.16, 1.42


def small_multiples(
    curves: pd.DataFrame,
    per_class: pd.DataFrame,
    labels: Sequence[str],
    curve: str = "pr",
    bands: pd.DataFrame | None = None,
) -> go.Figure:
    """Draw the curve of every finding in a panel of its own, with the line of chance.

    The panels share one pair of axes, moved apart: eighteen real subplots take a browser four times as long.

    Args:
        curve: "pr", where chance is the prevalence, or "roc", where it is the diagonal.
    """
    area = {"pr": "auprc", "roc": "auroc"}[curve]
    known, points_of = per_class.set_index("finding"), dict(list(curves[curves["curve"] == curve].groupby("label")))
    corners = [(place % _COLUMNS * _WIDE, -(place // _COLUMNS) * _HIGH) for place in range(len(labels))]
    lines, chances, frames = [], [], []
    for label, corner in zip(labels, corners):
        share = known.loc[label, "prevalence"]
        level = [share, share] if curve == "pr" else [0, 1]
        chances.append(_moved([0, 1], level, corner))
        frames.append(_moved([0, 0, 1], [1, 0, 0], corner))
        if label in points_of:
            part = points_of[label]
            lines.append(_moved(part["x"], part["y"], corner, part["threshold"]))
    chart = go.Figure()
    _add_moved_bands(chart, bands, curve, dict(zip(labels, corners)))
    for parts, colour, width in ((frames, GREY, 0.5), (chances, GREY, 1.2), (lines, COLOURS[0], 1.8)):
        points = np.concatenate([np.empty((0, 5)), *parts]).astype(np.float32)
        hover = {"hovertemplate": "%{customdata[0]:.3f}, %{customdata[1]:.3f} at threshold %{customdata[2]:.3f}"}
        more: dict[str, Any] = hover | {"customdata": points[:, 2:]} if parts is lines else {"hoverinfo": "skip"}
        style = {"mode": "lines", "line": {"color": colour, "width": width}, "name": ""}
        chart.add_scatter(x=points[:, 0], y=points[:, 1], **style, **more)
    titles = [f"{escape(_short(label))} <b>{format_metric(known.loc[label, area])}</b>" for label in labels]
    _add_texts(chart, [(x + 0.5, y + 1.1, title) for (x, y), title in zip(corners, titles)], 11)
    _add_texts(chart, [(x - 0.05, y + v, str(v)) for x, y in corners if x == 0 for v in (0, 1)], 10)
    _add_texts(chart, [(x + v, y - 0.09, str(v)) for x, y in corners for v in (0, 1)], 10)
    chart.update_xaxes(visible=False).update_yaxes(visible=False)
    rows = -(-len(labels) // _COLUMNS)
    return set_layout(chart, height=40 + 190 * rows, legend_below=False).update_layout(showlegend=False)


def _add_moved_bands(
    chart: go.Figure, bands: pd.DataFrame | None, curve: str, corners: Mapping[str, tuple[float, float]]
) -> None:
    """Draw the bands of all panels as one trace; a NaN separates the outlines."""
    if bands is None or not len(bands):
        return
    parts = dict(list(bands[bands["curve"] == curve].groupby("label")))
    outline: dict[str, Any] = {}
    points = [np.empty((0, 2))]
    for label, corner in corners.items():
        if label in parts:
            part = parts[label]
            outline = band(part["x"], part["lower"], part["upper"], COLOURS[0], 0.18)
            points += [np.column_stack([outline["x"], outline["y"]]) + np.asarray(corner), np.full((1, 2), np.nan)]
    x, y = np.concatenate(points).astype(np.float32).T
    chart.add_scatter(**(outline | {"x": x, "y": y, "name": ""}))


def _moved(x: ArrayLike, y: ArrayLike, corner: tuple[float, float], threshold: ArrayLike = np.nan) -> np.ndarray:
    """Return where points are drawn, then x, y and threshold as they are; a NaN row ends the line."""
    points = np.column_stack([np.asarray(x), np.asarray(y), np.broadcast_to(threshold, np.shape(x))])
    drawn = points[:, :2] + np.asarray(corner)
    return np.vstack([np.column_stack([drawn, points]), np.full(5, np.nan)])


def _add_texts(chart: go.Figure, texts: Sequence[tuple[float, float, str]], size: int) -> None:
    x, y, text = zip(*texts) if texts else ((), (), ())
    chart.add_scatter(
        x=x, y=y, text=text, mode="text", textfont={"size": size}, hoverinfo="skip", name="", cliponaxis=False
    )


def _short(label: str, letters: int = 21) -> str:
    return label if len(label) <= letters else label[: letters - 1].rstrip() + "…"
