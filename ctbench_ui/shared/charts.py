"""Figures from frames. Nothing here reads files or session state, so every figure can be tested alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from ctbench_core.formatting import format_metric
from ctbench_ui.shared.style import COLOURS, GREY, faint

CONFIG = {"displaylogo": False, "toImageButtonOptions": {"format": "svg"}}
_MARGIN = {"l": 8, "r": 36, "t": 8, "b": 8}
# Height of a line of a legend, in pixels.
_LEGEND_ROW = 19
_NAMES = {
    "v_to_t": "visual → text",
    "t_to_v": "text → visual",
    "v_to_v": "visual → visual",
    "t_to_t": "text → text",
}


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
    return laid_out(found, height=90 + 24 * len(labels), legend_below=False)


def finding_dots(per_class: pd.DataFrame, metric: str = "auprc") -> go.Figure:
    """Draw a metric by finding, best first, with the prevalence that chance would reach.

    Args:
        per_class: columns finding, prevalence, and the metric; undefined values are left out. Columns
            <metric>_ci_lower and <metric>_ci_upper, where there, become whiskers.
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
        name=metric.upper().replace("_", ", ").replace("TUNED", "tuned"),
        mode="markers",
        marker={"size": 10, "color": COLOURS[0]},
        error_x=_whiskers(rows, metric),
        hovertemplate="%{y}<br>%{x:.3f}<extra></extra>",
    )
    found.update_yaxes(autorange="reversed", ticksuffix="  ")
    found.update_xaxes(range=[0, 1.02], tickformat=".1f")
    return laid_out(found, height=90 + 22 * len(rows), legend_below=False)


def _whiskers(rows: pd.DataFrame, metric: str) -> dict[str, Any] | None:
    lower, upper = f"{metric}_ci_lower", f"{metric}_ci_upper"
    if lower not in rows or upper not in rows:
        return None
    up, down = rows[upper] - rows[metric], rows[metric] - rows[lower]
    return {"type": "data", "array": up, "arrayminus": down, "thickness": 1.6, "width": 0, "color": COLOURS[0]}


def score_histogram(frame: pd.DataFrame, threshold: float) -> go.Figure:
    """Draw the shares of positives and negatives by score, with the line of the threshold.

    Args:
        frame: columns bin_left, bin_right, positives, negatives (counts).
    """
    traces: list[dict[str, Any]] = []
    for side, colour in (("negatives", GREY), ("positives", COLOURS[1])):
        total = max(1, int(frame[side].sum()))
        traces.append(
            {
                "type": "bar",
                "x": ((frame["bin_left"] + frame["bin_right"]) / 2).to_numpy(),
                "y": (frame[side] / total).to_numpy(),
                "width": (frame["bin_right"] - frame["bin_left"]).to_numpy(),
                "customdata": frame[side].to_numpy(),
                "name": f"{side} ({total:,})" if frame[side].sum() else side,
                "marker": {"color": colour, "line": {"width": 0}},
                "opacity": 0.65,
                "hovertemplate": f"{side} %{{x:.2f}}: %{{customdata:,}} (%{{y:.1%}})<extra></extra>",
            }
        )
    x = {"title": "probability", "range": [-0.005, 1.005]}
    found = drawn_once(traces, 220, len(traces), x, {"title": "share of each", "tickformat": ".0%"})
    found.add_vline(x=threshold, line_width=2, line_color=COLOURS[0])
    return found.update_layout(barmode="overlay", bargap=0)


def reliability(bins: pd.DataFrame, label: str) -> go.Figure:
    """Draw the observed share by mean forecast of each stage, with the rows of each bin as its dot's size.

    Args:
        bins: columns stage, forecast, observed, rows.
    """
    found = go.Figure()
    found.add_scatter(
        x=[0, 1], y=[0, 1], mode="lines", line={"color": GREY, "width": 1}, hoverinfo="skip", showlegend=False
    )
    most = max(1.0, float(bins["rows"].max())) if len(bins) else 1.0
    for place, (stage, part) in enumerate(bins.groupby("stage", sort=False)):
        name = "before" if stage == "before" else f"after ({stage})"
        colour = GREY if stage == "before" else COLOURS[place % len(COLOURS)]
        found.add_scatter(
            x=part["forecast"],
            y=part["observed"],
            name=name,
            mode="lines+markers",
            line={"width": 1.6, "color": colour},
            marker={"color": colour, "size": 5 + 9 * (part["rows"] / most) ** 0.5},
            customdata=part["rows"],
            hovertemplate=f"{label}, {name}<br>forecast %{{x:.3f}}, observed %{{y:.3f}}"
            "<br>%{customdata:,} volumes<extra></extra>",
        )
    found.update_xaxes(title="mean forecast of the bin", range=[-0.02, 1.02])
    found.update_yaxes(title="observed share", range=[-0.02, 1.02])
    return laid_out(found, height=430, legend_below=False)


def recall_at_k(frame: pd.DataFrame) -> go.Figure:
    """Draw Recall@K of both directions with the recall of chance.

    Args:
        frame: columns direction, k, recall, chance, and lower, upper of an interval where known; rows of one truth.
    """
    found = go.Figure()
    for place, (direction, rows) in enumerate(frame.groupby("direction", sort=False)):
        name = _NAMES.get(str(direction), str(direction))
        style = {"color": COLOURS[place], "width": 2.5}
        if "lower" in rows and rows["lower"].notna().all():
            add_band(found, rows, COLOURS[place])
        found.add_scatter(
            x=rows["k"],
            y=rows["recall"],
            name=name,
            mode="lines+markers",
            line=style,
            marker={"size": 8},
            customdata=rows["recall"] / rows["chance"],
            hovertemplate=name + "<br>recall at %{x}: %{y:.3f}<br>%{customdata:.1f} times chance<extra></extra>",
        )
        found.add_scatter(
            x=rows["k"],
            y=rows["chance"],
            name=f"{name}, chance",
            mode="lines",
            line=style | {"width": 1.2},
            opacity=0.6,
        )
    depths = sorted(frame["k"].unique().tolist())
    found.update_xaxes(type="log", title="K", tickvals=depths, ticktext=[str(depth) for depth in depths])
    found.update_yaxes(title="recall", range=[0, 1.02])
    return laid_out(found, height=400)


def add_band(found: go.Figure, rows: pd.DataFrame, colour: str) -> None:
    """Add the interval of a recall curve as a band: columns k, lower, upper."""
    found.add_scatter(
        x=[*rows["k"], *rows["k"][::-1]],
        y=[*rows["upper"], *rows["lower"][::-1]],
        mode="lines",
        fill="toself",
        fillcolor=faint(colour, 0.15),
        line={"width": 0},
        hoverinfo="skip",
        showlegend=False,
    )


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
            name=f"{pairs}, mean {format_metric(means.get(str(pairs)))}",
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
    return laid_out(found, height=400)


def by_epoch(frame: pd.DataFrame) -> go.Figure:
    """Draw the losses and the validation figures over epochs, one above the other.

    Args:
        frame: columns epoch, train_loss, val_loss, auprc, auroc, f1_macro.
    """
    names = {"train_loss": "training loss", "val_loss": "validation loss"}
    figures = {"auprc": "AUPRC", "auroc": "AUROC", "f1_macro": "F1"}
    found = go.Figure()
    for axis, lines in (("y", names), ("y2", figures)):
        for place, (column, name) in enumerate(lines.items()):
            style = {"color": COLOURS[place], "dash": "dot" if axis == "y" else "solid"}
            found.add_scatter(x=frame["epoch"], y=frame[column].astype(float), name=name, line=style, yaxis=axis)
    found.update_layout(
        xaxis={"title": "epoch", "anchor": "y"},
        yaxis={"title": "loss", "domain": [0, 0.46]},
        yaxis2={"title": "validation", "domain": [0.54, 1]},
    )
    return laid_out(found, height=640, legend_below=False)


def machine(frame: pd.DataFrame) -> go.Figure:
    """Draw how much of the machine is in use over time, with the last share in each name.

    Args:
        frame: columns time, processors, memory and, with a GPU, gpu_memory; one row or more.
    """
    found = go.Figure()
    titles = {"processors": "Processors", "memory": "Memory", "gpu_memory": "GPU memory"}
    for (column, title), colour in zip(titles.items(), COLOURS):
        if column in frame:
            name, line = f"{title} {frame[column].iloc[-1]:.0%}", {"color": colour, "width": 2}
            tip = f"{title} %{{y:.0%}}<extra></extra>"
            found.add_scatter(x=frame["time"], y=frame[column], name=name, mode="lines", line=line, hovertemplate=tip)
    found.update_xaxes(title="time (UTC)")
    found.update_yaxes(range=[0, 1.02], tickformat=".0%")
    return laid_out(found, height=260, legend_below=False)


def laid_out(found: go.Figure, height: int, legend_below: bool = True) -> go.Figure:
    """Give a figure the height, margins and legend that all figures have."""
    above: dict[str, Any] = {"orientation": "h", "yanchor": "bottom", "y": 1.0, "x": 0}
    below: dict[str, Any] = {"orientation": "h", "yanchor": "top", "y": -0.16, "x": 0}
    margin = _MARGIN | ({} if legend_below else {"t": 34})
    found.update_layout(height=height, margin=margin, legend=below if legend_below else above, hovermode="closest")
    return found


def drawn_once(
    traces: Sequence[dict[str, Any]], plot: int, legend_rows: int, x: dict[str, Any], y: dict[str, Any]
) -> go.Figure:
    """Return a figure with numbers on both axes: fixed margins, and its legend below, a row for every line.

    Margins that fit themselves to texts and legend let a browser draw everything twice and measure every tick. A figure
    made of whole traces takes a tenth of the time that one takes to which trace after trace is added.

    Args:
        plot: height between the axes, in pixels.
        x, y: the axes, as Plotly's layout has them.
    """
    below = 52 + _LEGEND_ROW * legend_rows
    axis = {"automargin": False, "ticklabeloverflow": "allow"}
    layout = {
        "xaxis": axis | x,
        "yaxis": axis | y,
        "height": plot + _MARGIN["t"] + below,
        "margin": _MARGIN | {"l": 58, "b": below, "autoexpand": False},
        "legend": {"yref": "container", "yanchor": "bottom", "y": 0, "xref": "paper", "xanchor": "left", "x": 0},
        "hovermode": "closest",
    }
    return go.Figure({"data": list(traces), "layout": layout})
