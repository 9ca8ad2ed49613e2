"""Scaling plots of the table by budget: test figures against the label budget, one line a source."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from ctbench_core.legacy.aggregate import PRIMARY, budget_parts

if TYPE_CHECKING:
    import plotly.graph_objects as go

TITLES = dict(zip(PRIMARY, ("AUPRC", "AUROC", "F1")))


def scaling_figure(by_budget: pd.DataFrame) -> go.Figure | None:
    """Draw the mean of each primary test figure by budget (log axis), with ± one standard deviation over runs.

    Args:
        by_budget: what `by_budget_table` returned.

    Returns:
        None when no budget is known.
    """
    from plotly.subplots import make_subplots

    rows = by_budget.dropna(subset=["budget_n"])
    if rows.empty:
        return None
    found = make_subplots(1, len(PRIMARY), subplot_titles=list(TITLES.values()), horizontal_spacing=0.09)
    parts = [part for part in budget_parts(by_budget) if part != "budget_n"]
    sizes = sorted(rows["budget_n"].unique())
    for place, (key, line) in enumerate(rows.groupby(parts, dropna=False, sort=False)):
        name = " · ".join(map(str, key))
        for column, figure in enumerate(PRIMARY, 1):
            found.add_scatter(
                x=line["budget_n"],
                y=line[f"{figure}_mean"],
                error_y={"type": "data", "array": line[f"{figure}_std"].fillna(0), "thickness": 1.2, "width": 3},
                name=name,
                legendgroup=name,
                showlegend=column == 1,
                mode="lines+markers",
                marker={"size": 8, "symbol": place % 8},
                customdata=line[[f"{figure}_std", f"{figure}_count"]],
                hovertemplate="%{x:,}: %{y:.3f} ± %{customdata[0]:.3f}, %{customdata[1]} runs<extra>%{fullData.name}</extra>",
                row=1,
                col=column,
            )
    colours = found.layout.template.layout.colorway or ()
    for at, trace in enumerate(found.data):  # one colour a line, in every panel
        trace.update(line={"color": colours[at // len(PRIMARY) % len(colours)]} if colours else {})
    found.update_xaxes(type="log", title="budget", tickvals=sizes, ticktext=[f"{size:,.0f}" for size in sizes])
    found.update_yaxes(tickformat=".2f")
    return found.update_layout(height=420, legend={"orientation": "h", "y": -0.25}, margin={"t": 40, "b": 8})


def scaling_page(by_budget: pd.DataFrame) -> str | None:
    """Return the plot as one HTML page that needs no network; None when no budget is known."""
    found = scaling_figure(by_budget)
    return None if found is None else found.to_html(include_plotlyjs=True)
