"""Keep the rows of the run table between processes, in one SQLite file of the run store.

A cache, never the truth: a row counts only while the files of its run have the stamps it was made from. A file that is
missing, damaged, of another version, locked, or on a disk that is full or read-only costs time and nothing else. The
connection is closed after each use, so that Windows can move the store.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import sqlite3
import zlib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

import ctbench_core
from ctbench_core.config import KEYS, Config, as_introduced
from ctbench_core.declared import METRICS

FILE = ".runs.sqlite"
_FORMAT = 4  # of rows; raise it when a row gets other cells
_WAIT_S = 0.2  # for another process that writes
_ROWS = "CREATE TABLE IF NOT EXISTS runs (folder TEXT PRIMARY KEY, stamps BLOB, row BLOB, digest INTEGER)"

Stamp = tuple[int, int, int] | None
Stamps = tuple[tuple[str, Stamp], ...]
Entry = tuple[Stamps, dict[str, Any]]

_stamps_decoder = msgspec.msgpack.Decoder(Stamps)
_row_decoder = msgspec.msgpack.Decoder(dict[str, Any])


@functools.lru_cache(maxsize=1)
def _version() -> int:
    """Return a number that changes with what a row is made of: the program, keys with their defaults, and metrics."""
    config = [(name, info.default, info.introduced) for name, info in KEYS.items()]
    content = (_FORMAT, ctbench_core.__version__, config, Config(), as_introduced(), list(METRICS))
    return int.from_bytes(hashlib.sha256(repr(content).encode()).digest()[:4], "big") >> 1


def read_index(root: Path) -> dict[str, Entry]:
    """Return the stored rows by folder within the store; empty where there is no usable index."""
    entries: dict[str, Entry] = {}
    if not (root / FILE).is_file():
        return entries
    try:
        with _open(root, "ro") as base:
            if base.execute("PRAGMA user_version").fetchone()[0] != _version():
                return entries
            for folder, stamps, row, digest in base.execute("SELECT folder, stamps, row, digest FROM runs"):
                if _digest(folder, stamps, row) == digest:
                    entries[folder] = (_stamps_decoder.decode(stamps), _row_decoder.decode(row))
    except (sqlite3.Error, msgspec.DecodeError, TypeError, OSError):
        return {}  # written again by the next `write_index`
    return entries


def write_index(root: Path, changed: Mapping[str, Entry], gone: Collection[str] = ()) -> bool:
    """Store rows and remove those of runs that are gone; return whether the index holds them now.

    An index that is damaged or of another version is begun again. Another process may write at the same time.
    """
    rows = [(folder, *_encode(folder, *entry)) for folder, entry in changed.items()]
    with contextlib.suppress(sqlite3.Error, OSError):
        try:
            _write(root, rows, gone)
        except sqlite3.OperationalError:
            return False  # locked, full or read-only: not damaged
        except sqlite3.DatabaseError:
            (root / FILE).unlink()
            _write(root, rows, gone)
        return True
    return False


def _write(root: Path, rows: list[tuple[Any, ...]], gone: Collection[str]) -> None:
    with _open(root, "rwc") as base:
        base.execute("PRAGMA synchronous = OFF")  # a loss of power may damage it; then it is begun again
        base.execute("BEGIN IMMEDIATE")
        if base.execute("PRAGMA user_version").fetchone()[0] != _version():
            base.execute("DROP TABLE IF EXISTS runs")
            base.execute(f"PRAGMA user_version = {_version()}")
        base.execute(_ROWS)
        base.executemany("DELETE FROM runs WHERE folder = ?", [(folder,) for folder in gone])
        base.executemany("INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?)", rows)
        base.execute("COMMIT")


@contextlib.contextmanager
def _open(root: Path, mode: str) -> Iterator[sqlite3.Connection]:
    uri = f"{(root.resolve() / FILE).as_uri()}?mode={mode}"
    base = sqlite3.connect(uri, uri=True, timeout=_WAIT_S, isolation_level=None)
    try:
        yield base
    finally:
        base.close()


def _encode(folder: str, stamps: Stamps, row: dict[str, Any]) -> tuple[bytes, bytes, int]:
    encoded = msgspec.msgpack.encode(stamps), msgspec.msgpack.encode(row)
    return *encoded, _digest(folder, *encoded)


def _digest(folder: str, stamps: bytes, row: bytes) -> int:
    """Return a number that shows a changed byte, which SQLite does not."""
    return zlib.crc32(row, zlib.crc32(stamps, zlib.crc32(folder.encode("utf-8"))))
