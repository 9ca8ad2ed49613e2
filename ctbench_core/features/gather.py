"""The vectors of many files: what a pack holds and is unchanged is taken from it, the rest is read.

Shape suffixes: N names.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ctbench_core.features.files import Reader, missing, width_of
from ctbench_core.features.index import Index, Pack, fingerprints, join_indexes
from ctbench_core.features.one_file import stamp_of
from ctbench_core.features.pack import MemoryWriter, PackWriter, locked, open_pack
from ctbench_core.features.paths import check_allowed

Progress = Callable[[int, int], None]
Failure = tuple[str, str]

# Few small files are read again in less time than a store is kept: 2,000 of them take 15 ms.
SMALL_FILES, SMALL_BYTES = 2_000, 2**26

_BATCH = 512

# One thread reads files that are at hand (7 us each): two get in each other's way in the interpreter and
# take half as long again. Files that must be waited for, on a network or a cold disk, are read by several.
_SLOW_FILE_S, _THREADS = 1e-4, 8


@dataclass
class Gathered:
    """A pack that holds every usable file asked for, kind and message of what could not be opened, and what it took."""

    pack: Pack
    missing: dict[str, Failure]
    files_read: int = 0
    seconds: dict[str, float] = field(default_factory=dict)

    @classmethod
    def nothing(cls) -> Gathered:
        """Return what asking for no file gives."""
        return cls(Pack(Index.of([], 0), np.empty((0, 0))), {})

    def failures(self, names: Sequence[str]) -> dict[str, Failure]:
        """Return kind and message of each unusable file among ``names``, in their order."""
        index = self.pack.index
        unusable = {index.names[i] for i in np.flatnonzero(index.rows < 0).tolist()}
        found = {}
        for name in names if unusable or self.missing else ():
            if name in self.missing:
                found[name] = self.missing[name]
            elif name in unusable:
                found[name] = index.failures.get(name) or self._of_another_width(name)
        return found

    def _of_another_width(self, name: str) -> Failure:
        index = self.pack.index
        width = index.widths[index.position[name]]
        return (
            "wrong_dim",
            f"{name} has {width} values where the others have {index.width}. Export it anew, or keep it in a root of its own.",
        )


@dataclass
class _Found:
    """What a look at the present pack gave: the pack, if it is of use, what must be read, what is not there."""

    base: Pack | None
    to_read: list[str]
    missing: dict[str, Failure] = field(default_factory=dict)


@dataclass
class _Asked:
    """What is asked for, how, and what it took so far."""

    reader: Reader
    names: list[str]
    workers: int
    progress: Progress | None
    seconds: dict[str, float] = field(default_factory=lambda: {"read": 0.0})

    def tell(self, done: int) -> None:
        """Tell the progress; what it raises ends the work."""
        if self.progress is not None:
            self.progress(done, len(self.names))


def gather(
    reader: Reader, names: list[str], folder: Path | None, mode: str, workers: int, progress: Progress | None
) -> Gathered:
    """Take N distinct files from the pack in ``folder``, reading what it lacks or holds outdated.

    Args:
        mode: auto (keep a pack when it is worth it), always, or read (write nothing).
        workers: threads that read; 0 chooses by how long the first files take.
        progress: called with (files done, files in all); what it raises stops the work and leaves nothing behind.

    Raises:
        RunError: the pack cannot be written.
    """
    asked = _Asked(reader, names, workers, progress)
    found = _Found(None, names) if folder is None else _look(asked, folder)
    if found.base is not None and not found.to_read:
        return _done(asked, found)
    if folder is None or mode == "read" or (mode == "auto" and found.base is None and _is_small(reader, names)):
        return _build(asked, found, MemoryWriter)
    with locked(folder, lambda: asked.tell(0)):
        if _generation(open_pack(folder)) != _generation(found.base):
            found = _look(asked, folder)  # another process has been here
            if found.base is not None and not found.to_read:
                return _done(asked, found)
        return _build(asked, found, lambda: PackWriter(folder))


def _generation(pack: Pack | None) -> Path | None:
    return pack.path if pack is not None else None


def _is_small(reader: Reader, names: list[str]) -> bool:
    if len(names) >= SMALL_FILES:
        return False
    sizes = reader.read(names[:: max(1, len(names) // 8)], 0).index.stamps[:, 0]
    return float(sizes.mean()) * len(names) < SMALL_BYTES


def _done(asked: _Asked, found: _Found) -> Gathered:
    assert found.base is not None
    asked.tell(len(asked.names))
    return Gathered(found.base, found.missing, 0, asked.seconds)


def _look(asked: _Asked, folder: Path) -> _Found:
    """Open the pack and tell which files must be read."""
    started = time.perf_counter()
    base = open_pack(folder)
    opened = time.perf_counter()
    found = _Found(None, asked.names)
    if base is not None:
        fresh, gone = verify(base, asked.reader, asked.names)
        there = [name for name in asked.names if name not in gone] if gone else asked.names
        if _commonest(_widths(base.index, there)) in (0, base.index.width):  # else it is of other files
            found = _Found(base, [there[i] for i in np.flatnonzero(fresh).tolist()], gone)
    asked.seconds |= {"open": opened - started, "verify": time.perf_counter() - opened}
    return found


def _widths(index: Index, names: Sequence[str]) -> np.ndarray:
    return index.widths[[index.position[name] for name in names if name in index.position]]


def _commonest(widths: np.ndarray) -> int:
    known = widths[widths > 0]
    return int(np.bincount(known).argmax()) if len(known) else 0


def verify(pack: Pack, reader: Reader, names: Sequence[str]) -> tuple[np.ndarray, dict[str, Failure]]:
    """Tell which of N files are new, changed or damaged in a pack, bool (names found,), and which are missing.

    Raises:
        PathError: a path may not be followed.
    """
    index = pack.index
    at = np.fromiter((index.position.get(name, -1) for name in names), np.int64, len(names))
    stamps = stamps_in(index, reader, names)
    fresh = (at < 0) | (stamps != index.stamps[at]).any(axis=1)
    rows = index.rows[at]
    held = np.flatnonzero(~fresh & (rows >= 0))
    fresh[held] = (fingerprints(pack.matrix) != index.prints)[rows[held]]
    gone = {}
    for i in np.flatnonzero(fresh).tolist():
        if stamps[i, 0] < 0 and reader.find(names[i]) is None:
            gone[names[i]] = "missing", missing(names[i])
    return (fresh[[name not in gone for name in names]] if gone else fresh), gone


def stamps_in(index: Index, reader: Reader, names: Sequence[str]) -> np.ndarray:
    """Return the present stamps of N files, int64 (N, 3), where a pack has them; -1 where nothing is there.

    Raises:
        PathError: a path of the pack may not be followed.
    """
    paths = [index.moved.get(name) or reader.likely_path(name) for name in names]
    if reader.limited:
        _check_allowed([path for path, name in zip(paths, names) if name in index.position])
    return np.array([_stamp(path) for path in paths], dtype=np.int64).reshape(-1, 3)


def _stamp(path: str) -> tuple[int, int, int]:
    try:
        return stamp_of(os.stat(path))  # noqa: PTH116 - strings, 50,000 of them
    except (OSError, ValueError):
        return -1, -1, -1


def _check_allowed(paths: list[str]) -> None:
    """Refuse files that lie or lead outside CTBENCH_ROOTS; a folder is looked at once."""
    for folder in {os.path.dirname(path) for path in paths}:  # noqa: PTH120 - strings, 50,000 of them
        check_allowed(folder)
    for path in paths:
        if os.path.islink(path):  # noqa: PTH114
            check_allowed(path)


def _build(asked: _Asked, found: _Found, writer_of: Callable[[], PackWriter | MemoryWriter]) -> Gathered:
    """Write a pack of what the present one holds and is unchanged, and of the files that must be read."""
    started = time.perf_counter()
    width = width_of(asked.reader, found.to_read) if found.base is None else found.base.index.width
    while True:
        with writer_of() as writer:
            index, gone = _fill(writer, asked, found, width)
            right = _commonest(_widths(index, asked.names))
            if right in (0, width):
                pack = writer.commit(index)
                break
        # The first guess was wrong: most of the files are of another width.
        width, found = right, _Found(None, asked.names)
    asked.seconds["read"] += time.perf_counter() - started
    return Gathered(pack, found.missing | gone, len(found.to_read) - len(gone), asked.seconds)


def _fill(
    writer: PackWriter | MemoryWriter, asked: _Asked, found: _Found, width: int
) -> tuple[Index, dict[str, Failure]]:
    """Write the kept rows, then the read ones; return the index of all, and what could not be opened."""
    parts = [] if found.base is None else [_keep(writer, found.base, {*found.to_read, *found.missing})]
    done = len(asked.names) - len(found.to_read)
    for batch in _batches(asked.reader, found.to_read, width, asked.workers):
        writer.write(batch.matrix)
        parts.append(batch.index)
        done += len(batch.index.names)
        asked.tell(done)
    index = join_indexes(parts, width)
    # Without a stamp nothing would tell when such a file appears: it is looked for at every use.
    there = index.stamps[:, 0] >= 0
    gone = {index.names[i]: index.failures[index.names[i]] for i in np.flatnonzero(~there).tolist()}
    return (index.select(np.flatnonzero(there))[0] if gone else index), gone


def _keep(writer: PackWriter | MemoryWriter, base: Pack, without: set[str]) -> Index:
    at = [i for i, name in enumerate(base.index.names) if name not in without]
    index, rows = base.index.select(np.array(at, dtype=np.int64))
    for start in range(0, len(rows), _BATCH):
        writer.write(base.matrix[rows[start : start + _BATCH]])
    return index


def _batches(reader: Reader, names: list[str], width: int, workers: int) -> Iterator[Pack]:
    """Read files, some hundreds at a time, in their order."""
    batches = [names[start : start + _BATCH] for start in range(0, len(names), _BATCH)]
    started = time.perf_counter()
    first = [reader.read(batch, width) for batch in batches[:1]]
    slow = time.perf_counter() - started > _SLOW_FILE_S * _BATCH
    yield from first
    threads = workers or (_THREADS if slow else 1)
    if threads == 1:
        yield from (reader.read(batch, width) for batch in batches[1:])
    else:
        yield from _read_ahead(reader, batches[1:], width, threads)


def _read_ahead(reader: Reader, batches: list[list[str]], width: int, threads: int) -> Iterator[Pack]:
    """Read by several threads, with no more than two batches a thread waiting in memory."""
    waiting: deque[Future[Pack]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for batch in batches:
                waiting.append(pool.submit(reader.read, batch, width))
                if len(waiting) > 2 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
