"""Figures from frames. Nothing here reads files or session state, so every figure can be tested alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from ctbench_ui.style import COLOURS, GREY, figure, finding_style

CONFIG = {"displaylogo": False, "toImageButtonOptions": {"format": "svg"}}
_MARGIN = {"l": 8, "r": 36, "t": 8, "b": 8}
_NAMES = {"v_to_t": "visual → text", "t_to_v": "text → visual"}


def prevalence(shares: Mapping[str, Mapping[str, float]]) -> go.Figure:
    """Draw the share of positives, one line a finding and one mark a split.

    Args:
        shares: prevalence by split name and finding.
    """
    found = go.Figure()
    for place, (split, values) in enumerate(shares.items()):
        symbol = ("circle-open", "diamond-open", "square-open", "triangle-up-open", "x-open", "cross-open")[place % 6]
        found.add_scatter(
            x=list(values.values()),
            y=list(values),
            name=split,
            mode="markers",
            marker={"size": 9, "symbol": symbol, "color": COLOURS[place % len(COLOURS)], "line": {"width": 2}},
            hovertemplate="%{y}<br>" + split + " %{x:.1%}<extra></extra>",
        )
    labels = list(next(iter(shares.values()), {}))
    found.update_yaxes(autorange="reversed", showgrid=True, ticksuffix="  ")
    found.update_xaxes(tickformat=".0%", rangemode="tozero", title="volumes with the finding")
    return _laid_out(found, height=90 + 24 * len(labels), legend_below=False)


def finding_dots(per_class: pd.DataFrame, metric: str = "auprc") -> go.Figure:
    """Draw a metric by finding, best first, with the prevalence that chance would reach.

    Args:
        per_class: columns finding, prevalence, and the metric; undefined values are left out.
    """
    rows = per_class.dropna(subset=[metric]).sort_values(metric, ascending=False)
    found = go.Figure()
    found.add_scatter(
        x=rows["prevalence"],
        y=rows["finding"],
        name="prevalence",
        mode="markers",
        marker={"symbol": "line-ns", "size": 11, "line": {"width": 2, "color": GREY}},
        hovertemplate="%{y}<br>prevalence %{x:.3f}<extra></extra>",
    )
    found.add_scatter(
        x=rows[metric],
        y=rows["finding"],
        name=metric.upper(),
        mode="markers",
        marker={"size": 10, "color": COLOURS[0]},
        hovertemplate="%{y}<br>" + metric.upper() + " %{x:.3f}<extra></extra>",
    )
    found.update_yaxes(autorange="reversed", ticksuffix="  ")
    found.update_xaxes(range=[0, 1.02], tickformat=".1f")
    return _laid_out(found, height=90 + 22 * len(rows), legend_below=False)


def precision_recall(
    curves: pd.DataFrame, per_class: pd.DataFrame, chosen: Sequence[str], labels: Sequence[str]
) -> go.Figure:
    """Draw precision over recall of the chosen findings, over lines of equal F1.

    Args:
        curves: columns label, curve, x (recall), y (precision), threshold.
        per_class: columns finding, auprc, prevalence.
        labels: all findings, in the order that fixes their colours.
    """
    found = go.Figure()
    for level in (0.2, 0.4, 0.6, 0.8):
        recall = np.linspace(level / (2 - level), 1, 60)
        found.add_scatter(
            x=recall,
            y=level * recall / (2 * recall - level),
            mode="lines",
            line={"color": GREY, "width": 0.7, "dash": "dot"},
            hoverinfo="skip",
            showlegend=False,
        )
        found.add_annotation(
            x=1, y=level / (2 - level), text=f"F1 {figure(level, 1)}", showarrow=False, xanchor="left", font_color=GREY
        )
    known = per_class.set_index("finding")
    for label in chosen:
        _add_curve(found, curves, label, labels, "pr", figure(known.loc[label, "auprc"]))
        if len(chosen) == 1:
            found.add_hline(
                y=known.loc[label, "prevalence"], line_dash="dash", line_color=GREY, annotation_text="prevalence"
            )
    found.update_xaxes(title="recall", range=[0, 1.0])
    found.update_yaxes(title="precision", range=[0, 1.02])
    return _laid_out(found, height=460)


def receiver_operating(
    curves: pd.DataFrame, per_class: pd.DataFrame, chosen: Sequence[str], labels: Sequence[str]
) -> go.Figure:
    """Draw the true over the false positive rate of the chosen findings, with the line of chance."""
    found = go.Figure()
    found.add_scatter(
        x=[0, 1], y=[0, 1], mode="lines", line={"color": GREY, "dash": "dot"}, hoverinfo="skip", showlegend=False
    )
    known = per_class.set_index("finding")
    for label in chosen:
        _add_curve(found, curves, label, labels, "roc", figure(known.loc[label, "auroc"]))
    found.update_xaxes(title="false positive rate", range=[0, 1.0])
    found.update_yaxes(title="true positive rate", range=[0, 1.02])
    return _laid_out(found, height=460)


def _add_curve(
    found: go.Figure, curves: pd.DataFrame, label: str, labels: Sequence[str], curve: str, area: str
) -> None:
    points = curves[(curves["label"] == label) & (curves["curve"] == curve)]
    colour, dash = finding_style(label, labels)
    found.add_scatter(
        x=points["x"].to_numpy(np.float32),
        y=points["y"].to_numpy(np.float32),
        customdata=points["threshold"].to_numpy(np.float32),
        name=f"{label} {area}",
        mode="lines",
        line={"color": colour, "dash": dash, "width": 2},
        hovertemplate=label + "<br>%{x:.3f}, %{y:.3f} at threshold %{customdata:.3f}<extra></extra>",
    )


def recall_at_k(frame: pd.DataFrame) -> go.Figure:
    """Draw Recall@K of both directions with the recall of chance.

    Args:
        frame: columns direction, k, recall, chance; rows of one truth.
    """
    found = go.Figure()
    for place, (direction, rows) in enumerate(frame.groupby("direction", sort=False)):
        name = _NAMES.get(str(direction), str(direction))
        style = {"color": COLOURS[place], "width": 2.5}
        found.add_scatter(
            x=rows["k"], y=rows["recall"], name=name, mode="lines+markers", line=style, marker={"size": 8}
        )
        found.add_scatter(
            x=rows["k"],
            y=rows["chance"],
            name=f"{name}, chance",
            mode="lines",
            line=style | {"dash": "dot", "width": 1.2},
        )
    depths = sorted(frame["k"].unique().tolist())
    found.update_xaxes(type="log", title="K", tickvals=depths, ticktext=[str(depth) for depth in depths])
    found.update_yaxes(title="recall", range=[0, 1.02])
    return _laid_out(found, height=400)


def similarity_histogram(frame: pd.DataFrame, means: Mapping[str, float | None]) -> go.Figure:
    """Draw the densities of paired and unpaired similarities with their means.

    Args:
        frame: columns pairs, bin_left, bin_right, density; rows of one truth.
        means: mean similarity by kind of pairs.
    """
    found = go.Figure()
    for place, (pairs, rows) in enumerate(frame.groupby("pairs", sort=False)):
        colour = COLOURS[place]
        found.add_bar(
            x=(rows["bin_left"] + rows["bin_right"]) / 2,
            y=rows["density"],
            width=rows["bin_right"] - rows["bin_left"],
            name=f"{pairs}, mean {figure(means.get(str(pairs)))}",
            marker={"color": colour, "line": {"width": 0}},
            opacity=0.65,
            hovertemplate=str(pairs) + " %{x:.2f}: %{y:.2f}<extra></extra>",
        )
        if (mean := means.get(str(pairs))) is not None:
            found.add_vline(x=mean, line_dash="dash", line_color=colour)
    used = frame[frame["density"] > 0]
    if len(used):
        found.update_xaxes(range=[float(used["bin_left"].min()) - 0.02, float(used["bin_right"].max()) + 0.02])
    found.update_layout(barmode="overlay")
    found.update_xaxes(title="cosine similarity")
    found.update_yaxes(title="density")
    return _laid_out(found, height=400)


def _laid_out(found: go.Figure, height: int, legend_below: bool = True) -> go.Figure:
    above: dict[str, Any] = {"orientation": "h", "yanchor": "bottom", "y": 1.0, "x": 0}
    below: dict[str, Any] = {"orientation": "h", "yanchor": "top", "y": -0.16, "x": 0}
    margin = _MARGIN | ({} if legend_below else {"t": 34})
    found.update_layout(height=height, margin=margin, legend=below if legend_below else above, hovermode="closest")
    return found
