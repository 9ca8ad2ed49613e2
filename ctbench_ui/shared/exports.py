"""Charts and tables as every page shows them, with their files to download."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd
import plotly.graph_objects as go
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from ctbench_core.declared import metric_title
from ctbench_core.figures import SQUARE_WIDTH, add_note, add_note_to_pictures
from ctbench_core.formatting import UNDEFINED, format_bounds, format_error, format_metric, format_p
from ctbench_core.report import DETECTABLE_TITLE
from ctbench_core.runs import Disclosures, read_frame
from ctbench_core.tables import sheet_bytes
from ctbench_ui.shared import pictures
from ctbench_ui.shared.feedback import leak_badge
from ctbench_ui.shared.pictures import Figure
from ctbench_ui.shared.style import strongest_ink
from ctbench_ui.shared.text import as_text

if TYPE_CHECKING:  # it takes an eighth of a second, and many pages have no such table
    from pandas.io.formats.style import Styler

_GAP = 32  # pixels between two columns


@dataclass(frozen=True)
class Source:
    """What the numbers of a chart or table come from.

    Attributes:
        title: run and test set, as plain text.
        note: cohort size and leak badge, as Markdown.
        plain_note: the same as plain text, for files.
        stem: how its file names begin.
        is_on_page: whether the page shows the note once: charts have it in their files and pictures alone.
        disclosures: evaluations, leak, label origin and warning, which every file carries as its last columns.
    """

    title: str
    note: str
    plain_note: str
    stem: str
    disclosures: Disclosures | None = None
    is_on_page: bool = False

    @property
    def full_note(self) -> str:
        """The plain note, with the warning of the disclosures."""
        return f"{self.plain_note}. {self.disclosures.banner if self.disclosures else ''}"

    def marked(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return a table with the columns of the disclosures, where there are any."""
        return self.disclosures.add_to(frame) if self.disclosures else frame


def disclosed_source(title: str, disclosures: Disclosures, stem: str) -> Source:
    """Return a source that carries disclosures: the page says them once, every file of it repeats them."""
    sentences = disclosures.sentences()
    stem = re.sub(r"[^\w.-]+", "_", stem)
    return Source(
        title, markdown_note(disclosures, sentences), " · ".join(sentences), stem, disclosures, is_on_page=True
    )


def markdown_note(disclosures: Disclosures, sentences: Iterable[str]) -> str:
    """Return sentences of disclosures as one line of Markdown, the leak as a badge."""
    parts = [as_text(part) for part in sentences if not part.startswith("leak: ")]
    return " ".join(filter(None, [" · ".join(parts), leak_badge(disclosures.leak_patients)]))


def draw_chart(chart: go.Figure, frame: pd.DataFrame, source: Source, name: str, alt: str, **options: Any) -> Any:
    """Draw a chart with its note; offer it as PNG, SVG and HTML that opens without a network, its frame as CSV.

    Returns:
        The selection, where ``on_select`` is set.
    """
    event = pictures.draw_figure(noted(chart, source), f"chart-{name}", alt, **options)
    with st.container(horizontal=True, horizontal_alignment="right", vertical_alignment="center", gap="small"):
        pictures.draw_buttons(f"chart-{name}", f"{source.stem}-{name}", alt)
        for label, mime, data in (
            ("CSV", "text/csv", lambda: _csv(frame, source)),
            ("HTML", "text/html", lambda: html_page(chart, source, alt).encode()),
        ):
            ending = label.lower()
            _button(label, data, f"{source.stem}-{name}.{ending}", mime, f"{name}-{ending}", "tertiary")
    return event


def square_pair() -> Sequence[DeltaGenerator]:
    """Return the places of two charts whose axes go from 0 to 1: side by side, no wider than they are high."""
    return st.container(width=2 * SQUARE_WIDTH + _GAP).columns(2, gap="medium")


def noted(chart: go.Figure, source: Source) -> go.Figure:
    """Write the note of a source into a chart, or only into its pictures where the page has it; return the chart itself."""
    return (add_note_to_pictures if source.is_on_page else add_note)(chart, source.plain_note)


def html_page(chart: go.Figure, source: Source, alt: str) -> str:
    """Return a chart as an HTML page of its own, with the drawing code inside."""
    if source.is_on_page:
        chart = add_note(go.Figure(chart), source.plain_note)
    return pictures.html_page(chart, source.title, f"{alt}. {source.full_note}")


def download_html(draw: Callable[[], go.Figure], source: Source, alt: str, key: str) -> None:
    """Offer curves that the page draws with another library as HTML; the chart is made on the click."""
    page = lambda: html_page(draw(), source, alt).encode()  # noqa: E731
    _button("Download curves as HTML", page, f"{source.stem}-{key}.html", "text/html", key)


def download_figures(make: Callable[[], Iterable[Figure]], source: Source, key: str) -> None:
    """Offer figures as one zip of HTML and CSV; they are drawn on the click."""
    data = lambda: pictures.zip_figures(make(), source.title, source.full_note, source.disclosures)  # noqa: E731
    _button("Download all figures", data, f"{source.stem}-figures.zip", "application/zip", key)


def download(
    label: str,
    frame: pd.DataFrame | Callable[[], pd.DataFrame],
    file_name: str,
    key: str,
    source: Source | None = None,
) -> None:
    """Offer a frame as CSV, with every digit and the disclosures of its source; it is made and written on the click."""
    _button(label, lambda: _csv(frame() if callable(frame) else frame, source), file_name, "text/csv", key)


def download_stored(label: str, path: Path, file_name: str, key: str, source: Source | None = None) -> None:
    """Offer a stored Parquet table as CSV; it may be large, and is read on the click."""
    _button(label, lambda: _csv(read_frame(path), source), file_name, "text/csv", key)


def _csv(frame: pd.DataFrame, source: Source | None) -> bytes:
    return sheet_bytes(source.marked(frame) if source else frame)


def _button(
    label: str,
    data: Callable[[], bytes] | bytes,
    file_name: str,
    mime: str | None,
    key: str,
    type: Literal["secondary", "tertiary"] = "secondary",
) -> None:
    st.download_button(
        label,
        data,
        file_name=file_name,
        mime=mime,
        key=key,
        icon=":material/download:",
        type=type,
        on_click="ignore",
    )


# Columns of tables of differences, as the screen titles them; those of every other name are capitalised.
_HEADINGS = {
    "a": "Other run",
    "a_value": "Other",
    "b_value": "Baseline",
    "label": "Finding",
    "delta": "Difference",
    "ci": "95 % CI",
    "p": "p",
    "p_adjusted": "p (adjusted)",
    "p_swap": "p (rank swap)",
    "detectable": DETECTABLE_TITLE,
    "non_inferior": "Non-inferior",
    "p_non_inferior": "p (non-inferior)",
    "p_equivalent": "p (equivalent)",
    "reason": "Note",
}


def draw_differences(frame: pd.DataFrame, key: str, alt: str) -> None:
    """Draw a table of differences: columns a, b, delta, lo, hi, p, ...; the bounds become one column."""
    shown = frame.drop(columns=["lo", "hi"])
    bounds = [format_bounds(pair) or UNDEFINED for pair in frame[["lo", "hi"]].to_numpy().tolist()]
    shown.insert(list(shown).index("delta") + 1, "ci", bounds)
    if "metric" in shown:
        shown["metric"] = shown["metric"].map(metric_title)
    headings = {name: _HEADINGS.get(name, name.capitalize()) for name in shown}
    st.dataframe(styled(shown), hide_index=True, column_config=headings, key=key, placeholder="–", alt=alt)


def styled(frame: pd.DataFrame, pinned: str | None = None) -> Styler:
    """Return a table whose numbers read as in a paper, ``.842`` and ``< .001``, and are still sorted as numbers.

    Args:
        pinned: the column that stays in sight. Streamlit draws it at 60 % of its colour, which of the page's is too faint.
    """
    numbers = list(frame.select_dtypes("float"))
    p_values = [name for name in numbers if re.match(r"p\b|p_", str(name))]
    errors = [name for name in numbers if re.match(r"S[DE]\b", str(name))]
    styles = frame.style.format(format_metric, subset=numbers).format(format_p, subset=p_values)
    if pinned is not None:
        styles = styles.set_properties(subset=[pinned], color=strongest_ink())
    return styles.format(format_error, subset=errors)


def draw_paper(files: Mapping[str, str], stem: str, figures: Callable[[], Iterable[Figure]], source: Source) -> None:
    """Offer every file of a paper, and the page's figures as one zip; draw the LaTeX table and, folded, Methods."""
    with st.container(horizontal=True):
        for name, text in files.items():
            _button(name, text.encode(), f"{stem}-{name}", None, f"paper-{name}")
        download_figures(figures, source, "paper-figures")
    st.code(files["table.tex"], language=None, height=320)
    with st.expander("Methods", icon=":material/article:", key="paper-methods"):
        st.markdown("\n\n".join(as_text(part) for part in files["methods.txt"].strip().split("\n\n")))
