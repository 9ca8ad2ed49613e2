"""Draw metrics and prevalence by finding."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import plotly.graph_objects as go

from ctbench_core.declared import metric_of, short_title
from ctbench_core.figures.layout import set_finding_layout, whiskers
from ctbench_core.palette import COLOURS, GREY


def prevalence(shares: Mapping[str, Mapping[str, float]]) -> go.Figure:
    """Draw the share of positives, one line a finding and one mark a split.

    Args:
        shares: prevalence by split name and finding.
    """
    chart = go.Figure()
    for place, (split, values) in enumerate(shares.items()):
        symbol = ("circle-open", "diamond-open", "square-open", "triangle-up-open", "x-open", "cross-open")[place % 6]
        tip = "%{y}<br>" + split + " %{x:.1%}<extra></extra>"
        marker = {"size": 9, "symbol": symbol, "color": COLOURS[place % len(COLOURS)], "line": {"width": 2}}
        x, y = list(values.values()), list(values)
        chart.add_scatter(x=x, y=y, name=split, mode="markers", marker=marker, hovertemplate=tip)
    chart.update_xaxes(tickformat=".0%", rangemode="tozero", title="volumes with the finding")
    return set_finding_layout(chart, len(next(iter(shares.values()), {})), 24)


def finding_dots(per_class: pd.DataFrame, metric: str = "auprc") -> go.Figure:
    """Draw a metric by finding, best first, with the prevalence that chance would reach.

    Args:
        per_class: columns finding, prevalence, and the metric; undefined values are left out. Columns
            <metric>_ci_lower and <metric>_ci_upper, if any, become whiskers.
    """
    rows = per_class.dropna(subset=[metric]).sort_values(metric, ascending=False)
    lower, upper = f"{metric}_ci_lower", f"{metric}_ci_upper"
    bars = whiskers(rows[metric], rows[lower], rows[upper], COLOURS[0]) if {lower, upper} <= set(rows) else None
    chart = go.Figure()
    add_prevalence_marks(chart, rows)
    chart.add_scatter(
        x=rows[metric],
        y=rows["finding"],
        name=short_title(metric),
        mode="markers",
        marker={"size": 10, "color": COLOURS[0]},
        error_x=bars,
        hovertemplate="%{y}<br>%{x:.3f}<extra></extra>",
    )
    declared = metric_of(metric)
    chart.update_xaxes(range=[declared.low if declared else 0, 1.02], tickformat=".1f")
    return set_finding_layout(chart, len(rows))


def add_prevalence_marks(chart: go.Figure, rows: pd.DataFrame) -> None:
    """Add the prevalence of findings as small vertical lines: columns finding, prevalence."""
    marker = {"symbol": "line-ns", "size": 11, "line": {"width": 2, "color": GREY}}
    tip = "%{y}<br>prevalence %{x:.3f}<extra></extra>"
    x, y = rows["prevalence"], rows["finding"]
    chart.add_scatter(x=x, y=y, name="prevalence", mode="markers", marker=marker, hovertemplate=tip)
