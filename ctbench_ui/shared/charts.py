"""Charts that several pages draw, from frames: nothing here reads files or session state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import ArrayLike

from ctbench_core.declared import DIRECTIONS, macro_keys, metric_of, short_title
from ctbench_core.formatting import format_metric, format_p
from ctbench_ui.shared.style import COLOURS, GREY, faint

CONFIG = {"displaylogo": False, "toImageButtonOptions": {"format": "svg"}}
_MARGIN = {"l": 8, "r": 36, "t": 8, "b": 8}
# In pixels: a line of a legend, and the height between the axes.
_LEGEND_ROW, _PLOT = 19, 370
_PLAIN_DOTS = 3000  # a WebGL context takes a browser longer than a few thousand plain dots
_LINE = {"mode": "lines", "line": {"color": GREY, "width": 1}, "hoverinfo": "skip", "showlegend": False}
_DIAGONAL: dict[str, Any] = {"x": [0, 1], "y": [0, 1], **_LINE}
LEVEL = 0.05  # of the adjusted p from which a difference is filled


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
    whiskers = _whiskers(rows[metric], rows[lower], rows[upper], COLOURS[0]) if {lower, upper} <= set(rows) else None
    chart = go.Figure()
    add_prevalence_marks(chart, rows)
    chart.add_scatter(
        x=rows[metric],
        y=rows["finding"],
        name=short_title(metric),
        mode="markers",
        marker={"size": 10, "color": COLOURS[0]},
        error_x=whiskers,
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


def score_histogram(frame: pd.DataFrame, threshold: float) -> go.Figure:
    """Draw the shares of positives and negatives by score, with the line of the threshold.

    Args:
        frame: columns bin_left, bin_right, positives, negatives (counts).
    """
    traces: list[dict[str, Any]] = []
    for side, colour in (("negatives", GREY), ("positives", COLOURS[1])):
        total = max(1, int(frame[side].sum()))
        name = f"{side} ({total:,})" if frame[side].sum() else side
        tip = f"{side} %{{x:.2f}}: %{{customdata:,}} (%{{y:.1%}})<extra></extra>"
        bars = histogram_bars(frame["bin_left"], frame["bin_right"], frame[side] / total, name, colour, tip)
        traces.append(bars | {"customdata": frame[side].to_numpy()})
    x = {"title": "probability", "range": [-0.005, 1.005]}
    chart = build_chart(traces, 220, len(traces), x, {"title": "share of volumes", "tickformat": ".0%"})
    chart.add_vline(x=threshold, line_width=2, line_color=COLOURS[0])
    return chart.update_layout(barmode="overlay", bargap=0)


def histogram_bars(
    left: ArrayLike, right: ArrayLike, heights: ArrayLike, name: str, colour: str, tip: str, opacity: float = 0.65
) -> dict[str, Any]:
    """Return the trace of a histogram's bars, from the edges of its bins."""
    low, high = np.asarray(left, float), np.asarray(right, float)
    return {
        "type": "bar",
        "x": (low + high) / 2,
        "y": np.asarray(heights),
        "width": high - low,
        "name": name,
        "marker": {"color": colour, "line": {"width": 0}},
        "opacity": opacity,
        "hovertemplate": tip,
    }


def reliability(bins: pd.DataFrame, label: str) -> go.Figure:
    """Draw the observed share by mean forecast of each stage, with the rows of each bin as its dot's size.

    Args:
        bins: columns stage, forecast, observed, rows.
    """
    chart = go.Figure([_DIAGONAL])
    most = max(1.0, float(bins["rows"].max())) if len(bins) else 1.0
    for place, (stage, part) in enumerate(bins.groupby("stage", sort=False)):
        name = str(stage) if stage in ("before", "recalibrated") else f"after ({stage})"
        colour = GREY if stage == "before" else COLOURS[place % len(COLOURS)]
        tip = (
            f"{label}, {name}<br>predicted %{{x:.3f}}, observed %{{y:.3f}}<br>%{{customdata:,}} volumes<extra></extra>"
        )
        size = 5 + 9 * (part["rows"] / most) ** 0.5
        points = {"x": part["forecast"], "y": part["observed"], "customdata": part["rows"]}
        style = {"line": {"width": 1.6, "color": colour}, "marker": {"color": colour, "size": size}}
        chart.add_scatter(name=name, mode="lines+markers", hovertemplate=tip, **points, **style)
    chart.update_xaxes(title="mean predicted probability", range=[-0.02, 1.02])
    chart.update_yaxes(title="observed frequency", range=[-0.02, 1.02])
    return set_layout(chart, height=430, legend_below=False)


def decision_curve(rows: pd.DataFrame, label: str) -> go.Figure:
    """Draw net benefit by threshold probability: the model with the band of its gain, treat all, treat none.

    Args:
        rows: columns threshold, model, treat_all, gain, lower, upper of one finding.
    """
    default = rows["treat_all"].clip(lower=0)
    upper, lower = default + rows["upper"], default + rows["lower"]
    chart = go.Figure()
    edge = {"x": rows["threshold"], "mode": "lines", "line": {"width": 0}, "showlegend": False, "hoverinfo": "skip"}
    chart.add_scatter(y=upper, **edge)
    chart.add_scatter(y=lower, fill="tonexty", fillcolor="rgba(128, 128, 128, 0.18)", **edge)
    tip = "threshold %{x:.2f}: %{y:.4f}<extra>%{fullData.name}</extra>"
    for name, values, style in (
        ("model", rows["model"], {"width": 2, "color": COLOURS[0]}),
        ("treat all", rows["treat_all"], {"width": 1.4, "color": GREY, "dash": "dash"}),
        ("treat none", 0 * rows["threshold"], {"width": 1.4, "color": GREY}),
    ):
        chart.add_scatter(x=rows["threshold"], y=values, name=name, mode="lines", line=style, hovertemplate=tip)
    top = max(float(rows["treat_all"].max()), float(rows["model"].max()), 0.01)
    chart.update_xaxes(title="threshold probability", range=[0, 1])
    chart.update_yaxes(title=f"net benefit, {label}", range=[-0.25 * top, 1.1 * top])
    return set_layout(chart, height=320, legend_below=False)


def recall_at_k(frame: pd.DataFrame) -> go.Figure:
    """Draw Recall@K of both directions with the recall of chance.

    Args:
        frame: columns direction, k, recall, chance, and lower, upper of an interval where defined; rows of one truth.
    """
    chart = go.Figure()
    for place, (direction, rows) in enumerate(frame.groupby("direction", sort=False)):
        name, style = DIRECTIONS[str(direction)].title, {"color": COLOURS[place], "width": 2.5}
        if "lower" in rows and rows["lower"].notna().any():
            known = rows.dropna(subset=["lower", "upper"])
            chart.add_scatter(**band(known["k"], known["lower"], known["upper"], COLOURS[place]))
        chart.add_scatter(
            x=rows["k"],
            y=rows["recall"],
            name=name,
            mode="lines+markers",
            line=style,
            marker={"size": 8},
            customdata=rows["recall"] / rows["chance"],
            hovertemplate=name + "<br>recall at %{x}: %{y:.3f}<br>%{customdata:.1f} times chance<extra></extra>",
        )
        by_chance = {"name": f"{name}, chance", "line": style | {"width": 1.2}, "opacity": 0.6}
        chart.add_scatter(x=rows["k"], y=rows["chance"], mode="lines", **by_chance)
    depths = sorted(frame["k"].unique().tolist())
    chart.update_xaxes(type="log", title="K", tickvals=depths, ticktext=[str(depth) for depth in depths])
    chart.update_yaxes(title="recall", range=[0, 1.02])
    return set_layout(chart, height=400)


def similarity_histogram(frame: pd.DataFrame, means: Mapping[str, float | None]) -> go.Figure:
    """Draw the densities of paired and unpaired similarities with their means.

    Args:
        frame: columns pairs, bin_left, bin_right, density; rows of one truth.
        means: mean similarity by kind of pairs.
    """
    chart = go.Figure()
    for (pairs, rows), colour in zip(frame.groupby("pairs", sort=False), COLOURS):
        mean = means.get(str(pairs))
        name, tip = f"{pairs}, mean {format_metric(mean)}", f"{pairs} %{{x:.2f}}: %{{y:.2f}}<extra></extra>"
        chart.add_trace(histogram_bars(rows["bin_left"], rows["bin_right"], rows["density"], name, colour, tip))
        if mean is not None:
            chart.add_vline(x=mean, line_dash="dash", line_color=colour)
    used = frame[frame["density"] > 0]
    if len(used):
        chart.update_xaxes(range=[float(used["bin_left"].min()) - 0.02, float(used["bin_right"].max()) + 0.02])
    chart.update_layout(barmode="overlay", xaxis_title="cosine similarity", yaxis_title="density")
    return set_layout(chart, height=400)


def epoch_curves(frame: pd.DataFrame) -> go.Figure:
    """Draw the losses and the validation metrics over epochs, one above the other.

    Args:
        frame: columns epoch, train_loss, val_loss and the keys of macro means.
    """
    names = {"train_loss": "training loss", "val_loss": "validation loss"}
    metrics = {key: short_title(key) for key in macro_keys() if key in frame}
    chart = go.Figure()
    for axis, lines in (("y", names), ("y2", metrics)):
        for place, (column, name) in enumerate(lines.items()):
            style = {"color": COLOURS[place], "dash": "dot" if axis == "y" else "solid"}
            chart.add_scatter(x=frame["epoch"], y=frame[column].astype(float), name=name, line=style, yaxis=axis)
    chart.update_layout(
        xaxis={"title": "epoch", "anchor": "y"},
        yaxis={"title": "loss", "domain": [0, 0.46]},
        yaxis2={"title": "validation", "domain": [0.54, 1]},
    )
    return set_layout(chart, height=640, legend_below=False)


def machine_load(frame: pd.DataFrame) -> go.Figure:
    """Draw how much of the machine is in use over time, with the last share in each name.

    Args:
        frame: columns time, processors, memory and, with a GPU, gpu_memory; one row or more.
    """
    chart = go.Figure()
    titles = {"processors": "Processors", "memory": "Memory", "gpu_memory": "GPU memory"}
    for (column, title), colour in zip(titles.items(), COLOURS):
        if column in frame:
            name, line = f"{title} {frame[column].iloc[-1]:.0%}", {"color": colour, "width": 2}
            tip = f"{title} %{{y:.0%}}<extra></extra>"
            chart.add_scatter(x=frame["time"], y=frame[column], name=name, mode="lines", line=line, hovertemplate=tip)
    chart.update_xaxes(title="time (UTC)")
    chart.update_yaxes(range=[0, 1.02], tickformat=".0%")
    return set_layout(chart, height=260, legend_below=False)


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
            error_x=_whiskers(part["delta"], part["lo"], part["hi"], colour),
            customdata=part[["label", "lo", "hi"]].assign(p=part["p_adjusted"].map(format_p)),
            hovertemplate="%{customdata[0]}<br>%{x:+.3f} [%{customdata[1]:.3f}, %{customdata[2]:.3f}]"
            "<br>adjusted p %{customdata[3]}<extra>" + str(name) + "</extra>",
        )
    chart.update_yaxes(
        tickvals=list(range(len(rows))),
        ticktext=["Macro mean" if row == "macro" else row for row in rows],
        range=[len(rows) - 0.4, -0.6],
        ticksuffix="  ",
        showgrid=False,
        zeroline=False,
    )
    chart.update_xaxes(title=title, zeroline=False, tickformat="+.2f")
    height = 110 + (26 + 4 * max(0, len(series) - 2)) * len(rows) + 8 * len(series)
    return set_layout(chart, height=height, legend_below=False).update_layout(
        showlegend=len(series) > 1, margin={"t": 34 + 8 * max(0, len(series) - 1)}
    )


def scatter(frame: pd.DataFrame, first: str, second: str) -> go.Figure:
    """Draw the probabilities of two models against each other, positives and negatives apart.

    Args:
        frame: columns volume, label, first, second, in the order whose positions a selection returns.
    """
    traces = [_DIAGONAL]
    kind = "scatter" if len(frame) < _PLAIN_DOTS else "scattergl"
    for value, name, colour in ((0, "negatives", GREY), (1, "positives", COLOURS[1])):
        part = frame[frame["label"] == value]
        tip = "%{customdata}<br>%{x:.3f}, %{y:.3f}<extra></extra>"
        style = {"type": kind, "mode": "markers", "marker": {"size": 6, "color": colour, "opacity": 0.55}}
        points = _points(part["first"], part["second"]) | {"customdata": part["volume"].to_numpy()}
        traces.append(points | style | {"name": f"{name} ({len(part):,})", "hovertemplate": tip})
    x, y = ({"title": f"probability by {model}", "range": [-0.02, 1.02]} for model in (first, second))
    return build_chart(traces, _PLOT, 2, x, y)


def model_curves(curves: dict[str, pd.DataFrame], curve: str) -> go.Figure:
    """Draw one finding's curve of every model: ``pr`` or ``roc``; frames of columns curve, x, y."""
    traces = []
    for place, (name, frame) in enumerate(curves.items()):
        part = frame[frame["curve"] == curve]
        tip = f"{name}<br>%{{x:.3f}}, %{{y:.3f}}<extra></extra>"
        style = {"mode": "lines", "line": {"width": 2.2, "color": COLOURS[place % len(COLOURS)]}}
        traces.append(_points(part["x"], part["y"]) | style | {"name": name, "hovertemplate": tip})
    titles = {"pr": ("recall", "precision"), "roc": ("false positive rate", "true positive rate")}[curve]
    x, y = {"title": titles[0], "range": [-0.01, 1.01]}, {"title": titles[1], "range": [0, 1.02]}
    return build_chart(traces, _PLOT, len(curves), x, y)


def _points(x: pd.Series, y: pd.Series) -> dict[str, Any]:
    return {"x": x.to_numpy("float32"), "y": y.to_numpy("float32")}


def band(x: ArrayLike, lower: ArrayLike, upper: ArrayLike, colour: str, opacity: float = 0.15) -> dict[str, Any]:
    """Return the trace of the area between two lines, such as an interval; for `add_scatter` or a list of traces."""
    along, low, high = (np.asarray(values, np.float32) for values in (x, lower, upper))
    return {
        "x": np.concatenate([along, along[::-1]]),
        "y": np.concatenate([high, low[::-1]]),
        "mode": "lines",
        "fill": "toself",
        "fillcolor": faint(colour, opacity),
        "line": {"width": 0},
        "hoverinfo": "skip",
        "showlegend": False,
    }


def _whiskers(centre: pd.Series, lower: pd.Series, upper: pd.Series, colour: str) -> dict[str, Any]:
    """Return the error bars of an interval."""
    bars = {"array": upper - centre, "arrayminus": centre - lower}
    return {"type": "data", "thickness": 1.6, "width": 0, "color": colour} | bars


def set_finding_layout(chart: go.Figure, rows: int, pixels: int = 22) -> go.Figure:
    """Give a chart with one line a finding its axis, first finding on top, and a height of some pixels a line."""
    chart.update_yaxes(autorange="reversed", ticksuffix="  ")
    return set_layout(chart, height=90 + pixels * rows, legend_below=False)


def set_layout(chart: go.Figure, height: int, legend_below: bool = True) -> go.Figure:
    """Give a chart its height, and the margins and legend that all charts have."""
    place = {"yanchor": "top", "y": -0.16} if legend_below else {"yanchor": "bottom", "y": 1.0}
    margin = _MARGIN | ({} if legend_below else {"t": 34})
    return chart.update_layout(
        height=height, margin=margin, legend={"orientation": "h", "x": 0, **place}, hovermode="closest"
    )


def build_chart(
    traces: Sequence[dict[str, Any]], plot: int, legend_rows: int, x: dict[str, Any], y: dict[str, Any]
) -> go.Figure:
    """Return a chart with numbers on both axes: fixed margins, and its legend below, a row for every line.

    With automatic margins a browser draws everything twice and measures every tick. A chart made of whole traces takes a
    tenth of the time of one to which traces are added one by one.

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
