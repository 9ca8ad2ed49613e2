"""Curves by epoch that keep a zoom while new epochs come in.

Streamlit's own charts are drawn anew with each change of their data, and lose what a user zoomed in on.
This is a small component around uPlot (`vendor/uplot`): drag to zoom, double-click to see all again, click
a name to hide its line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from ctbench_ui.shared.style import COLOURS

_HERE = Path(__file__).parent
_LIBRARY = _HERE / "vendor" / "uplot"


def _read(*files: Path) -> str:
    return "\n".join(file.read_text(encoding="utf-8") for file in files)


_component = st.components.v2.component(
    "ctbench_epochs",
    html='<div class="panels"></div>',
    css=_read(_LIBRARY / "uPlot.min.css", _HERE / "epochs.css"),
    js=_read(_LIBRARY / "uPlot.iife.min.js", _HERE / "epochs.js"),
)


@dataclass(frozen=True)
class Panel:
    """One panel: its title, what it shows in words, and the names of its lines by column."""

    title: str
    alt: str
    lines: Mapping[str, str]


def draw(frame: pd.DataFrame, panels: Sequence[Panel], key: str, smoothing: float, best: int | None) -> None:
    """Draw panels that share one axis of epochs.

    Args:
        frame: one row an epoch: ``epoch`` and the columns that the panels name.
        smoothing: weight of the past in an exponential mean, 0 to 1; above 0 the raw lines stay, faint.
        best: epoch to mark.
    """
    shown = [
        {"title": panel.title, "alt": panel.alt, "lines": _lines(frame, panel.lines, smoothing)} for panel in panels
    ]
    _component(key=key, data={"epochs": frame["epoch"].tolist(), "best": best, "panels": shown})


def _lines(frame: pd.DataFrame, names: Mapping[str, str], smoothing: float) -> list[dict[str, Any]]:
    lines = []
    for place, (column, name) in enumerate(names.items()):
        values = frame[column].astype(float)
        line = {"name": name, "colour": COLOURS[place], "values": _plain(values)}
        if smoothing:
            line |= {"values": _plain(values.ewm(alpha=1 - smoothing).mean()), "raw": _plain(values)}
        lines.append(line)
    return lines


def _plain(values: pd.Series) -> list[float | None]:
    """Return values as JSON takes them: five digits, undefined as null."""
    return [None if pd.isna(value) else float(f"{value:.5g}") for value in values]
