"""Figures of a data set, from frames."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from ctbench_ui.style import SEQUENCE


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
