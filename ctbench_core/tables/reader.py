"""Read a CSV or Parquet file as columns of text, or raise one message that names the line and the fix.

Every table that people bring is read here: commas, semicolons or tabs, with or without a BOM, quoted or not, with
blank lines. What a lenient parser would guess (a row too short or too long, a quote never closed, a duplicate column)
is an error, because a guess would become a label.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from ctbench_core.errors import ManifestError, first_rows

_SEPARATORS = ",;\t"
_LARGEST_VALUE = 2**27  # characters; the csv module's 131,072 are too few for a report


def read_table(path: Path, kind: str = "Manifest") -> tuple[pd.DataFrame, str]:
    """Read a CSV or Parquet file with every value as text, and its SHA-256.

    The frame's index is each row's line in the file less 2, so that line 1 is the header.

    Args:
        kind: what messages call the file.

    Raises:
        ManifestError: the file is missing, unreadable or empty, has a duplicate column, or a row with more or fewer
            values than the header.
    """
    if not path.is_file():
        near = sorted(p.name for p in path.parent.glob("*.csv"))[:8] if path.parent.is_dir() else []
        hint = f" That folder contains: {', '.join(near)}." if near else " Check its folder and its name."
        raise ManifestError(f"{kind} {path} does not exist.{hint}")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ManifestError(f"{kind} {path} cannot be read: {error}. Check its permissions.") from error
    read = _parse_parquet if path.suffix in {".parquet", ".pq"} else _parse_csv
    frame = read(f"{kind} {path}", content)
    if frame.empty:
        raise ManifestError(f"{kind} {path} has no rows: expected a header line and one line a volume.")
    return frame, hashlib.sha256(content).hexdigest()


def _parse_parquet(name: str, content: bytes) -> pd.DataFrame:
    try:
        frame = pd.read_parquet(io.BytesIO(content))
    except (ValueError, OSError) as error:
        raise ManifestError(f"{name} is not a readable Parquet file: {error}. Export it again, or as CSV.") from error
    frame.columns = [str(column).strip() for column in frame.columns]
    _check_columns(name, list(frame.columns))
    return frame.astype(object).where(frame.notna(), "").astype(str).reset_index(drop=True)


def _parse_csv(name: str, content: bytes) -> pd.DataFrame:
    text = _decode(name, content)
    records = _records(name, text, _separator(text))
    line, header = next(records, (1, []))
    columns = [column.strip() for column in header]
    if not any(columns):
        raise ManifestError(f"{name} is empty: expected a header line and one line a volume.")
    _check_columns(name, columns)
    rows = list(records)
    uneven = {number: len(values) for number, values in rows if len(values) != len(columns)}
    if uneven:
        first = min(uneven)
        raise ManifestError(
            f"{name} cannot be parsed: line {line} names {len(columns)} columns, but line {first} has {uneven[first]} "
            f"values. Wrong number of values on line {first_rows(uneven)}: add or remove separators, or quote "
            "values that contain one."
        )
    index = [number - 2 for number, _ in rows]
    return pd.DataFrame([values for _, values in rows], columns=columns, index=index, dtype=str)


def _decode(name: str, content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ManifestError(f"{name} is not UTF-8 text (byte {error.start}): save it as CSV in UTF-8.") from error


def _separator(text: str) -> str:
    """Return the most frequent separator of the first line, outside quotes."""
    header = next((line for line in text.splitlines() if line.strip()), "")
    bare = "".join(header.split('"')[::2])
    return max(_SEPARATORS, key=bare.count)


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
                f"{name} cannot be parsed, in the row that begins on line {line}: {error}. "
                'Close its quotes, and double a quote inside a quoted value ("").'
            ) from error
        if values is None:
            return
        if any(value.strip() for value in values):
            yield line, values


def _check_columns(name: str, columns: list[str]) -> None:
    repeated = sorted({column for column in columns if columns.count(column) > 1})
    if repeated:
        raise ManifestError(f"{name}: duplicate column {', '.join(map(repr, repeated))}. Rename or remove one.")
