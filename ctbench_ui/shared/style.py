"""Badges of states, samples of lines, and times as text."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import streamlit as st

from ctbench_core.formatting import format_error, format_metric
from ctbench_core.palette import COLOURS, GREY, line_style

# One hue from light to dark, as .streamlit/config.toml gives it to Streamlit's own charts.
SEQUENCE = (
    "#F1F6FA",
    "#DCE9F2",
    "#C3DAE9",
    "#A5C8DF",
    "#82B3D3",
    "#5C9CC5",
    "#3A84B5",
    "#1F6C9F",
    "#0F5582",
    "#083E61",
)
# On a dark page from dark to light, up to a blue: the lightest colours look white there.
_DARK_SEQUENCE = SEQUENCE[:3:-1]


def is_dark() -> bool:
    """Whether the page is dark, so that low values of a colour scale are."""
    return bool(st.context.theme.type == "dark")


def strongest_ink() -> str:
    """Return the colour of text that is clearest on the page, for what Streamlit draws fainter."""
    return "#FFFFFF" if is_dark() else "#000000"


def sequence(dark: bool) -> tuple[str, ...]:
    """Return the colours of low to high values on a dark or light page, where high values stand out."""
    return _DARK_SEQUENCE if dark else SEQUENCE


def metric_column(title: str, help: str | None = None) -> Any:
    """Return the column of a long table for the texts of `metric_texts`.

    A format of numbers cannot leave out the zero before the point, and a styled table takes a millisecond a row. Texts of
    equally many digits between 0 and 1 are sorted as their numbers are.
    """
    return st.column_config.TextColumn(title, help=help, alignment="right")


def metric_texts(values: Iterable[float | None]) -> list[str]:
    """Write metrics between 0 and 1 for a `metric_column`: ``.842``, blank where there is none."""
    return ["" if value is None or math.isnan(value) else format_metric(value) for value in values]


def error_texts(values: Iterable[float | None]) -> list[str]:
    """Write standard deviations of metrics for a `metric_column`: ``.012`` or ``< .001``, blank where there is none."""
    return ["" if value is None or math.isnan(value) else format_error(value) for value in values]


@dataclass(frozen=True)
class StateStyle:
    """How a state looks: the colour and icon of its badge, its colour in charts, and a glyph beside that colour."""

    badge: str
    icon: str
    colour: str
    glyph: str


STATES = {
    "queued": StateStyle("gray", ":material/schedule:", COLOURS[5], "·"),
    "running": StateStyle("blue", ":material/play_circle:", COLOURS[0], "▶"),
    "cancelling": StateStyle("orange", ":material/pending:", COLOURS[4], "…"),
    "finished": StateStyle("green", ":material/check_circle:", COLOURS[2], "✓"),
    "cancelled": StateStyle("orange", ":material/stop_circle:", COLOURS[4], "⏸"),
    "failed": StateStyle("red", ":material/error:", COLOURS[1], "✕"),
    "interrupted": StateStyle("red", ":material/power_off:", COLOURS[3], "⏸"),
    "paused": StateStyle("orange", ":material/pause_circle:", GREY, "⏸"),
    "waiting": StateStyle("gray", ":material/hourglass_empty:", "#B9C2CB", ""),
    "pruned": StateStyle("gray", ":material/content_cut:", GREY, "?"),
    "damaged": StateStyle("red", ":material/broken_image:", GREY, "!"),
}
_UNKNOWN = StateStyle("gray", ":material/help:", GREY, "?")


def state_style(state: str) -> StateStyle:
    """Return how a state looks; a state that is not listed is gray."""
    return STATES.get(state, _UNKNOWN)


def test_marks(leaked: object, stale: bool) -> str:
    """Return the marks of a test result: ⚠ when it shares patients with training, ⟳ when it is of an earlier epoch."""
    return (" ⚠" if leaked else "") + (" ⟳" if stale else "")


def state_badge(state: str) -> str:
    """Return a run's state as a Markdown badge with colour and icon."""
    style = state_style(state)
    return f":{style.badge}-badge[{style.icon} {state}]"


_STROKES = {"solid": "", "dash": "8 4", "dot": "2 3"}


def line_sample(place: int) -> str:
    """Return the address of a small image of the line with a place in `line_style`, for legends: a square."""
    colour, dash = line_style(place)
    line = f"<path d='M0 14H28' stroke='{colour}' stroke-width='4' stroke-dasharray='{_STROKES[dash]}'/>"
    return image_address(
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 28 28' width='28' height='28'>{line}</svg>"
    )


def image_address(svg: str) -> str:
    """Return an image as an address, for what shows no SVG itself: cells of a table, and HTML that is cleaned."""
    return f"data:image/svg+xml,{quote(svg)}"


def duration(seconds: float) -> str:
    """Write a time span: ``0:41``, ``2:03:10``."""
    minutes, second = divmod(max(0, round(seconds)), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"


def seconds_between(start: str, end: str) -> float:
    """Return the seconds between two ISO times; 0 when either is unreadable."""
    try:
        return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()
    except ValueError:
        return 0.0


def ago(moment: str) -> str:
    """Write how long ago an ISO time was, in its largest unit."""
    seconds = seconds_between(moment, datetime.now(UTC).isoformat())
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit} ago"
    return "just now"
