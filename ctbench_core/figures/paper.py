"""Charts of a dark page, as they look in files: on white paper the high values of a colour scale are the dark ones."""

from __future__ import annotations

import json
from typing import Any

import plotly.graph_objects as go
from plotly.utils import PlotlyJSONEncoder

_PAPER = "paper"  # in the meta of a layout, which `save_pictures.js` reads


def keep_for_paper(chart: go.Figure, on_white: go.Figure) -> go.Figure:
    """Keep, in a chart for a dark page, what its traces have otherwise on white; return the chart itself.

    Args:
        on_white: the same chart for white paper, of as many traces.
    """
    pairs = zip(chart.data, on_white.data, strict=True)
    kept = [_changes(_plain(shown), _plain(white)) for shown, white in pairs]
    chart.layout.meta = (chart.layout.meta or {}) | {_PAPER: kept}
    return chart


def on_paper(chart: go.Figure) -> go.Figure:
    """Return a copy of a chart, its traces as `keep_for_paper` kept them."""
    copy, meta = go.Figure(chart), dict(chart.layout.meta or {})
    for trace, changes in zip(copy.data, meta.pop(_PAPER, ())):
        trace.update(changes)
    copy.layout.meta = meta or None
    return copy


def _plain(trace: Any) -> dict[str, Any]:
    """Return a trace as a browser gets it, arrays as lists."""
    plain: dict[str, Any] = json.loads(json.dumps(trace.to_plotly_json(), cls=PlotlyJSONEncoder))
    return plain


def _changes(shown: dict[str, Any], white: dict[str, Any]) -> dict[str, Any]:
    """Return the part of ``white`` that differs."""
    changes: dict[str, Any] = {}
    for name, value in white.items():
        before = shown.get(name)
        if isinstance(value, dict) and isinstance(before, dict):
            if inner := _changes(before, value):
                changes[name] = inner
        elif value != before:
            changes[name] = value
    return changes
