"""A figure as every page shows it: the chart, what it rests on, and the files to take away."""

from __future__ import annotations

import html as escape
import re
import textwrap
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Literal

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from ctbench_core.runs import Disclosures
from ctbench_ui.shared.charts import CONFIG
from ctbench_ui.shared.feedback import leak_badge
from ctbench_ui.shared.style import GREY

# A line of a figure's note must fit a phone; its height in pixels.
_NOTE_LETTERS, _LINE = 62, 14


@dataclass(frozen=True)
class Source:
    """What a figure rests on.

    Attributes:
        title: what was measured on what, as plain text: run and test set.
        note: cohort size and leak mark, as Markdown.
        plain_note: the same as plain text, for files.
        stem: how its files begin.
        marks: openings, leak, label origin and warning, which every file carries as its last columns.
    """

    title: str
    note: str
    plain_note: str
    stem: str
    marks: Disclosures | None = None

    def marked(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return a table as it leaves: with the marks, where there are any."""
        return self.marks.add_to(frame) if self.marks else frame


def marked_source(title: str, marks: Disclosures, stem: str) -> Source:
    """Return what figures rest on that carry marks: the same words on screen and in files."""
    said = marks.sentences()
    badge = leak_badge(marks.leaked)
    note = " · ".join(part for part in said if not part.startswith("leak: ")) + (f" {badge}" if badge else "")
    return Source(title, note, " · ".join(said), re.sub(r"[^\w.-]+", "_", stem), marks)


def show(found: go.Figure, data: pd.DataFrame, source: Source, name: str, alt: str) -> None:
    """Draw a figure with its cohort, and offer it as CSV and as HTML that opens without a network."""
    if source.marks:
        with_note(found, source.plain_note)
    st.plotly_chart(found, config=CONFIG, key=f"chart-{name}", alt=alt)
    # The figure itself bears its marks: beside them the buttons stand alone.
    align: Literal["right", "distribute"] = "right" if source.marks else "distribute"
    with st.container(horizontal=True, horizontal_alignment=align, vertical_alignment="center", gap="small"):
        if not source.marks:
            st.caption(source.note, width="content")
        with st.container(horizontal=True, width="content", gap="small") if not source.marks else nullcontext():
            _file("CSV", lambda: source.marked(data).to_csv(index=False, lineterminator="\n"), "text/csv", source, name)
            _file("HTML", lambda: page(found, source, alt), "text/html", source, name)


def with_note(found: go.Figure, text: str) -> go.Figure:
    """Write what a figure rests on above it, inside the picture: it stays there when the picture is taken away.

    Returns:
        The figure itself, changed: a copy takes half as long as drawing it.
    """
    lines = textwrap.wrap(text, _NOTE_LETTERS)
    taken = _LINE * len(lines) + 6
    # Streamlit sets titles in bold.
    plain = "<br>".join(f"<span style='font-weight:400'>{escape.escape(line)}</span>" for line in lines)
    height = (found.layout.height or 450) + taken
    # A title hangs on its first line's base, which must lie inside the picture.
    place = {
        "x": 0,
        "xref": "container",
        "xanchor": "left",
        "y": 1 - 12 / height,
        "yref": "container",
        "yanchor": "bottom",
    }
    look = {"pad": {"l": 8}, "font": {"size": 11, "color": GREY, "weight": "normal"}, "automargin": False}
    # Set one by one: `update_layout` takes seven milliseconds.
    found.layout.title = {"text": plain} | place | look
    found.layout.height = height
    found.layout.margin.t = (found.layout.margin.t or 0) + taken
    return found


def with_note_below(found: go.Figure, text: str) -> go.Figure:
    """Write it under the figure instead, in place too: for one whose axis stands on top, and none below."""
    lines = textwrap.wrap(text, _NOTE_LETTERS)
    taken = _LINE * len(lines) + 6
    place = {"x": 0, "xref": "paper", "xanchor": "left", "y": 0, "yref": "paper", "yanchor": "top", "yshift": -4}
    look = {"showarrow": False, "align": "left", "font": {"size": 11, "color": GREY}}
    found.add_annotation(text="<br>".join(map(escape.escape, lines)), **place, **look)
    margin = {"b": (found.layout.margin.b or 0) + taken}
    return found.update_layout(height=(found.layout.height or 450) + taken, margin=margin)


def page_of(draw: Callable[[], go.Figure], source: Source, alt: str, key: str) -> None:
    """Offer a figure that the page draws otherwise as HTML; it is made when the user asks."""
    st.download_button(
        "Curves as HTML",
        data=lambda: page(draw(), source, alt).encode("utf-8"),
        file_name=f"{source.stem}-{key}.html",
        mime="text/html",
        key=key,
        icon=":material/download:",
        on_click="ignore",
    )


def _file(label: str, text: Callable[[], str], mime: str, source: Source, name: str) -> None:
    """Offer a file that is written when the user asks."""
    ending = label.lower()
    st.download_button(
        label,
        data=lambda: text().encode("utf-8"),
        file_name=f"{source.stem}-{name}.{ending}",
        mime=mime,
        key=f"{name}-{ending}",
        icon=":material/download:",
        type="tertiary",
        on_click="ignore",
    )


def page(found: go.Figure, source: Source, alt: str) -> str:
    """Return a figure as an HTML page of its own, with the drawing code inside."""
    plot = go.Figure(found).update_layout(template="plotly_white")
    body = plot.to_html(full_html=False, include_plotlyjs=True, config=CONFIG)
    banner = source.marks.banner if source.marks else ""
    title, note, what = (escape.escape(text) for text in (source.title, f"{source.plain_note}. {banner}", alt))
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title></head>'
        f'<body style="font-family: sans-serif; margin: 2rem"><h1 style="font-size: 1.2rem">{title}</h1>'
        f"<p>{what}. {note}</p>{body}</body></html>"
    )
