"""Charts as pictures: buttons with which the browser saves a chart as PNG and SVG, and figures as one zip."""

from __future__ import annotations

import html
import re
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import streamlit as st
from plotly.offline import get_plotlyjs

from ctbench_core.figures import CONFIG, on_paper
from ctbench_core.runs import Disclosures
from ctbench_core.tables import sheet_bytes

FORMATS = ("png", "svg")
_LIBRARY = "plotly.min.js"
_STYLE = "font-family: 'Material Symbols Rounded'; font-size: 1rem; line-height: 1"
_BUTTON = (
    '<button type="button" class="ctbench-picture" data-ctbench-picture="{format}" data-chart="{key}" data-file="{file}" '
    f'aria-label="Save {{what}} as {{title}}"><span aria-hidden="true" translate="no" style="{_STYLE}">download</span>'
    "{title}</button>"
)
_README = """Figures of {title}.

{note}

*.html  opens in a browser without a network, beside {library}; the camera button above a figure saves it as PNG, {width}
        pixels times {scale} wide: 180 mm at 300 dpi.
*.csv   the numbers of the figure, every digit.

PNG and SVG are made by the browser that shows a figure: press PNG or SVG under it in the app. They are not in this
file, since the server draws no pictures.
"""


@dataclass(frozen=True)
class Figure:
    """A chart with the name of its files, its numbers, and what it shows as a sentence for those who cannot see it."""

    name: str
    chart: go.Figure
    frame: pd.DataFrame
    alt: str


class _Uncopied(go.Figure):
    """A chart that Streamlit takes as it is: by itself it copies each, and looks at every part, which takes 2 ms or more."""

    def __init__(self, chart: go.Figure) -> None:
        self._content = {"data": [_to_lists(trace) for trace in chart._data], "layout": chart._layout}

    def to_dict(self) -> dict[str, Any]:
        """Return the chart, not a copy."""
        return self._content


def _to_lists(value: Any) -> Any:
    """Return a value with lists in place of arrays of numbers; single precision to six decimals, finer than a pixel."""
    if isinstance(value, dict):
        return {name: _to_lists(part) for name, part in value.items()}
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiu":
        return (np.round(value.astype(float), 6) if value.dtype == np.float32 else value).tolist()
    return value


def draw_figure(chart: go.Figure, key: str, alt: str, config: Mapping[str, Any] = CONFIG, **options: Any) -> Any:
    """Draw a chart of Plotly; return the selection, where ``on_select`` is set."""
    return st.plotly_chart(_Uncopied(chart), key=key, config=dict(config), alt=alt, **options)


def draw_plot(
    chart: go.Figure, key: str, file_name: str, alt: str, config: Mapping[str, Any] = CONFIG, **options: Any
) -> Any:
    """Draw a chart of Plotly, and below it the buttons that save it; return the selection, where ``on_select`` is set."""
    event = draw_figure(chart, key, alt, config, **options)
    with st.container(horizontal=True, horizontal_alignment="right"):
        draw_buttons(key, file_name, alt)
    return event


def draw_buttons(key: str, file_name: str, alt: str) -> None:
    """Draw the buttons that save the chart with a key of Streamlit as a picture; the server has no part in it."""
    chart = re.sub("[^A-Za-z0-9_-]", "-", key)  # as Streamlit writes it into the class of the element
    values = {"key": chart, "file": _file_name(file_name), "what": alt}
    escaped = {name: html.escape(value, quote=True) for name, value in values.items()}
    st.html("".join(_BUTTON.format(format=name, title=name.upper(), **escaped) for name in FORMATS), width="content")


def _file_name(text: str) -> str:
    return re.sub(r"[^\w.-]+", "_", text)


def html_page(chart: go.Figure, title: str, text: str, library: bool | str = True) -> str:
    """Return a chart as an HTML page of its own.

    Args:
        library: True puts the drawing code inside; "directory" expects it in a file beside the page.
    """
    body = (
        on_paper(chart)
        .update_layout(template="plotly_white")
        .to_html(full_html=False, include_plotlyjs=library, config=CONFIG)
    )
    title, text = html.escape(title), html.escape(text)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title></head>'
        f'<body style="font-family: sans-serif; margin: 2rem"><h1 style="font-size: 1.2rem">{title}</h1>'
        f"<p>{text}</p>{body}</body></html>"
    )


def zip_figures(figures: Iterable[Figure], title: str, note: str, disclosures: Disclosures | None) -> bytes:
    """Return a zip with an HTML page and a CSV of each figure, the drawing code once, and what they are of."""
    options = CONFIG["toImageButtonOptions"]
    readme = _README.format(title=title, note=note, library=_LIBRARY, width=options["width"], scale=options["scale"])
    file = BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("README.txt", readme)
        archive.writestr(_LIBRARY, get_plotlyjs())
        for number, one in enumerate(figures, 1):
            name = f"{number:02d}-{_file_name(one.name)}"  # two findings may differ in what a file's name cannot hold
            frame = disclosures.add_to(one.frame) if disclosures else one.frame
            archive.writestr(f"{name}.html", html_page(one.chart, title, f"{one.alt}. {note}", "directory"))
            archive.writestr(f"{name}.csv", sheet_bytes(frame))
    return file.getvalue()
