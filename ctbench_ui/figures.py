"""A figure as every page shows it: the chart, what it rests on, and the files to take away."""

from __future__ import annotations

import html as escape
from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from ctbench_ui.charts import CONFIG


@dataclass(frozen=True)
class Source:
    """What a figure rests on.

    Attributes:
        title: what was measured on what, as plain text: run and test set.
        note: cohort size and leak mark, as Markdown.
        plain_note: the same as plain text, for files.
        stem: how its files begin.
    """

    title: str
    note: str
    plain_note: str
    stem: str


def show(found: go.Figure, data: pd.DataFrame, source: Source, name: str, alt: str) -> None:
    """Draw a figure with its cohort, and offer it as CSV and as HTML that opens without a network."""
    st.plotly_chart(found, config=CONFIG, key=f"chart-{name}", alt=alt)
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center", gap="small"):
        st.caption(source.note, width="content")
        with st.container(horizontal=True, width="content", gap="small"):
            _file("CSV", lambda: data.to_csv(index=False, lineterminator="\n"), "text/csv", source, name)
            _file("HTML", lambda: page(found, source, alt), "text/html", source, name)


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
    title, note, what = (escape.escape(text) for text in (source.title, source.plain_note, alt))
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title></head>'
        f'<body style="font-family: sans-serif; margin: 2rem"><h1 style="font-size: 1.2rem">{title}</h1>'
        f"<p>{what}. {note}</p>{body}</body></html>"
    )
