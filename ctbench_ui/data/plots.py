"""Figures of a data set, from frames."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from ctbench_ui.shared.charts import laid_out
from ctbench_ui.shared.style import COLOURS, GREY, SEQUENCE


def norms(histograms: Mapping[str, tuple[Sequence[int], Sequence[float]]]) -> go.Figure:
    """Draw how long the vectors are, one colour a kind.

    Args:
        histograms: B counts and B + 1 edges by kind (visual, text).
    """
    found = go.Figure()
    for place, (kind, (counts, edges)) in enumerate(histograms.items()):
        found.add_bar(
            x=[(low + high) / 2 for low, high in itertools.pairwise(edges)],
            y=list(counts),
            width=[high - low for low, high in itertools.pairwise(edges)],
            name=kind,
            marker={"color": COLOURS[place % len(COLOURS)], "line": {"width": 0}},
            opacity=0.75,
            hovertemplate=kind + ", length %{x:.4g}: %{y:,}<extra></extra>",
        )
    found.update_layout(barmode="overlay", bargap=0)
    found.update_xaxes(title="length of a vector (Euclidean norm)", tickformat=".4~g")
    found.update_yaxes(title="vectors", rangemode="tozero")
    return laid_out(found, height=280, legend_below=False)


def sources(table: pd.DataFrame, first: str, second: str) -> go.Figure:
    """Draw each finding's prevalence in two label sources, joined by a line.

    Args:
        table: of `Agreement`: finding, prevalence_first, prevalence_second.
    """
    found = go.Figure()
    for row in table.itertuples():
        found.add_scatter(
            x=[row.prevalence_first, row.prevalence_second],
            y=[row.finding, row.finding],
            mode="lines",
            line={"color": GREY, "width": 2},
            showlegend=False,
            hoverinfo="skip",
        )
    for place, (name, column) in enumerate(((first, "prevalence_first"), (second, "prevalence_second"))):
        found.add_scatter(
            x=table[column],
            y=table["finding"],
            name=name,
            mode="markers",
            marker={"size": 9, "color": COLOURS[place], "symbol": ("circle", "diamond")[place]},
            hovertemplate="%{y}<br>" + name + " %{x:.1%}<extra></extra>",
        )
    found.update_yaxes(autorange="reversed", ticksuffix="  ")
    found.update_xaxes(tickformat=".0%", rangemode="tozero", title="volumes with the finding")
    return laid_out(found, height=90 + 24 * len(table), legend_below=False)


def co_occurrence(counts: pd.DataFrame, dark: bool = False) -> go.Figure:
    """Draw how often a finding (column) is there where another one (row) is.

    Args:
        counts: volumes with both findings, square, the diagonal holding the volumes with the finding.
        dark: whether few are to be dark, as the page is.
    """
    labels, both = list(counts.columns), counts.to_numpy(np.float64)
    alone = np.diag(both)[:, None]
    share = np.divide(both, alone, out=np.full_like(both, np.nan), where=alone > 0)
    np.fill_diagonal(share, np.nan)  # always 1: it would only bleach the rest
    scale = SEQUENCE[::-1] if dark else SEQUENCE
    found = go.Figure(
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
    found.update_xaxes(tickangle=-60, showgrid=False, automargin=True, dtick=1)
    found.update_yaxes(autorange="reversed", showgrid=False, automargin=True, ticksuffix="  ", dtick=1)
    found.update_layout(height=200 + 22 * len(labels), margin={"l": 8, "r": 8, "t": 8, "b": 8})
    return found
