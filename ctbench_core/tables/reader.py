"""A CSV or Parquet file to columns of text, or one message that names the line and the fix.

Every table of the product comes through here: commas, semicolons or tabs, with or without a BOM,
quoted or not, with blank lines. What a lenient parser would guess (a row too short or too long, a
quote never closed, a column named twice) is refused, because a guess would become a label.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from ctbench_core.errors import ManifestError, first_rows

SEPARATORS = ",;\t"
_LARGEST_VALUE = 2**27  # characters: a report is longer than the csv module's 131,072 allow


def read_table(path: Path, kind: str = "Manifest") -> tuple[pd.DataFrame, str]:
    """Read a CSV or Parquet file with every value as text, and its SHA-256.

    The frame's index is each row's line in the file less 2, so that line 1 is the header.

    Args:
        kind: what messages call the file.

    Raises:
        ManifestError: the file is missing, unreadable, empty, names a column twice, or has a row of
            another number of values than its header.
    """
    if not path.is_file():
        near = sorted(p.name for p in path.parent.glob("*.csv"))[:8] if path.parent.is_dir() else []
        hint = f" That folder holds: {', '.join(near)}." if near else " Check its folder and its name."
        raise ManifestError(f"{kind} {path} does not exist.{hint}")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ManifestError(f"{kind} {path} cannot be read: {error}. Check that you may read it.") from error
    read = _parse_parquet if path.suffix in {".parquet", ".pq"} else _parse_csv
    frame = read(f"{kind} {path}", content)
    if frame.empty:
        raise ManifestError(f"{kind} {path} has no rows: expected a header line and one row a volume.")
    return frame, hashlib.sha256(content).hexdigest()


def _parse_parquet(name: str, content: bytes) -> pd.DataFrame:
    try:
        frame = pd.read_parquet(io.BytesIO(content))
    except (ValueError, OSError) as error:
        raise ManifestError(f"{name} is no readable Parquet file: {error}") from error
    frame.columns = [str(column).strip() for column in frame.columns]
    _refuse_repeated(name, list(frame.columns))
    return frame.astype(object).where(frame.notna(), "").astype(str).reset_index(drop=True)


def _parse_csv(name: str, content: bytes) -> pd.DataFrame:
    text = _decoded(name, content)
    records = _records(name, text, _separator(text))
    line, header = next(records, (1, []))
    columns = [column.strip() for column in header]
    if not any(columns):
        raise ManifestError(f"{name} is empty: expected a header line and one row a volume.")
    _refuse_repeated(name, columns)
    rows = list(records)
    uneven = [at for at, values in rows if len(values) != len(columns)]
    if uneven:
        length = next(len(values) for at, values in rows if at == uneven[0])
        raise ManifestError(
            f"{name} cannot be parsed: line {first_rows(uneven, len(uneven))} {'has' if len(uneven) == 1 else 'have'} "
            f"another number of values than line {line}, which names {len(columns)} columns. Each row needs "
            f"{len(columns)} values, line {uneven[0]} has {length}: add or remove separators, or quote values that hold one."
        )
    return pd.DataFrame([values for _, values in rows], columns=columns, index=[at - 2 for at, _ in rows], dtype=str)


def _decoded(name: str, content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ManifestError(f"{name} is not UTF-8 text (byte {error.start}): save it as CSV in UTF-8.") from error


def _separator(text: str) -> str:
    """Take the separator that stands most often in the first line, outside quotes."""
    header = next((line for line in text.splitlines() if line.strip()), "")
    bare = "".join(header.split('"')[::2])
    return max(SEPARATORS, key=bare.count)


def _records(name: str, text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Yield each record that is not blank, with the line it begins on."""
    csv.field_size_limit(_LARGEST_VALUE)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            values = next(reader, None)
        except csv.Error as error:
            raise ManifestError(
                f"{name} cannot be parsed: the row that begins on line {line}: {error}. "
                'Close its quotes, and write a quote inside a quoted value twice ("").'
            ) from error
        if values is None:
            return
        if any(value.strip() for value in values):
            yield line, values


def _refuse_repeated(name: str, columns: list[str]) -> None:
    twice = sorted({column for column in columns if columns.count(column) > 1})
    if twice:
        raise ManifestError(f"{name} names column {', '.join(map(repr, twice))} twice: rename or remove one.")
