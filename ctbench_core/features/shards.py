"""Shards of a packed store: up to 65,536 rows that one worker reads and writes, in any process that sees the files.

A shard is a part of the store's one matrix file: its rows are known before it is written, so that workers write side
by side, and a shard that is written twice is the same. Its digest is the fingerprints of its rows.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ctbench_core.errors import Interrupted, RunError, StorageError
from ctbench_core.features.index import Index, join_indexes
from ctbench_core.features.reader import FileReader
from ctbench_core.progress import Progress, silent

SHARD_ROWS, BATCH = 65_536, 512


@dataclass(frozen=True)
class Shard:
    """Files and rows of tables to read, and the rows of a matrix file, from ``first`` on, that their vectors fill."""

    root: Path
    key: str | None
    pool: str
    dtype: str
    names: list[str]
    width: int
    matrix: Path
    first: int


RunShards = Callable[[list[Shard]], Iterator[tuple[int, Index]]]  # yields places in the list as shards end


def write_shard(shard: Shard, *, stop: threading.Event, progress: Progress = silent) -> Index:
    """Read the files of a shard and write their rows; return their index, as of all rows of the shard.

    Raises:
        FeatureError: a table is unreadable. RunError: the matrix cannot be written. Interrupted: ``stop`` was set.
    """
    reader = FileReader(shard.root, shard.key, shard.pool, shard.dtype)
    parts = []
    try:
        with shard.matrix.open("r+b") as file:
            file.seek(shard.first * shard.width * np.dtype(shard.dtype).itemsize)
            for start in range(0, len(shard.names), BATCH):
                if stop.is_set():
                    raise Interrupted("Packing stopped. The packed store is unchanged.")
                batch = reader.read(shard.names[start : start + BATCH], shard.width)
                file.write(np.ascontiguousarray(batch.matrix).data.cast("B") if batch.matrix.size else b"")
                parts.append(batch.index)
                progress("reading features", start + len(batch.index.names), len(shard.names))
    except OSError as error:
        raise RunError(
            f"A shard of the packed store cannot be written. {StorageError.of(error, shard.matrix.parent)}"
        ) from error
    index = join_indexes(parts, shard.width)
    index.prints = np.concatenate([index.prints, np.zeros(len(shard.names) - len(index.prints), np.uint64)])
    return index
