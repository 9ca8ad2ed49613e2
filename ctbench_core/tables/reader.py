"""Read a CSV or Parquet file as columns of text, or raise one message that names the line and the fix.

Every table that people bring is read here: commas, semicolons or tabs, UTF-8 or UTF-16 with a BOM, gzipped or not,
quoted or not, with blank lines, decimal commas where no comma separates. What a lenient parser would guess (a row too
short or too long, a quote never closed, a duplicate column) is an error, because a guess would become a label.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd

from ctbench_core.errors import ManifestError
from ctbench_core.tables.bytes import read_bytes, to_utf8
from ctbench_core.tables.delimited import read_delimited, read_header_line
from ctbench_core.tables.numbers import points_for_commas
from ctbench_core.tables.parquet import PARQUET, parquet_names, read_parquet

_PARQUET_SUFFIXES = {".parquet", ".pq"}


def read_table(path: Path) -> tuple[pd.DataFrame, str]:
    """Read a CSV or Parquet file with every value as text, and its SHA-256.

    The frame's index is each row's line in the file less 2, so that line 1 is the header. Texts stay what they are:
    ``001``, ``NA`` and ``None`` too.

    Raises:
        ManifestError: the file is missing, unreadable, empty or too large, has a duplicate column, or a row with more
            or fewer values than the header.
    """
    content = read_bytes(path)
    if _is_parquet(path, content):
        table = read_parquet(path, content)
        names, lines, separator = [name.strip() for name in table.column_names], np.arange(2, len(table) + 2), ","
    else:
        names, table, lines, separator = read_delimited(path, to_utf8(path, content))
    _check_names(path, names)
    if not len(table):
        raise ManifestError(f"{path} has no rows: expected a header line and one line a volume.")
    columns = {name: pd.Series(column, dtype="str", index=lines - 2) for name, column in zip(names, table.columns)}
    if separator != ",":
        columns = {name: points_for_commas(column) for name, column in columns.items()}
    return pd.DataFrame(columns, index=lines - 2), hashlib.sha256(content).hexdigest()


def read_header(path: Path) -> list[str]:
    """Return the names of a table's columns, stripped.

    Raises:
        ManifestError: the file is missing, unreadable, empty or too large, or has a duplicate column.
    """
    content = read_bytes(path)
    parquet = _is_parquet(path, content)
    names = parquet_names(path, content) if parquet else read_header_line(path, to_utf8(path, content))
    names = [name.strip() for name in names]
    _check_names(path, names)
    return names


def _is_parquet(path: Path, content: bytes) -> bool:
    return content.startswith(PARQUET) or path.suffix in _PARQUET_SUFFIXES


def _check_names(path: Path, names: list[str]) -> None:
    repeated = sorted(name for name, count in Counter(names).items() if count > 1)
    if repeated:
        raise ManifestError(f"{path}: duplicate column {', '.join(map(repr, repeated))}. Rename or remove one.")
