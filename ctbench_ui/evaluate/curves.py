"""Precision-recall and ROC curves: the tab, and its charts from frames."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import streamlit as st
from numpy.typing import ArrayLike

from ctbench_core.formatting import format_metric
from ctbench_ui.frame import address
from ctbench_ui.shared import COLOURS, GREY, exports, finding_colour, finding_style
from ctbench_ui.shared.charts import band, build_chart, set_layout
from ctbench_ui.shared.exports import Source

SOLID_LINES = 8  # more lines than this need dashes
BANDS = 5  # bands of more findings than this hide one another
F1_LEVELS = (0.2, 0.4, 0.6, 0.8)
# Panels in a row, and the distance of their corners, where a panel is 1 x 1.
_COLUMNS, _WIDE, _HIGH = 6, 1.16, 1.42
# Height between the axes of a chart of chosen findings, in pixels.
_PLOT = 330
_QUIET = {"hoverinfo": "skip", "showlegend": False}
_KINDS = {"chosen": "Chosen findings", "pr": "All: precision-recall", "roc": "All: ROC"}


def tab(points: pd.DataFrame, bands: pd.DataFrame | None, per_class: pd.DataFrame, source: Source) -> None:
    """Draw precision-recall and ROC curves: of the chosen findings, or of every finding in a panel of its own."""
    kind = st.segmented_control(
        "Curves",
        list(_KINDS),
        default="chosen",
        required=True,
        format_func=_KINDS.__getitem__,
        label_visibility="collapsed",
        **address.bound("curves.kind", _KINDS, _KINDS.__getitem__),
    )
    if kind not in ("pr", "roc"):
        _chosen(points, bands, per_class, source)
        return
    chart = small_multiples(points, per_class, list(per_class["finding"]), kind, bands)
    alt = f"Curves of every finding ({_KINDS[kind].removeprefix('All: ')}), with the chance level"
    exports.draw_chart(chart, _exported(points[points["curve"] == kind]), source, f"all-{kind}", alt)


def _chosen(points: pd.DataFrame, bands: pd.DataFrame | None, per_class: pd.DataFrame, source: Source) -> None:
    labels = list(per_class["finding"])
    frequent = per_class.dropna(subset=["auprc"]).sort_values("prevalence", ascending=False)["finding"].head(4)
    chosen = st.multiselect(
        "Findings",
        labels,
        default=list(frequent),
        key=f"curves-{source.stem}",
        placeholder="Choose findings",
        help="Dot: threshold .5. Diamond: threshold chosen on validation. Thin line: chance level. "
        "Band (up to five findings): pointwise 95 % interval over patients.",
    )
    if not chosen:
        st.caption("Choose one or more findings.")
        return
    shown = points[points["label"].isin(chosen)]
    shown_bands = None if bands is None else bands[bands["label"].isin(chosen)]
    panels = {
        "pr": ("Precision-recall", precision_recall, "Precision over recall"),
        "roc": ("Receiver operating characteristic", receiver_operating, "True over false positive rate"),
    }
    for column, (name, (title, draw, alt)) in zip(st.columns(2, gap="medium"), panels.items()):
        with column:
            st.markdown(f"**{title}**")
            chart, rows = draw(shown, per_class, chosen, labels, shown_bands), shown[shown["curve"] == name]
            exports.draw_chart(chart, _exported(rows), source, name, f"{alt} of the chosen findings")
    exports.download("Download curves as CSV", _exported(shown), f"{source.stem}-curves.csv", "curves-csv", source)


def _exported(points: pd.DataFrame) -> pd.DataFrame:
    return points.rename(columns={"label": "finding"})


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
    lines = [_line(label, labels, len(chosen)) for label in chosen]
    traces = [*_equal_f1(), *_bands(bands, "pr", chosen, labels)]
    for label, line in zip(chosen, lines):
        traces.append(_curve(curves, label, line, "pr", format_metric(known.loc[label, "auprc"])))
        if len(chosen) <= SOLID_LINES:
            share = float(known.loc[label, "prevalence"])
            traces.append(_prevalence(label, share, line["color"], len(chosen) == 1))
    traces += _operating_points(known, "recall", "precision", [line["color"] for line in lines])
    x, y = {"title": "recall", "range": [0, 1.01]}, {"title": "precision", "range": [0, 1.02]}
    chart = build_chart(traces, _PLOT, len(chosen), x, y)
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
    lines = [_line(label, labels, len(chosen)) for label in chosen]
    chance = {"x": [0, 1], "y": [0, 1], "mode": "lines", "line": {"color": GREY, "width": 1}}
    traces = [*_bands(bands, "roc", chosen, labels), chance | _QUIET]
    for label, line in zip(chosen, lines):
        traces.append(_curve(curves, label, line, "roc", format_metric(known.loc[label, "auroc"])))
    traces += _operating_points(known, "specificity", "recall", [line["color"] for line in lines])
    x = {"title": "false positive rate", "range": [-0.01, 1.0]}
    return build_chart(traces, _PLOT, len(chosen), x, {"title": "true positive rate", "range": [0, 1.02]})


@functools.cache
def _equal_f1() -> list[dict[str, Any]]:
    """Return lines of equal F1 and their names, a trace each."""
    lines = []
    for level in F1_LEVELS:
        recall = np.linspace(level / (2 - level), 1, 60)
        lines += [np.column_stack([recall, level * recall / (2 * recall - level)]), np.full((1, 2), np.nan)]
    points = np.concatenate(lines)
    style = {"mode": "lines", "line": {"color": GREY, "width": 0.6}, "opacity": 0.6}
    names = {"mode": "text", "textposition": "middle right", "textfont": {"color": GREY}, "cliponaxis": False}
    names |= {"x": [1.0] * len(F1_LEVELS), "y": [level / (2 - level) for level in F1_LEVELS]}
    names |= {"text": [f"F1 {format_metric(level, 1)}" for level in F1_LEVELS]}
    return [{"x": points[:, 0], "y": points[:, 1]} | style | _QUIET, names | _QUIET]


def _line(label: str, labels: Sequence[str], lines: int) -> dict[str, Any]:
    colour, dash = finding_style(label, labels)
    if lines <= SOLID_LINES:
        colour, dash = finding_colour(label, labels), "solid"
    return {"color": colour, "dash": dash, "width": 2.2}


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
            traces.append(band(part["x"], part["lower"], part["upper"], finding_colour(label, labels), 0.13))
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
