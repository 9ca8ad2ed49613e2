"""The index of E files and rows of tables: where their vectors are in a matrix, and what else is known of them.

A row of a table has the name ``<path of the table>\\x1f<id>``.

Shape suffixes: E files or rows, M vectors, D features.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

_CHUNK_ROWS = 512
_ROW = "\x1f"  # the unit separator, which no path or id holds


@dataclass
class Index:
    """The index of a pack of E files and rows of tables.

    Attributes:
        width: D, length of a vector.
        names: the files' paths as written in manifests, or the names of rows of tables.
        rows: int64 (E,): row of the matrix; -1 where the file has no usable vector of width D.
        widths: int64 (E,): number of values in the file; 0 where it could not be read.
        stamps: int64 (E, 3): size and times of the file when it was read; -1 where it could not be opened.
        prints: uint64 (M,): fingerprints of the matrix rows; 0 for rows of zeros that no file has.
        failures: by name, kind (missing, unreadable, non_finite, table) and message of unusable files.
        moved: by name, the path of files that are not where their name says.
    """

    width: int
    names: list[str]
    rows: np.ndarray
    widths: np.ndarray
    stamps: np.ndarray
    prints: np.ndarray
    failures: dict[str, tuple[str, str]] = field(default_factory=dict)
    moved: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, names: Sequence[str], width: int, stamps: np.ndarray | None = None) -> Index:
        """Return the index of unread files, with their stamps where known."""
        unknown = np.full((len(names), 3), -1, np.int64)
        rows, widths = np.full(len(names), -1, np.int64), np.zeros(len(names), np.int64)
        return cls(width, list(names), rows, widths, unknown if stamps is None else stamps, np.empty(0, np.uint64))

    @cached_property
    def position(self) -> dict[str, int]:
        """Return the position of each name."""
        return {name: i for i, name in enumerate(self.names)}

    def find(self, names: Sequence[str]) -> np.ndarray:
        """Return the position of each of N names, int64 (N,); -1 for those that it lacks."""
        if list(names) == self.names:  # as in most uses of a store
            return np.arange(len(names))
        return np.fromiter((self.position.get(name, -1) for name in names), np.int64, len(names))

    def only(self, positions: np.ndarray) -> Index:
        """Return the index of some files, on the same matrix."""
        names = [self.names[i] for i in positions.tolist()]
        return Index(
            self.width,
            names,
            self.rows[positions],
            self.widths[positions],
            self.stamps[positions],
            self.prints,
            {name: self.failures[name] for name in names if name in self.failures},
            {name: self.moved[name] for name in names if name in self.moved},
        )

    def select(self, positions: np.ndarray) -> tuple[Index, np.ndarray]:
        """Return the index of some files on a matrix of their vectors alone, and the present rows of these, in order."""
        index = self.only(positions)
        usable = index.rows >= 0
        rows = index.rows[usable]
        index.rows, index.prints = np.where(usable, np.cumsum(usable) - 1, -1), self.prints[rows]
        return index, rows


def join_indexes(parts: Sequence[Index], width: int) -> Index:
    """Concatenate the indexes of different files, as their matrices are."""
    if not parts:
        return Index.of([], width)
    starts = np.cumsum([0, *(len(part.prints) for part in parts)])
    return Index(
        width,
        [name for part in parts for name in part.names],
        np.concatenate([np.where(part.rows >= 0, part.rows + start, -1) for part, start in zip(parts, starts)]),
        np.concatenate([part.widths for part in parts]),
        np.concatenate([part.stamps for part in parts]),
        np.concatenate([part.prints for part in parts]),
        {name: failure for part in parts for name, failure in part.failures.items()},
        {name: path for part in parts for name, path in part.moved.items()},
    )


@dataclass
class Pack:
    """An index and its matrix; ``path`` is the matrix file, None for a matrix in memory."""

    index: Index
    matrix: np.ndarray
    path: Path | None = None


def fingerprints(matrix_MD: np.ndarray) -> np.ndarray:
    """Return a 64-bit fingerprint of each row of a matrix, uint64 (M,): a weighted sum of its bits as float32.

    Rows of equal values have equal fingerprints, also where one matrix is float16; others agree with a probability
    of at most 2^-32.
    """
    weights = np.random.default_rng(20_261_123).integers(0, 2**64, matrix_MD.shape[1], dtype=np.uint64)
    prints = np.empty(len(matrix_MD), np.uint64)
    for start in range(0, len(matrix_MD), _CHUNK_ROWS):
        bits = np.ascontiguousarray(matrix_MD[start : start + _CHUNK_ROWS], np.float32).view(np.uint32)
        # Widened in the loop: a copy of twice the bytes took more than twice as long.
        prints[start : start + _CHUNK_ROWS] = np.einsum("ij,j->i", bits, weights, dtype=np.uint64, casting="safe")
    return prints


def row_name(table: str, name: str) -> str:
    """Name the row of a table that an id asks for."""
    return f"{table}{_ROW}{name}"


def is_row(name: str) -> bool:
    """Whether a name is of a row of a table, not of a file."""
    return _ROW in name


def split_row_name(name: str) -> tuple[str, str]:
    """Return the path of a file, and the id of its row; an empty id where the name is the file's."""
    path, _, row = name.partition(_ROW)
    return path, row


def paths_of(names: Iterable[str]) -> list[str]:
    """Return the path of each name's file."""
    return [name.partition(_ROW)[0] for name in names]


def shown_names(names: Iterable[str]) -> list[str]:
    """Return each name as people know it: the id of a row of a table, else the path."""
    return [name.rpartition(_ROW)[2] or name.rstrip(_ROW) for name in names]


def count_files(names: Iterable[str]) -> int:
    """Count the files that names are of: a table once."""
    return len(set(paths_of(names)))
