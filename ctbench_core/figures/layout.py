"""Lay out charts: their margins, legends and notes, and the traces that several of them have."""

from __future__ import annotations

import html
import math
import textwrap
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import ArrayLike

from ctbench_core.palette import faint

# A picture of 180 mm, the width of a page of text: 680 pixels of a screen's 96 to the inch, at 300 to the inch as PNG.
CONFIG: dict[str, Any] = {
    "displaylogo": False,
    "toImageButtonOptions": {"format": "png", "width": 680, "scale": 300 / 96},
}
# A chart whose axes both go from 0 to 1: pixels between the axes, and those that a page gives it at most, so that it is
# about as wide as high.
SQUARE_PLOT, SQUARE_WIDTH = 360, 520
_MARGIN = {"l": 8, "r": 36, "t": 8, "b": 8}
_AXIS = 52  # pixels of the ticks and the title below a chart of `build_chart`
_LEGEND_ROW = 19  # pixels of a line of a legend
_LEGEND_LETTERS = 46  # of a line of a legend
_ROWS_ABOVE = 8  # of a legend above a chart of `build_chart`
# Two columns of a legend, as pixels and letters of a name: with their lines they fit the narrowest panel of Runs.
_COLUMN, _COLUMN_LETTERS = 120, 24
_STACKED = 3  # lines of a legend above a chart
# A line of a chart's note must fit a phone; its height in pixels.
_NOTE_LETTERS, _LINE = 62, 14
_HEIGHT = 450  # pixels of a chart without a height, by Plotly
# A note is the title of its chart: of all texts it alone can begin at the edge of the picture.
_NOTE = {
    "font": {"size": 11, "weight": "normal"},
    "pad": {"l": 8},
    "x": 0,
    "xref": "container",
    "xanchor": "left",
    "yref": "container",
    "yanchor": "bottom",
    "automargin": False,
}


# Ticks as metrics read elsewhere, ``.5`` and ``−.02``: no format of Plotly leaves out the zero before the point.
_TICKS = {
    f"{sign}0.{number:0{digits}}": f"{sign}.{number:0{digits}}"
    for digits in (1, 2)
    for sign in ("", "+", "−")
    for number in range(10**digits)
} | {
    f"{sign}{number}.{zeros}": f"{sign}{number}" if number else "0"
    for sign in ("", "+", "−")
    for number in (0, 1)
    for zeros in ("0", "00")
}


def build_chart(
    traces: Sequence[dict[str, Any]], plot: int, legend_rows: int, x: dict[str, Any], y: dict[str, Any]
) -> go.Figure:
    """Return a chart with numbers on both axes: fixed margins, and a row of its legend for every line.

    The legend is above, where a low window shows it; one of many rows is below, or it would hide the chart itself.

    With automatic margins a browser draws everything twice and measures every tick. A chart made of whole traces takes a
    tenth of the time of one to which traces are added one by one.

    Args:
        plot: height between the axes, in pixels.
        x, y: the axes, as Plotly's layout has them.
    """
    is_above, rows = legend_rows <= _ROWS_ABOVE, _LEGEND_ROW * legend_rows
    above, below = (_MARGIN["t"] + rows, _AXIS) if is_above else (_MARGIN["t"], _AXIS + rows)
    # In the first case it is under a note, which makes the margin higher.
    place = {"yanchor": "bottom", "y": 1} if is_above else {"yref": "container", "yanchor": "bottom", "y": 0}
    axis = {"automargin": False, "ticklabeloverflow": "allow", "labelalias": _TICKS}
    layout = {
        "xaxis": axis | x,
        "yaxis": axis | y,
        "height": above + plot + below,
        "margin": _MARGIN | {"l": 58, "t": above, "b": below, "autoexpand": False},
        "legend": place | {"xref": "paper", "xanchor": "left", "x": 0},
        "hovermode": "closest",
    }
    return go.Figure({"data": list(traces), "layout": layout})


def legend_name(name: str) -> str:
    """Return a name as HTML for a legend of whole lines: in lines that a phone shows whole."""
    return "<br>".join(map(html.escape, textwrap.wrap(name, _LEGEND_LETTERS)))


def legend_lines(name: str) -> int:
    """Return how many lines `legend_name` gives a name."""
    return len(textwrap.wrap(name, _LEGEND_LETTERS))


def legend_columns(names: Collection[str]) -> tuple[int, dict[str, Any]]:
    """Return the rows of a legend of names, and its layout: two columns where one is too high to be above the chart."""
    rows = sum(map(legend_lines, names))
    if rows <= _ROWS_ABOVE or max(map(len, names)) > _COLUMN_LETTERS:
        return rows, {}
    return math.ceil(rows / 2), {"orientation": "h", "traceorder": "normal", "entrywidth": _COLUMN}


def set_layout(chart: go.Figure, height: int, legend_below: bool = True) -> go.Figure:
    """Give a chart its height, and the margins and legend that all charts have.

    A legend above the chart has room for a line for each name: that is how a narrow window shows it.
    """
    place = {"yanchor": "top", "y": -0.16} if legend_below else {"yanchor": "bottom", "y": 1.0}
    names = sum(1 for trace in chart.data if trace.name and trace.showlegend is not False)
    above = {} if legend_below else {"t": 15 + _LEGEND_ROW * min(max(names, 1), _STACKED)}
    for axis in (*chart.select_xaxes(), *chart.select_yaxes()):
        axis.labelalias = _TICKS
    chart.update_traces(colorbar_labelalias=_TICKS, selector={"type": "heatmap"})
    return chart.update_layout(
        height=height + max(0, above.get("t", 0) - 34),
        margin=_MARGIN | above,
        legend={"orientation": "h", "x": 0, **place},
        hovermode="closest",
    )


def set_finding_layout(chart: go.Figure, rows: int, pixels: int = 22) -> go.Figure:
    """Give a chart with one line a finding its axis, first finding on top, and a height of some pixels a line."""
    chart.update_yaxes(autorange="reversed", ticksuffix="  ")
    return set_layout(chart, height=90 + pixels * rows, legend_below=False)


def band(x: ArrayLike, lower: ArrayLike, upper: ArrayLike, colour: str, opacity: float = 0.15) -> dict[str, Any]:
    """Return the trace of the area between two lines, such as an interval; for `add_scatter` or a list of traces."""
    along, low, high = (np.asarray(values, np.float32) for values in (x, lower, upper))
    return {
        "x": np.concatenate([along, along[::-1]]),
        "y": np.concatenate([high, low[::-1]]),
        "mode": "lines",
        "fill": "toself",
        "fillcolor": faint(colour, opacity),
        "line": {"width": 0},
        "hoverinfo": "skip",
        "showlegend": False,
    }


def lower_bands(chart: go.Figure) -> go.Figure:
    """Put the bands of a chart below all lines, whose colours they would change; return the chart itself."""
    chart.data = sorted(chart.data, key=lambda trace: trace.fill is None)
    return chart


def histogram_bars(
    left: ArrayLike, right: ArrayLike, heights: ArrayLike, name: str, colour: str, tip: str, opacity: float = 0.65
) -> dict[str, Any]:
    """Return the trace of a histogram's bars, from the edges of its bins."""
    low, high = np.asarray(left, float), np.asarray(right, float)
    return {
        "type": "bar",
        "x": (low + high) / 2,
        "y": np.asarray(heights),
        "width": high - low,
        "name": name,
        "marker": {"color": colour, "line": {"width": 0}},
        "opacity": opacity,
        "hovertemplate": tip,
    }


def whiskers(centre: pd.Series, lower: pd.Series, upper: pd.Series, colour: str) -> dict[str, Any]:
    """Return the error bars of an interval."""
    bars = {"array": upper - centre, "arrayminus": centre - lower}
    return {"type": "data", "thickness": 1.6, "width": 0, "color": colour} | bars


def add_note(chart: go.Figure, text: str) -> go.Figure:
    """Write a note above a chart, inside the picture, so that a copy of the picture keeps it.

    Returns:
        The chart itself, changed: a copy takes half as long as drawing it.
    """
    lines, added = _set_note(chart, text)
    # A title's y is its first line's base.
    chart.layout.title = {"text": lines, "y": 1 - 12 / chart.layout.height, **_NOTE}
    chart.layout.margin.t = (chart.layout.margin.t or 0) + added
    return chart


def add_note_to_pictures(chart: go.Figure, text: str) -> go.Figure:
    """Keep a note for the pictures that are saved of a chart, where the page that shows the chart says it once for all.

    Returns:
        The chart itself; its ``meta`` has what `save_pictures.js` puts into the layout of a picture.
    """
    lines, added = _wrapped_lines(text)
    own = {"height": chart.layout.height or _HEIGHT, "top": chart.layout.margin.t or 0}
    own |= (chart.layout.meta or {}).get("picture", {})
    height = own["height"] + added
    note = {"title": {"text": lines, "y": 1 - 12 / height, **_NOTE}, "top": own["top"] + added, "height": height}
    chart.layout.meta = (chart.layout.meta or {}) | {"picture": own | note}
    return chart


def keep_legend_for_pictures(chart: go.Figure) -> go.Figure:
    """Take the legend out of a chart of `build_chart`, where the page draws one for several charts; pictures have it.

    Call it before `add_note_to_pictures`.

    Returns:
        The chart itself, lower by its legend.
    """
    layout = chart.layout
    own = {"height": layout.height, "top": layout.margin.t, "bottom": layout.margin.b, "showlegend": True}
    layout.height -= (layout.margin.t - _MARGIN["t"]) + (layout.margin.b - _AXIS)
    layout.margin.t, layout.margin.b, layout.showlegend = _MARGIN["t"], _AXIS, False
    layout.meta = (layout.meta or {}) | {"picture": own}
    return chart


def add_note_below(chart: go.Figure, text: str) -> go.Figure:
    """Write a note under a chart whose axis is on top, inside the picture; return the chart itself, changed."""
    lines, added = _set_note(chart, text)
    chart.layout.title = {"text": lines, "y": (added - 10) / chart.layout.height, **_NOTE}
    chart.layout.margin.b = (chart.layout.margin.b or 0) + added
    return chart


def _set_note(chart: go.Figure, text: str) -> tuple[str, int]:
    """Make a chart higher by a note; return the note's lines, and their height in pixels.

    Layouts are set one by one: `update_layout` takes seven milliseconds.
    """
    lines, added = _wrapped_lines(text)
    chart.layout.height = (chart.layout.height or _HEIGHT) + added
    return lines, added


def _wrapped_lines(text: str) -> tuple[str, int]:
    """Return a note as lines of HTML, and its height in pixels."""
    lines = textwrap.wrap(text, _NOTE_LETTERS)
    # Streamlit sets titles in bold.
    texts = [f"<span style='font-weight:400'>{html.escape(line)}</span>" for line in lines]
    return "<br>".join(texts), _LINE * len(lines) + 6
