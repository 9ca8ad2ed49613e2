"""Tables of separated values, read in bulk after an exact check of every line's number of values.

The check counts separators and line ends outside quotes with NumPy, and pyarrow then reads the columns. Both hold for
text as RFC 4180 describes it. Text whose quotes are used otherwise is read row by row by Python's `csv`, which reads
it or says on which line it cannot.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ctbench_core.errors import ManifestError, first_rows
from ctbench_core.tables.bytes import refuse_many_values

if TYPE_CHECKING:
    import pyarrow as pa

SEPARATORS = ",;\t"
_QUOTE, _LINE_END = ord('"'), ord("\n")
_LARGEST_VALUE = 2**27  # characters; the csv module's 131,072 are too few for a report
_MOST_COLUMNS = 100_000
_BATCH = 10_000  # rows
_BLOCK = 2**20  # bytes that pyarrow reads at once, more where a row is longer


@dataclass(frozen=True)
class _Rows:
    """R rows of a text: ``starts`` and ``ends`` in bytes, ``lines`` from 1, ``cells`` of each, int64 (R,)."""

    starts: np.ndarray
    ends: np.ndarray
    lines: np.ndarray
    cells: np.ndarray


def read_delimited(path: Path, content: bytes) -> tuple[list[str], pa.Table, np.ndarray, str]:
    """Return the stripped header, the columns as text, the line of each row, and the separator.

    Args:
        content: UTF-8 text with lines that end in ``\\n``. Blank lines are left out.

    Raises:
        ManifestError: it is empty, a quote is not closed, or a row has more or fewer values than the header.
    """
    separator = _separator(content)
    marks = sum(content.count(mark) for mark in (separator.encode(), b"\n", b'"'))
    refuse_many_values(path, marks)
    rows = _find_rows(content, separator)
    if rows is None:
        return _read_row_by_row(path, content, separator)
    line, names = _header(path, _records(path, content, separator))
    _check_cells(path, line, len(names), rows.lines[1:], rows.cells[1:])
    return names, _read_columns(content, rows, len(names), separator), rows.lines[1:], separator


def read_header_line(path: Path, content: bytes) -> list[str]:
    """Return the stripped header of separated values, or raise as `read_delimited`."""
    return _header(path, _records(path, content, _separator(content)))[1]


def _header(path: Path, records: Iterator[tuple[int, list[str]]]) -> tuple[int, list[str]]:
    """Return the line and the stripped names of the first record."""
    line, names = next(records, (1, []))
    if not names:
        raise ManifestError(f"{path} is empty: expected a header line and one line a volume.")
    if len(names) > _MOST_COLUMNS:
        raise ManifestError(f"{path}, line {line}, names {len(names):,} columns; at most {_MOST_COLUMNS:,} are read.")
    return line, [name.strip() for name in names]


def _separator(content: bytes) -> str:
    """Return the most frequent separator of the first line, outside quotes."""
    start = content.lstrip()[: 2**20]
    header = start.partition(b"\n")[0].decode("utf-8", errors="ignore")
    bare = "".join(header.split('"')[::2])
    return max(SEPARATORS, key=bare.count)


def _find_rows(content: bytes, separator: str) -> _Rows | None:
    """Return the rows that are not blank, or None where quotes are not used as in RFC 4180."""
    text = np.frombuffer(content, dtype=np.uint8)
    line_ends, separators = np.flatnonzero(text == _LINE_END), np.flatnonzero(text == ord(separator))
    row_ends = line_ends
    quotes = np.flatnonzero(text == _QUOTE)
    if len(quotes):
        if not _are_regular(text, quotes, separator):
            return None
        inside = np.bitwise_xor.accumulate(text == _QUOTE)
        row_ends, separators = row_ends[~inside[row_ends]], separators[~inside[separators]]
    starts = np.concatenate([[0], row_ends + 1])
    ends = np.concatenate([row_ends, [len(text)]])
    cells = np.diff(np.searchsorted(separators, np.concatenate([[0], ends]))) + 1
    lines = np.searchsorted(line_ends, starts) + 1
    filled = _are_filled(content, text, starts, ends, separator)
    return _Rows(starts[filled], ends[filled], lines[filled], cells[filled])


def _are_regular(text: np.ndarray, quotes: np.ndarray, separator: str) -> bool:
    """Whether every quoted value begins and ends at a separator or line end, and quotes within are doubled."""
    if len(quotes) % 2:
        return False
    opening, closing = quotes[0::2], quotes[1::2]
    around = np.array([ord(separator), _LINE_END, _QUOTE], dtype=np.uint8)
    before = text[opening[opening > 0] - 1]
    after = text[closing[closing < len(text) - 1] + 1]
    return bool(np.isin(before, around).all() and np.isin(after, around).all())


def _are_filled(content: bytes, text: np.ndarray, starts: np.ndarray, ends: np.ndarray, separator: str) -> np.ndarray:
    """Mark the rows with a value that is not blank."""
    filled = ends > starts
    first = text[starts[filled]]
    likely = (first <= ord(" ")) | (first >= 128) | (first == _QUOTE) | (first == ord(separator))
    for row in np.flatnonzero(filled)[likely]:
        values = content[starts[row] : ends[row]].decode("utf-8")
        if not values.replace(separator, "").replace('"', "").strip():
            parsed = next(csv.reader(io.StringIO(values, newline=""), delimiter=separator))
            filled[row] = any(value.strip() for value in parsed)
    return filled


def _read_columns(content: bytes, rows: _Rows, count: int, separator: str) -> pa.Table:
    """Return the rows after the header as ``count`` columns of text, named by their position."""
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    names = [str(position) for position in range(count)]
    schema = pa.schema([(name, pa.large_string()) for name in names])
    if len(rows.starts) < 2:
        return schema.empty_table()
    starts, ends = rows.starts[1:], rows.ends[1:]
    if (starts[1:] > ends[:-1] + 1).any():  # blank rows between: pyarrow leaves out only those without a separator
        content = b"\n".join(content[start:end] for start, end in zip(starts, ends))
    else:
        content = content[starts[0] : ends[-1]]
    return arrow_csv.read_csv(
        pa.BufferReader(content),
        arrow_csv.ReadOptions(
            use_threads=len(content) > _BLOCK,
            column_names=names,
            block_size=max(_BLOCK, 2 * int((ends - starts).max()) + 2),
        ),
        arrow_csv.ParseOptions(delimiter=separator, newlines_in_values=b'"' in content, ignore_empty_lines=True),
        arrow_csv.ConvertOptions(
            column_types=schema, null_values=[], strings_can_be_null=False, quoted_strings_can_be_null=False
        ),
    )


def _read_row_by_row(path: Path, content: bytes, separator: str) -> tuple[list[str], pa.Table, np.ndarray, str]:
    import pyarrow as pa

    records = _records(path, content, separator)
    header_line, header = _header(path, records)
    schema = pa.schema([(str(position), pa.large_string()) for position in range(len(header))])
    lines: list[int] = []
    batches = []
    while rows := list(islice(records, _BATCH)):
        numbers, values = zip(*rows)
        _check_cells(path, header_line, len(header), np.array(numbers), np.array([len(row) for row in values]))
        batches.append(pa.record_batch([pa.array(column, pa.large_string()) for column in zip(*values)], schema=schema))
        lines += numbers
    return header, pa.Table.from_batches(batches, schema=schema), np.array(lines, dtype=np.int64), separator


def _records(path: Path, content: bytes, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Yield each record that is not blank, with the line it begins on."""
    csv.field_size_limit(_LARGEST_VALUE)
    text = io.TextIOWrapper(io.BytesIO(content), encoding="utf-8", newline="")
    reader = csv.reader(text, delimiter=separator, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            values = next(reader, None)
        except csv.Error as error:
            raise ManifestError(
                f"{path} cannot be parsed, in the row that begins on line {line}: {error}. "
                'Close its quotes, and double a quote inside a quoted value ("").'
            ) from error
        if values is None:
            return
        if any(value.strip() for value in values):
            yield line, values


def _check_cells(path: Path, header_line: int, expected: int, lines: np.ndarray, cells: np.ndarray) -> None:
    uneven = cells != expected
    if uneven.any():
        raise ManifestError(
            f"{path} cannot be parsed: line {header_line} names {expected} columns, but line {lines[uneven][0]} has "
            f"{cells[uneven][0]:,} values. Wrong number of values on line {first_rows(lines[uneven])}: add or remove "
            "separators, or quote values that contain one."
        )
