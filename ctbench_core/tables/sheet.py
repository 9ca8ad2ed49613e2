"""CSV files that people open in a spreadsheet: text is never run as a formula, and Excel reads every letter.

A text that a spreadsheet would run gets a quote in front, which spreadsheets show as text (OWASP, CSV injection); numbers
stay numbers. A byte order mark says UTF-8 wherever a letter is not ASCII. Files that other programs read as input
(manifests, selections, label budgets) are written by `atomic.write_csv` and hold texts as they are.
"""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from ctbench_core.atomic import csv_bytes, write_bytes

_BOM = b"\xef\xbb\xbf"
# Signs that begin a formula, in full width too; names that already begin with quotes and such a sign get one more, so
# that reading gives back what was written.
_FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")


def sheet_bytes(frame: pd.DataFrame, decimals: int | None = None) -> bytes:
    """Return a table, without its index, as CSV for people; ``decimals`` limits those of its numbers."""
    guarded = frame.set_axis([_guard(name) for name in frame.columns], axis=1)
    for place in _texts(frame):
        guarded.isetitem(place, frame.iloc[:, place].astype(object).map(_guard))
    content = csv_bytes(guarded, decimals)
    return content if content.isascii() else _BOM + content


def write_sheet(path: Path, frame: pd.DataFrame, decimals: int | None = None) -> None:
    """Write a table as `sheet_bytes` atomically."""
    write_bytes(path, sheet_bytes(frame, decimals))


def unguarded(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table that was read from a CSV file for people, with its texts as they were before `sheet_bytes`."""
    plain = frame.rename(columns=_unguard)
    for place in _texts(frame):
        column = frame.iloc[:, place]
        if column.str.startswith("'").any():
            plain.isetitem(place, column.map(_unguard, na_action="ignore"))
    return plain


def _texts(frame: pd.DataFrame) -> list[int]:
    """Return the positions of the columns of text."""
    return [place for place, kind in enumerate(frame.dtypes) if str(kind) in ("object", "str", "string", "category")]


def _unguard(text: object) -> object:
    is_guarded = isinstance(text, str) and text.startswith("'") and _FORMULA.match(text)
    return str(text)[1:] if is_guarded else text


def _guard(value: object) -> object:
    if not isinstance(value, str):
        return value
    text = value.replace("\r\n", "\n").replace(
        "\r", "\n"
    )  # to_csv does not quote a bare \r, which ends a line in Excel
    return f"'{text}" if _FORMULA.match(text) and not _is_number(text) else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text.isascii() and text == text.strip()
