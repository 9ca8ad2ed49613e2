"""Draw precision-recall and ROC curves of the chosen findings."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from ctbench_core.figures.layout import SQUARE_PLOT, band, build_chart
from ctbench_core.formatting import format_metric
from ctbench_core.palette import GREY, finding_style

PREVALENCES = 8  # lines of the prevalence of more findings than this hide one another
BANDS = 5  # bands of more findings than this hide one another
F1_LEVELS = (0.2, 0.4, 0.6, 0.8)
_END = 1.01  # of the axis of recall: beside it are the names of these lines, which Plotly hides further out
_RIGHT = 54  # pixels beside the axes, where lines of equal F1 have their names
_QUIET = {"hoverinfo": "skip", "showlegend": False}


def precision_recall(
    curves: pd.DataFrame,
    per_class: pd.DataFrame,
    chosen: Sequence[str],
    labels: Sequence[str],
    bands: pd.DataFrame | None = None,
) -> go.Figure:
    """Draw precision over recall of the chosen findings, over lines of equal F1.

    Args:
        curves: columns label, curve, x (recall), y (precision), threshold.
        per_class: columns finding, auprc, prevalence.
        labels: all findings, in the order that fixes their colours.
        bands: columns label, curve, x, lower, upper: pointwise 95 % limits.
    """
    known = per_class.set_index("finding").reindex(list(chosen))
    lines = _lines(chosen, labels)
    traces = [*_equal_f1(), *_bands(bands, "pr", chosen, labels)]
    for label, line in zip(chosen, lines):
        traces.append(_curve(curves, label, line, "pr", format_metric(known.loc[label, "auprc"])))
        if len(chosen) <= PREVALENCES:
            share = float(known.loc[label, "prevalence"])
            traces.append(_prevalence(label, share, line["color"], len(chosen) == 1))
    traces += _operating_points(known, "recall", "precision", [line["color"] for line in lines])
    x, y = {"title": "recall", "range": [0, _END]}, {"title": "precision", "range": [0, 1.02]}
    chart = _square(traces, len(chosen), x, y)
    if len(chosen) == 1:
        share = float(known["prevalence"].iloc[0])
        text = f"prevalence {format_metric(share)}"
        chart.add_annotation(x=1, y=share, text=text, showarrow=False, xanchor="right", yanchor="bottom")
    return chart


def receiver_operating(
    curves: pd.DataFrame,
    per_class: pd.DataFrame,
    chosen: Sequence[str],
    labels: Sequence[str],
    bands: pd.DataFrame | None = None,
) -> go.Figure:
    """Draw the true over the false positive rate of the chosen findings, with the line of chance."""
    known = per_class.set_index("finding").reindex(list(chosen))
    lines = _lines(chosen, labels)
    chance = {"x": [0, 1], "y": [0, 1], "mode": "lines", "line": {"color": GREY, "width": 1}}
    traces = [*_bands(bands, "roc", chosen, labels), chance | _QUIET]
    for label, line in zip(chosen, lines):
        traces.append(_curve(curves, label, line, "roc", format_metric(known.loc[label, "auroc"])))
    traces += _operating_points(known, "specificity", "recall", [line["color"] for line in lines])
    x = {"title": "false positive rate", "range": [-0.01, 1.0]}
    return _square(traces, len(chosen), x, {"title": "recall (sensitivity)", "range": [0, 1.02]})


def _square(traces: Sequence[dict[str, Any]], rows: int, x: dict[str, Any], y: dict[str, Any]) -> go.Figure:
    """Return a chart of curves, which has the same axes as the one beside it."""
    chart = build_chart(traces, SQUARE_PLOT, rows, x, y)
    chart.layout.margin.r = _RIGHT
    return chart


@functools.cache
def _equal_f1() -> list[dict[str, Any]]:
    """Return lines of equal F1 and their names, a trace each."""
    lines = []
    for level in F1_LEVELS:
        recall = np.linspace(level / (2 - level), 1, 60)
        lines += [np.column_stack([recall, level * recall / (2 * recall - level)]), np.full((1, 2), np.nan)]
    points = np.concatenate(lines)
    style = {"mode": "lines", "line": {"color": GREY, "width": 0.6}, "opacity": 0.6}
    names = {"mode": "text", "textposition": "middle right", "cliponaxis": False}
    names |= {"x": [_END] * len(F1_LEVELS), "y": [level / (2 - level) for level in F1_LEVELS]}
    names |= {"text": [f"\u2002F1 = {format_metric(level, 1)}" for level in F1_LEVELS]}
    return [{"x": points[:, 0], "y": points[:, 1]} | style | _QUIET, names | _QUIET]


def _lines(chosen: Sequence[str], labels: Sequence[str]) -> list[dict[str, Any]]:
    """Return the style of each finding's line: its own colour, with its dash where another line has that colour."""
    styles = [finding_style(label, labels) for label in chosen]
    uses = Counter(colour for colour, _ in styles)
    return [{"color": colour, "dash": dash if uses[colour] > 1 else "solid", "width": 2.2} for colour, dash in styles]


def _curve(curves: pd.DataFrame, label: str, line: Mapping[str, Any], curve: str, area: str) -> dict[str, Any]:
    points = curves[(curves["label"] == label) & (curves["curve"] == curve)]
    return {
        "x": points["x"].to_numpy(np.float32),
        "y": points["y"].to_numpy(np.float32),
        "customdata": points["threshold"].to_numpy(np.float32),
        "name": f"{escape(label)} {area}",
        "mode": "lines",
        "line": dict(line),
        "hovertemplate": escape(label) + "<br>%{x:.3f}, %{y:.3f} at threshold %{customdata:.3f}<extra></extra>",
    }


def _bands(
    bands: pd.DataFrame | None, curve: str, chosen: Sequence[str], labels: Sequence[str]
) -> list[dict[str, Any]]:
    """Return the bands of a few findings; those of many would hide one another."""
    if bands is None or len(chosen) > BANDS:
        return []
    traces = []
    for label in chosen:
        part = bands[(bands["label"] == label) & (bands["curve"] == curve)]
        if len(part):
            traces.append(band(part["x"], part["lower"], part["upper"], finding_style(label, labels)[0], 0.13))
    return traces


def _prevalence(label: str, share: float, colour: str, alone: bool) -> dict[str, Any]:
    """Return the line of the precision of chance."""
    return {
        "x": [0, 1],
        "y": [share, share],
        "mode": "lines",
        "line": {"color": colour, "width": 1.4 if alone else 1},
        "opacity": 0.55,
        "showlegend": False,
        "hovertemplate": f"{escape(label)}<br>prevalence {format_metric(share)}<extra></extra>",
    }


def _operating_points(known: pd.DataFrame, x: str, y: str, colours: Sequence[str]) -> list[dict[str, Any]]:
    """Return the points of threshold .5 and of the threshold chosen on validation, where their rates are defined.

    Args:
        known: the per-class table by finding, in the order of the colours.
        x, y: names of the rates; over specificity, the false positive rate is drawn.
    """
    traces = []
    for ending, symbol, size in (("", "circle", 9), ("_tuned", "diamond", 11)):
        names = [f"{x}{ending}", f"{y}{ending}"]
        at = known.reindex(columns=[*names, "threshold_tuned"]).assign(colour=list(colours)).dropna(subset=names)
        if at.empty:
            continue
        thresholds = at["threshold_tuned"] if ending else [0.5] * len(at)
        which = ", chosen on validation" if ending else ""
        edge = {"width": 1.5, "color": "white"}
        trace = {
            "x": (1 - at[names[0]] if x == "specificity" else at[names[0]]).to_numpy(),
            "y": at[names[1]].to_numpy(),
            "text": [
                f"{escape(str(label))}<br>threshold {format_metric(value)}{which}"
                for label, value in zip(at.index, thresholds)
            ],
            "mode": "markers",
            "marker": {"symbol": symbol, "size": size, "color": list(at["colour"]), "line": edge},
            "showlegend": False,
            "hovertemplate": "%{text}: %{x:.3f}, %{y:.3f}<extra></extra>",
        }
        traces.append(trace)
    return traces
