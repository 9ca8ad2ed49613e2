"""What every report of the API has: a summary as HTML and as text, and figures that load Plotly on demand."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from types import ModuleType
from typing import TYPE_CHECKING

import pandas as pd

from ctbench_core.errors import InputError

if TYPE_CHECKING:
    from ctbench_core.figures import Figure


@dataclass(frozen=True)
class Section:
    """A part of a summary: a line of text, and a table whose cells are text."""

    text: str
    table: pd.DataFrame = field(default_factory=pd.DataFrame)


class Report:
    """Base of the reports."""

    def _title(self) -> str:
        raise NotImplementedError

    def _sections(self) -> Iterator[Section]:
        raise NotImplementedError

    def _warnings(self) -> Sequence[str]:
        return ()

    def __repr__(self) -> str:
        parts = [self._title()]
        for section in self._sections():
            parts += ["", section.text]
            parts += [section.table.to_string(index=False)] if len(section.table) else []
        return "\n".join([*parts, *(f"Warning: {text}" for text in self._warnings())])

    def _repr_html_(self) -> str:
        parts = [f"<h4>{escape(self._title())}</h4>"]
        parts += [f"<p>⚠ {escape(text)}</p>" for text in self._warnings()]
        for section in self._sections():
            parts.append(f"<p>{escape(section.text)}</p>")
            if len(section.table):
                parts.append(_table(section.table))
        return f"<div>{''.join(parts)}</div>"


_NUMBER = re.compile(r"[-+−<.\d–]|$")


def _table(frame: pd.DataFrame) -> str:
    """Return a table as HTML: numbers to the right, under their headings; names whole."""
    numeric = [all(_NUMBER.match(str(cell)) for cell in frame[name]) for name in frame]
    styles = [
        f"text-align: {'right' if right else 'left'}; white-space: nowrap; padding: 1px 10px" for right in numeric
    ]
    head = "".join(f'<th style="{style}">{escape(str(name))}</th>' for name, style in zip(frame, styles))
    rows = [
        "".join(f'<td style="{style}">{escape(str(cell))}</td>' for cell, style in zip(row, styles))
        for row in frame.itertuples(index=False)
    ]
    return f"<table><thead><tr>{head}</tr></thead><tbody><tr>{'</tr><tr>'.join(rows)}</tr></tbody></table>"


def load_figures() -> ModuleType:
    """Return the room of figures.

    Raises:
        InputError: Plotly is not installed.
    """
    try:
        from ctbench_core import figures
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "plotly":
            raise
        raise InputError("Figures need Plotly, which is not installed. Install it with pip install plotly.") from error
    return figures


def draw(make: Callable[[ModuleType], Figure], note: str) -> Figure:
    """Return a figure on white with its note: how large the set is, and what to know of its numbers."""
    figures = load_figures()
    return figures.add_note(make(figures), note).update_layout(template="plotly_white")
