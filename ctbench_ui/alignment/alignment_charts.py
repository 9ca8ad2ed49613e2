"""Charts of alignment: ranks, findings, the map, and the recall of two results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from ctbench_core.declared import CROSS_DIRECTIONS, DIRECTIONS
from ctbench_core.figures import band, lower_bands, set_layout
from ctbench_ui.alignment.density import Density
from ctbench_ui.shared import COLOURS, GREY


def rank_distribution(ranks: pd.DataFrame, n_candidates: int) -> go.Figure:
    """Draw the share of queries whose first hit has each rank or a better one, with that of one hit in random order.

    Args:
        ranks: columns direction, first_rank; rows of one truth.
    """
    chart = go.Figure()
    ranked = np.unique(np.round(np.geomspace(1, max(n_candidates, 2), 160)))
    for index, (way, rows) in enumerate(ranks.groupby("direction", sort=False)):
        known = np.sort(rows["first_rank"].dropna().to_numpy())
        share = np.searchsorted(known, ranked, side="right") / max(len(known), 1)
        chart.add_scatter(
            x=ranked,
            y=share.astype(np.float32),
            name=DIRECTIONS[str(way)].title,
            mode="lines",
            line={"color": COLOURS[index], "width": 2.5, "shape": "hv"},
            hovertemplate="rank %{x:,}: %{y:.1%} of the queries<extra></extra>",
        )
    chance = {"color": GREY, "width": 1.2, "dash": "dot"}
    chart.add_scatter(x=ranked, y=ranked / n_candidates, name="one hit by chance", mode="lines", line=chance)
    chart.update_xaxes(type="log", dtick=1, title="rank of the first hit")
    chart.update_yaxes(title="share of queries", tickformat=".0%", range=[0, 1.02])
    return set_layout(chart, height=380, legend_below=False)


def finding_lift(findings: pd.DataFrame, k: int) -> go.Figure:
    """Draw how much more often each finding is among the first k than by chance, the largest lift first.

    Args:
        findings: columns direction, finding, prevalence, precision_at_<k>, and lower_at_<k>, upper_at_<k> where known.
    """
    chart, order = go.Figure(), lift_order(findings, k)
    for index, (way, rows) in enumerate(findings.groupby("direction", sort=False)):
        by_finding = rows.set_index("finding").reindex(order)
        chart.add_scatter(
            x=by_finding[f"lift_at_{k}"],
            y=order,
            name=DIRECTIONS[str(way)].title,
            mode="markers",
            orientation="h",
            offsetgroup=str(way),
            marker={"size": 9, "color": COLOURS[index % len(COLOURS)]},
            error_x=_error_bars(by_finding, k),
            customdata=by_finding[[f"precision_at_{k}", "prevalence"]],
            hovertemplate="%{y}<br>%{x:.2f} times chance: %{customdata[0]:.3f} of the first "
            f"{k}, " + "%{customdata[1]:.3f} of all<extra></extra>",
        )
    chart.add_vline(1, line={"color": GREY, "width": 1.2, "dash": "dot"})
    chart.update_yaxes(autorange="reversed", ticksuffix="  ")
    ticks = [0.1, 0.2, 0.5, 1, 2, 3, 5, 10, 20, 50, 100]
    chart.update_xaxes(type="log", tickvals=ticks, title=f"lift: P@{k} / chance")
    # Beside each other: intervals on one line hide one another.
    chart.update_layout(scattermode="group", scattergap=0.25)
    return set_layout(chart, height=100 + 22 * len(order), legend_below=False)


def lift_order(findings: pd.DataFrame, k: int) -> list[str]:
    """Return the findings by lift at k of volume to report, the largest first; those without one last."""
    first = findings[findings["direction"] == CROSS_DIRECTIONS[0].name]
    return list(first.sort_values(f"lift_at_{k}", ascending=False, kind="stable")["finding"])


def _error_bars(rows: pd.DataFrame, k: int) -> dict[str, object] | None:
    """Return the bars of the intervals of lift at k, those of precision over prevalence; None where none are stored."""
    if f"lower_at_{k}" not in rows:
        return None
    value = rows[f"precision_at_{k}"]
    above, below = (
        (rows[f"upper_at_{k}"] - value) / rows["prevalence"],
        (value - rows[f"lower_at_{k}"]) / rows["prevalence"],
    )
    return {"type": "data", "array": above, "arrayminus": below, "thickness": 1, "width": 0}


def embedding_map(
    points: pd.DataFrame,
    colours: Mapping[str, str],
    lines: pd.DataFrame | None,
    density: Density,
    shaded: bool,
) -> go.Figure:
    """Draw volumes and reports on one plane.

    Args:
        points: columns x, y (float32), kind (volume, report), group, volumename.
        colours: by group.
        lines: pairs to join: visual_x, visual_y, text_x, text_y.
        density: of all points; its range is the view at first.
        shaded: draw the density behind the points.
    """
    chart = go.Figure()
    if shaded:
        chart.add_heatmap(**_shading(density))
    if lines is not None and len(lines):
        gaps = np.full(len(lines), np.nan, np.float32)
        ends = {
            axis: np.stack([lines[f"visual_{axis}"], lines[f"text_{axis}"], gaps], axis=1).ravel().astype(np.float32)
            for axis in "xy"
        }
        thin = {"color": GREY, "width": 0.6}
        chart.add_scattergl(**ends, mode="lines", line=thin, opacity=0.5, name="pairs", hoverinfo="skip")
    for (group, kind), rows in points.groupby(["group", "kind"], sort=False):
        chart.add_scattergl(
            x=rows["x"].to_numpy(np.float32),
            y=rows["y"].to_numpy(np.float32),
            name=str(group) if group == f"{kind}s" else f"{group}, {kind}s",
            mode="markers",
            marker={
                "size": 4 if shaded else 5,
                "color": colours.get(str(group), GREY),
                "symbol": "circle" if kind == "volume" else "diamond-open",
                "opacity": 0.8 if shaded else 1.0,  # the colours have a contrast of 3:1 only in full
            },
            text=rows["volumename"],
            hovertemplate=f"%{{text}}<br>{kind}, {group}<extra></extra>",
        )
    chart.update_xaxes(title=None, showticklabels=False, showgrid=False, zeroline=False)
    chart.update_yaxes(title=None, showticklabels=False, showgrid=False, zeroline=False)
    chart.update_xaxes(range=density.ends("x"))
    chart.update_yaxes(range=density.ends("y"))
    chart.update_layout(dragmode="lasso")
    return set_layout(chart, height=560, legend_below=False)


def _shading(density: Density) -> dict[str, Any]:
    """Return the heat map of a density: grey by the logarithm of the count, nothing where there is no point."""
    count = density.count.T
    return {
        "x": density.x[:-1] + np.diff(density.x) / 2,
        "y": density.y[:-1] + np.diff(density.y) / 2,
        "z": np.where(count > 0, np.log10(np.maximum(count, 1)), np.nan).astype(np.float32),
        "customdata": count,
        "colorscale": [
            [0, "rgba(128, 134, 146, .1)"],
            [0.5, "rgba(128, 134, 146, .3)"],
            [1, "rgba(128, 134, 146, .95)"],
        ],
        "zmin": 0,
        "showscale": False,
        "name": "density",
        "hoverinfo": "skip",
    }


def side_by_side(recalls: Mapping[str, pd.DataFrame], way: str) -> go.Figure:
    """Draw Recall@K of one direction for several results, with bands where there are intervals.

    Args:
        recalls: by title, columns direction, k, recall, chance, and lower, upper where known.
    """
    chart = go.Figure()
    depths: set[int] = set()
    for index, (title, frame) in enumerate(recalls.items()):
        rows = frame[frame["direction"] == way]
        depths |= set(rows["k"].tolist())
        colour = COLOURS[index % len(COLOURS)]
        if "lower" in rows and rows["lower"].notna().any():
            chart.add_scatter(**band(rows["k"], rows["lower"], rows["upper"], colour))
        line = {"color": colour, "width": 2.5}
        chart.add_scatter(x=rows["k"], y=rows["recall"], name=title, mode="lines+markers", line=line)
    chart.update_xaxes(type="log", title="K", tickvals=sorted(depths), ticktext=[str(k) for k in sorted(depths)])
    chart.update_yaxes(title="recall", range=[0, 1.02])
    return set_layout(lower_bands(chart), height=380)
