"""Charts of studies and searches, from frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from ctbench_core.config import key_title
from ctbench_core.declared import metric_title
from ctbench_core.figures import band, forest, keep_for_paper, lower_bands, set_layout
from ctbench_core.formatting import format_metric
from ctbench_core.palette import white_is_clearer
from ctbench_core.studies import Curve
from ctbench_ui.shared import COLOURS, DASHES, GREY, SEQUENCE, sequence, state_style


def run_matrix(frame: pd.DataFrame) -> go.Figure:
    """Draw one square a run, cells down and repeats across.

    Args:
        frame: columns run, cell, repeat, state.
    """
    chart = go.Figure()
    cells = list(dict.fromkeys(frame["cell"]))
    size = 16 if len(cells) <= 40 else 9
    for state, rows in frame.groupby("state", sort=False):
        style = state_style(str(state))
        chart.add_scatter(
            x=rows["repeat"],
            y=rows["cell"],
            name=f"{style.glyph} {state} ({len(rows)})".strip(),
            mode="markers+text" if size > 10 else "markers",
            marker={"symbol": "square", "size": size, "color": style.colour, "line": {"width": 0}},
            text=[style.glyph] * len(rows),
            textfont={"size": 9, "color": "white"},
            customdata=rows["run"],
            hovertemplate="%{y}<br>%{x}<br>" + str(state) + "<extra></extra>",
        )
    chart.update_xaxes(
        type="category",
        side="top",
        showgrid=False,
        categoryorder="array",
        categoryarray=list(dict.fromkeys(frame["repeat"])),
    )
    chart.update_yaxes(
        type="category", categoryorder="array", categoryarray=cells[::-1], showgrid=False, ticksuffix="  "
    )
    return set_layout(chart, height=min(1600, 110 + (size + 6) * len(cells)))


def scaling_curves(frame: pd.DataFrame, curves: Mapping[str, Curve], metric: str, unit: str) -> go.Figure:
    """Draw means with their intervals by budget on a log axis, and the fitted curves.

    Args:
        frame: columns line, n, mean, lo, hi, cell (its JSON); one row a line and budget.
        curves: the fit by line, where there is one.
    """
    chart = go.Figure()
    for index, (line, rows) in enumerate(frame.groupby("line", sort=False)):
        colour, dash = COLOURS[index % len(COLOURS)], DASHES[index // len(COLOURS) % len(DASHES)]
        ordered = rows.sort_values("n")
        known = ordered.dropna(subset=["lo", "hi"])
        if len(known):
            chart.add_scatter(**band(known["n"], known["lo"], known["hi"], colour, 0.16))
        curve = curves.get(str(line))
        if curve is not None:
            chart.add_scatter(
                x=curve.grid,
                y=curve.fitted,
                mode="lines",
                line={"color": colour, "width": 1.5, "dash": "dot"},
                hoverinfo="skip",
                showlegend=False,
            )
        chart.add_scatter(
            x=ordered["n"],
            y=ordered["mean"],
            name=str(line),
            mode="lines+markers",
            line={"color": colour, "width": 2.5, "dash": dash},
            marker={"size": 9},
            customdata=np.stack([ordered["cell"], ordered["text"]], axis=-1),
            hovertemplate="%{x:,} " + unit + "<br>%{customdata[1]}<extra>" + str(line) + "</extra>",
        )
    sizes = sorted(frame["n"].unique())
    chart.update_xaxes(
        type="log",
        title=f"{unit} used (training and validation)",
        tickvals=sizes,
        ticktext=[f"{n:,.0f}" for n in sizes],
    )
    chart.update_yaxes(title=metric_title(metric))
    return set_layout(lower_bands(chart), height=460)


def heat_map(values: pd.DataFrame, marked: pd.DataFrame, metric: str, dark: bool = False) -> go.Figure:
    """Draw a metric by finding (rows) and recipe (columns); a star marks the best where it beats all others.

    Args:
        values: findings x recipes; marked: the same shape, bool.
        dark: use dark colours for low values, as on a dark page; its files are for white paper all the same.
    """
    text = [
        [format_metric(v) + (" ★" if m else "") for v, m in zip(row, marks)]
        for row, marks in zip(values.to_numpy(), marked.to_numpy())
    ]
    colours = sequence(dark)
    scale = [(0.0, colours[0]), *[((place + 1) / len(colours), colour) for place, colour in enumerate(colours)]]
    table, chart = values.to_numpy(dtype=float), go.Figure()
    is_white = white_is_clearer(table, scale)
    # Two layers, since a heat map has one colour of text: dark on light cells, white on dark ones.
    for cells, ink in ((~is_white, "#000"), (is_white, "#fff")):
        chart.add_heatmap(
            z=np.where(cells, table, np.nan),
            x=list(values.columns),
            y=list(values.index),
            text=np.where(cells, text, ""),
            texttemplate="%{text}",
            textfont={"color": ink},
            colorscale=scale,
            zmin=0,
            zmax=1,
            showscale=ink == "#000",
            colorbar={"title": metric_title(metric), "thickness": 10},
            hovertemplate="%{y}<br>%{x}<br>%{text}<extra></extra>",
            hoverongaps=False,
            xgap=2,
            ygap=2,
        )
    chart.update_yaxes(autorange="reversed", ticksuffix="  ")
    chart.update_xaxes(side="top")
    set_layout(chart, height=110 + 26 * len(values))
    return keep_for_paper(chart, heat_map(values, marked, metric)) if dark else chart


def macro_forest(frame: pd.DataFrame, metric: str) -> go.Figure:
    """Draw differences with their intervals; filled where significant after adjustment.

    Args:
        frame: columns name, delta, lo, hi, p_adjusted.
    """
    rows = frame.rename(columns={"name": "label"}).assign(a="")
    return forest(rows, list(frame["name"]), f"difference in {metric_title(metric)}")


def search_history(frame: pd.DataFrame) -> go.Figure:
    """Draw the value of every trial and the best so far.

    Args:
        frame: columns trial, state, value, run.
    """
    chart = go.Figure()
    for state, symbol, colour in (
        ("finished", "circle", COLOURS[0]),
        ("pruned", "x-thin", GREY),
        ("running", "circle-open", COLOURS[2]),
    ):
        rows = frame[frame["state"] == state]
        chart.add_scatter(
            x=rows["trial"],
            y=rows["value"],
            mode="markers",
            name=state,
            customdata=rows["run"],
            marker={"size": 9, "symbol": symbol, "color": colour, "line": {"width": 2, "color": colour}},
        )
    done = frame[frame["state"] == "finished"]
    chart.add_scatter(
        x=done["trial"],
        y=done["value"].cummax(),
        mode="lines",
        name="best so far",
        line={"color": COLOURS[1], "shape": "hv"},
    )
    chart.update_xaxes(title="trial")
    chart.update_yaxes(title="validation metric")
    return set_layout(chart, height=360)


def importance_bars(shares: Mapping[str, float]) -> go.Figure:
    """Draw the share of the variance that each parameter explains."""
    chart = go.Figure(
        go.Bar(
            x=list(shares.values()),
            y=[key_title(name) for name in shares],
            orientation="h",
            marker={"color": COLOURS[0]},
        )
    )
    chart.update_yaxes(autorange="reversed", ticksuffix="  ")
    chart.update_xaxes(title="share of variance explained (fANOVA)", tickformat=".0%")
    return set_layout(chart, height=90 + 34 * max(1, len(shares)))


def parallel(frame: pd.DataFrame, parameters: Sequence[str], dark: bool = False) -> go.Figure:
    """Draw every finished trial as a line through its parameters and its value; the best stand out, also on a ``dark`` page."""
    dimensions = [_dimension(name, frame[name]) for name in parameters]
    value = frame["value"].astype(float)
    dimensions.append({"label": "Value", "values": value})
    worst, best = (SEQUENCE[-2], SEQUENCE[5]) if dark else (SEQUENCE[2], SEQUENCE[-1])
    chart = go.Figure(go.Parcoords(dimensions=dimensions, line={"color": value, "colorscale": [[0, worst], [1, best]]}))
    chart.update_layout(height=380, margin={"l": 60, "r": 40, "t": 60, "b": 24})
    return keep_for_paper(chart, parallel(frame, parameters)) if dark else chart


def _dimension(name: str, values: pd.Series) -> dict[str, Any]:
    label = key_title(name)
    if pd.api.types.is_numeric_dtype(values) and values.min() > 0 and values.max() > 50 * values.min():
        logs = np.log10(values.astype(float))
        ticks = list(range(int(np.floor(logs.min())), int(np.ceil(logs.max())) + 1))
        return {"label": label, "values": logs, "tickvals": ticks, "ticktext": [f"1e{tick}" for tick in ticks]}
    if pd.api.types.is_numeric_dtype(values):
        return {"label": label, "values": values}
    names = sorted(values.astype(str).unique())
    codes = values.astype(str).map(names.index)
    return {
        "label": label,
        "values": codes,
        "tickvals": list(range(len(names))),
        "ticktext": [text.rsplit(".", 1)[-1] for text in names],
    }
