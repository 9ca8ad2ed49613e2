"""Charts of a data set, from frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from ctbench_core.figures import histogram_bars, keep_for_paper, prevalence, set_layout
from ctbench_ui.shared import COLOURS, GREY, sequence


def norms(histograms: Mapping[str, tuple[Sequence[int], Sequence[float]]]) -> go.Figure:
    """Draw a histogram of the norms of the vectors, one colour a kind.

    Args:
        histograms: B counts and B + 1 edges by kind (visual, text).
    """
    chart = go.Figure()
    for (kind, (counts, edges)), colour in zip(histograms.items(), COLOURS):
        tip = f"{kind}, norm %{{x:.4g}}: %{{y:,}}<extra></extra>"
        chart.add_trace(histogram_bars(edges[:-1], edges[1:], counts, kind, colour, tip, opacity=0.75))
    chart.update_layout(barmode="overlay", bargap=0)
    chart.update_xaxes(title="Euclidean norm of a vector", tickformat=".4~g")
    chart.update_yaxes(title="vectors", rangemode="tozero")
    chart.update_yaxes(tickformat=",")
    set_layout(chart, height=280, legend_below=False)
    return chart.update_xaxes(labelalias={})  # a norm is no metric: ``0.995`` beside ``.99`` would be two styles


def prevalences(table: pd.DataFrame, first: str, second: str) -> go.Figure:
    """Draw each finding's prevalence in two label sources, joined by a line.

    Args:
        table: of `Agreement`: finding, prevalence_first, prevalence_second.
    """
    columns = {first: "prevalence_first", second: "prevalence_second"}
    chart = prevalence({name: dict(zip(table["finding"], table[column])) for name, column in columns.items()})
    ends = table[list(columns.values())].assign(gap=np.nan).to_numpy(float).ravel()  # a gap ends each line
    line = {"color": GREY, "width": 2}
    chart.add_scatter(x=ends, y=table["finding"].repeat(3), mode="lines", line=line, showlegend=False, hoverinfo="skip")
    chart.data = chart.data[-1:] + chart.data[:-1]  # lines below dots
    return chart


def co_occurrence(counts: pd.DataFrame, dark: bool = False) -> go.Figure:
    """Draw the share of the volumes with one finding (row) that have another one (column).

    Args:
        counts: volumes with both findings, square, the diagonal holding the volumes with the finding.
        dark: use dark colours for low shares, as on a dark page; its files are for white paper all the same.
    """
    labels, both = list(counts.columns), counts.to_numpy(np.float64)
    alone = np.diag(both)[:, None]
    share = np.divide(both, alone, out=np.full_like(both, np.nan), where=alone > 0)
    np.fill_diagonal(share, np.nan)  # always 1, which would leave the others pale
    scale = sequence(dark)
    chart = go.Figure(
        go.Heatmap(
            z=share.astype(np.float32),
            x=labels,
            y=labels,
            customdata=both.astype(np.int32),
            colorscale=[[place / (len(scale) - 1), colour] for place, colour in enumerate(scale)],
            zmin=0,
            zmax=float(np.nanmax(share, initial=0.01)),
            xgap=1,
            ygap=1,
            hoverongaps=False,
            hovertemplate="of the volumes with %{y}<br>%{z:.0%} have %{x} too (%{customdata:,})<extra></extra>",
            colorbar={"tickformat": ".0%", "thickness": 10, "outlinewidth": 0},
        )
    )
    chart.update_xaxes(tickangle=-60, showgrid=False, automargin=True, dtick=1)
    chart.update_yaxes(autorange="reversed", showgrid=False, automargin=True, ticksuffix="  ", dtick=1)
    chart.update_layout(height=200 + 22 * len(labels), margin={"l": 8, "r": 8, "t": 8, "b": 8})
    return keep_for_paper(chart, co_occurrence(counts)) if dark else chart
