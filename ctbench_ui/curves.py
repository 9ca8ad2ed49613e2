"""Precision-recall and ROC figures from frames, one finding or all."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ctbench_ui.charts import laid_out
from ctbench_ui.style import COLOURS, GREY, figure, finding_colour, finding_style

# More lines than this need dashes to be told apart.
SOLID_LINES = 8
_COLUMNS = 6


def precision_recall(
    curves: pd.DataFrame, per_class: pd.DataFrame, chosen: Sequence[str], labels: Sequence[str]
) -> go.Figure:
    """Draw precision over recall of the chosen findings, over lines of equal F1.

    Args:
        curves: columns label, curve, x (recall), y (precision), threshold.
        per_class: columns finding, auprc, prevalence.
        labels: all findings, in the order that fixes their colours.
    """
    found = go.Figure(_equal_f1())
    known = per_class.set_index("finding")
    for label in chosen:
        line = _line(label, labels, len(chosen))
        _add_curve(found, curves, label, line, "pr", figure(known.loc[label, "auprc"]))
        if len(chosen) <= SOLID_LINES:
            _add_prevalence(found, label, float(known.loc[label, "prevalence"]), line["color"], len(chosen) == 1)
        _add_operating_point(found, known.loc[label], ("recall", "precision"), line["color"])
    found.update_xaxes(title="recall", range=[0, 1.01])
    found.update_yaxes(title="precision", range=[0, 1.02])
    return laid_out(found, height=460)


def receiver_operating(
    curves: pd.DataFrame, per_class: pd.DataFrame, chosen: Sequence[str], labels: Sequence[str]
) -> go.Figure:
    """Draw the true over the false positive rate of the chosen findings, with the line of chance."""
    found = go.Figure()
    found.add_scatter(
        x=[0, 1], y=[0, 1], mode="lines", line={"color": GREY, "width": 1}, hoverinfo="skip", showlegend=False
    )
    known = per_class.set_index("finding")
    for label in chosen:
        line = _line(label, labels, len(chosen))
        _add_curve(found, curves, label, line, "roc", figure(known.loc[label, "auroc"]))
        row = known.loc[label]
        rates = pd.Series({"finding": label, "fpr": 1 - row.get("specificity", np.nan), "recall": row.get("recall")})
        _add_operating_point(found, rates.rename(label), ("fpr", "recall"), line["color"])
    found.update_xaxes(title="false positive rate", range=[-0.01, 1.0])
    found.update_yaxes(title="true positive rate", range=[0, 1.02])
    return laid_out(found, height=460)


@functools.cache
def _equal_f1() -> dict[str, Any]:
    """Return lines of equal F1 with their names, as a figure in plain values."""
    traces, notes = [], []
    for level in (0.2, 0.4, 0.6, 0.8):
        recall = np.linspace(level / (2 - level), 1, 60)
        look = {"mode": "lines", "line": {"color": GREY, "width": 0.6}, "opacity": 0.6}
        traces.append(
            {"x": recall, "y": level * recall / (2 * recall - level), "hoverinfo": "skip", "showlegend": False} | look
        )
        text = {"text": f"F1 {figure(level, 1)}", "showarrow": False, "xanchor": "left", "font": {"color": GREY}}
        notes.append({"x": 1, "y": level / (2 - level)} | text)
    return {"data": traces, "layout": {"annotations": notes}}


def _line(label: str, labels: Sequence[str], lines: int) -> dict[str, Any]:
    colour, dash = finding_style(label, labels)
    if lines <= SOLID_LINES:
        colour, dash = finding_colour(label, labels), "solid"
    return {"color": colour, "dash": dash, "width": 2.2}


def _add_curve(
    found: go.Figure,
    curves: pd.DataFrame,
    label: str,
    line: Mapping[str, Any],
    curve: str,
    area: str,
    **place: Any,
) -> None:
    points = curves[(curves["label"] == label) & (curves["curve"] == curve)]
    found.add_scatter(
        x=points["x"].to_numpy(np.float32),
        y=points["y"].to_numpy(np.float32),
        customdata=points["threshold"].to_numpy(np.float32),
        name=f"{label} {area}",
        mode="lines",
        line=dict(line),
        hovertemplate=label + "<br>%{x:.3f}, %{y:.3f} at threshold %{customdata:.3f}<extra></extra>",
        **place,
    )


def _add_prevalence(found: go.Figure, label: str, share: float, colour: str, alone: bool) -> None:
    """Draw the precision of chance; named in words when it stands alone."""
    found.add_scatter(
        x=[0, 1],
        y=[share, share],
        mode="lines",
        line={"color": colour, "width": 1.4 if alone else 1},
        opacity=0.55,
        showlegend=False,
        hovertemplate=f"{label}<br>prevalence {figure(share)}<extra></extra>",
    )
    if alone:
        text = f"prevalence {figure(share)}"
        found.add_annotation(x=1, y=share, text=text, showarrow=False, xanchor="right", yanchor="bottom")


def _add_operating_point(
    found: go.Figure, row: pd.Series, axes: tuple[str, str], colour: str, threshold: float = 0.5
) -> None:
    """Mark where the threshold stands on a curve; nothing where a rate is undefined."""
    x, y = (row.get(axis, np.nan) for axis in axes)
    if pd.isna(x) or pd.isna(y):
        return
    found.add_scatter(
        x=[x],
        y=[y],
        mode="markers",
        marker={"size": 9, "color": colour, "line": {"width": 1.5, "color": "white"}},
        showlegend=False,
        hovertemplate=f"{row.name}<br>threshold {figure(threshold, 3)}: %{{x:.3f}}, %{{y:.3f}}<extra></extra>",
    )


def small_multiples(
    curves: pd.DataFrame, per_class: pd.DataFrame, labels: Sequence[str], curve: str = "pr"
) -> go.Figure:
    """Draw the curve of every finding in a panel of its own, with the line of chance.

    Args:
        curve: "pr", where chance is the prevalence, or "roc", where it is the diagonal.
    """
    area = {"pr": "auprc", "roc": "auroc"}[curve]
    known = per_class.set_index("finding")
    titles = [f"{_short(label)} <b>{figure(known.loc[label, area])}</b>" for label in labels]
    rows = -(-len(labels) // _COLUMNS)
    found = make_subplots(
        rows,
        _COLUMNS,
        subplot_titles=titles,
        shared_xaxes=True,
        shared_yaxes=True,
        horizontal_spacing=0.014,
        vertical_spacing=0.28 / max(1, rows),
    )
    for place, label in enumerate(labels):
        cell = {"row": place // _COLUMNS + 1, "col": place % _COLUMNS + 1}
        share = known.loc[label, "prevalence"]
        chance = [share, share] if curve == "pr" else [0, 1]
        found.add_scatter(x=[0, 1], y=chance, mode="lines", line={"color": GREY, "width": 1}, hoverinfo="skip", **cell)
        _add_curve(found, curves, label, {"color": COLOURS[0], "width": 1.8}, curve, "", **cell)
    found.update_xaxes(range=[0, 1.0], tickvals=[0, 0.5, 1], ticktext=["0", ".5", "1"])
    found.update_yaxes(range=[0, 1.03], tickvals=[0, 0.5, 1], ticktext=["0", ".5", "1"])
    found.update_annotations(font_size=11)
    return laid_out(found, height=60 + 175 * rows, legend_below=False).update_layout(showlegend=False)


def _short(label: str, letters: int = 21) -> str:
    return label if len(label) <= letters else label[: letters - 1].rstrip() + "…"
