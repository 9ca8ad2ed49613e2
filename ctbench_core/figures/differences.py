"""Draw differences from a baseline with their intervals."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go

from ctbench_core.figures.layout import set_layout, whiskers
from ctbench_core.formatting import format_p
from ctbench_core.inference import ELIGIBLE, MACRO
from ctbench_core.palette import COLOURS, GREY

_ELIGIBLE_ROW = "Macro, eligible"
LEVEL = 0.05  # of the adjusted p from which a difference is filled


def forest(differences: pd.DataFrame, rows: Sequence[str], title: str = "difference from the baseline") -> go.Figure:
    """Draw differences with intervals, one line a row and one colour a series; filled where adjusted p is below the level.

    Args:
        differences: columns a (the series), label (the row; ``macro`` is the macro mean), delta, lo, hi, p_adjusted.
        rows: labels from top to bottom.
    """
    series = list(dict.fromkeys(differences["a"]))
    chart = go.Figure()
    chart.add_vline(x=0, line_width=1, line_color=GREY)
    places = {name: place for place, name in enumerate(rows)}
    for place, name in enumerate(series):
        part = differences[differences["a"] == name]
        colour = COLOURS[place % len(COLOURS)]
        chart.add_scatter(
            x=part["delta"],
            y=part["label"].map(places) + (place - (len(series) - 1) / 2) * 0.6 / max(len(series), 1),
            name=name,
            mode="markers",
            marker={
                "size": 10 if len(series) < 4 else 7,
                "color": [colour if sure else "rgba(0,0,0,0)" for sure in part["p_adjusted"] < LEVEL],
                "line": {"width": 2, "color": colour},
            },
            error_x=whiskers(part["delta"], part["lo"], part["hi"], colour),
            customdata=part[["label", "lo", "hi"]].assign(p=part["p_adjusted"].map(format_p)),
            hovertemplate="%{customdata[0]}<br>%{x:+.3f} [%{customdata[1]:.3f}, %{customdata[2]:.3f}]"
            "<br>adjusted p %{customdata[3]}<extra>" + str(name) + "</extra>",
        )
    chart.update_yaxes(
        tickvals=list(range(len(rows))),
        ticktext=["Macro mean" if row == MACRO else row for row in rows],
        range=[len(rows) - 0.4, -0.6],
        ticksuffix="  ",
        zeroline=False,
    )
    chart.update_xaxes(title=title, zeroline=False, tickformat="+.2f")
    height = 110 + (26 + 4 * max(0, len(series) - 2)) * len(rows) + 8 * len(series)
    return set_layout(chart, height=height, legend_below=False).update_layout(
        showlegend=len(series) > 1, margin={"t": 34 + 8 * max(0, len(series) - 1)}
    )


def comparison_forest(differences: pd.DataFrame, labels: Sequence[str]) -> go.Figure:
    """Draw the differences of a comparison in one metric: the macro means, then every finding.

    Args:
        differences: as `Comparison.differences`, the rows of one metric.
        labels: the findings.
    """
    eligible = [_ELIGIBLE_ROW] if ELIGIBLE in set(differences["label"]) else []
    rows = differences.assign(label=differences["label"].replace(ELIGIBLE, _ELIGIBLE_ROW))
    return forest(rows, [MACRO, *eligible, *labels])
