"""The vectors of many files: what a pack holds and is unchanged is taken from it, the rest is read.

Shape suffixes: N names, B names of a batch, D features.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np

from ctbench_core.features.couriers import Couriers
from ctbench_core.features.pack import Index, MemoryWriter, Pack, PackWriter, fingerprints, locked, open_pack
from ctbench_core.features.parts import Part, join_parts, take_part
from ctbench_core.features.paths import check_allowed
from ctbench_core.features.read import stamp_of
from ctbench_core.features.reader import Reader, missing, reader_threads, width_of

Progress = Callable[[int, int], None]
Item = TypeVar("Item")
Result = TypeVar("Result")

# Few small files are read again in less time than a store is kept: 2,000 of them take 20 ms.
SMALL_FILES, SMALL_BYTES = 2_000, 2**26

_BATCH = 256
_NO_VECTORS = np.empty((0, 0), np.float32)


@dataclass
class Gathered:
    """A pack that holds every usable file asked for, kind and message of what could not be opened, and what it took."""

    pack: Pack
    missing: dict[str, tuple[str, str]]
    files_read: int = 0
    seconds: dict[str, float] = field(default_factory=dict)

    @classmethod
    def nothing(cls) -> Gathered:
        """Return what asking for no file gives."""
        none = np.empty(0, np.int64)
        return cls(Pack(Index(0, [], none, none, none.reshape(0, 3), np.empty(0, np.uint64)), np.empty((0, 0))), {})

    def failures(self, names: Sequence[str]) -> dict[str, tuple[str, str]]:
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

    def _of_another_width(self, name: str) -> tuple[str, str]:
        index = self.pack.index
        width = index.widths[index.position[name]]
        return (
            "wrong_dim",
            f"{name} has {width} values where the others have {index.width}. Export it anew, or keep it in a root of its own.",
        )


@dataclass
class _Order:
    """What is asked of a build: names, which of them must be read, what the present pack gives, who is told."""

    reader: Reader
    names: list[str]
    progress: Progress | None
    workers: int = 0
    base: Pack | None = None
    fresh: np.ndarray = field(default_factory=lambda: np.empty(0, bool))
    missing: dict[str, tuple[str, str]] = field(default_factory=dict)

    def asked(self) -> list[str]:
        """Names that have a file."""
        return [name for name in self.names if name not in self.missing] if self.missing else self.names


def gather(
    reader: Reader, names: list[str], folder: Path | None, mode: str, workers: int, progress: Progress | None
) -> Gathered:
    """Take N distinct files from the pack in ``folder``, reading what it lacks or holds outdated.

    Args:
        mode: auto (keep a pack when it is worth it), always, or read (write nothing).
        progress: called with (files done, files in all); what it raises stops the work and leaves nothing behind.

    Raises:
        RunError: the pack cannot be written.
    """
    order = _Order(reader, names, progress, workers)
    seconds: dict[str, float] = {"read": 0.0}
    if folder is not None:
        _look(order, folder, seconds)
        if order.base is not None and not order.fresh.any():
            return _done(order, order.base, seconds)
    if order.base is None:
        order.fresh = np.ones(len(order.asked()), dtype=bool)
    if folder is None or mode == "read" or (mode == "auto" and order.base is None and _is_small(reader, names)):
        return _build(order, MemoryWriter, seconds)

    def waiting() -> None:
        if progress is not None:
            progress(0, len(names))

    with locked(folder, waiting):
        known = order.base
        if _generation(open_pack(folder)) != _generation(known):
            _look(order, folder, seconds)  # another process has been here
            if order.base is not None and not order.fresh.any():
                return _done(order, order.base, seconds)
        return _build(order, lambda: PackWriter(folder), seconds)


def _generation(pack: Pack | None) -> Path | None:
    return pack.path if pack is not None else None


def _is_small(reader: Reader, names: list[str]) -> bool:
    if len(names) >= SMALL_FILES:
        return False
    sizes = reader.read(names[:: max(1, len(names) // 8)], 0).stamps[:, 0]
    return float(sizes.mean()) * len(names) < SMALL_BYTES


def _done(order: _Order, pack: Pack, seconds: dict[str, float]) -> Gathered:
    if order.progress is not None:
        order.progress(len(order.names), len(order.names))
    return Gathered(pack, order.missing, 0, seconds)


def _look(order: _Order, folder: Path, seconds: dict[str, float]) -> None:
    """Open the pack and tell which files must be read."""
    started = time.perf_counter()
    order.base = open_pack(folder)
    seconds["open"] = time.perf_counter() - started
    started = time.perf_counter()
    if order.base is not None:
        order.fresh, order.missing = verify(order.base, order.reader, order.names)
        if not _fits(order):
            order.base = None
    seconds["verify"] = time.perf_counter() - started


def _fits(order: _Order) -> bool:
    """Whether most of the asked files have the pack's width; else the pack belongs to other files."""
    assert order.base is not None
    index = order.base.index
    widths = index.widths[[index.position[name] for name in order.asked() if name in index.position]]
    return _commonest(widths) in (0, index.width)


def _commonest(widths: np.ndarray) -> int:
    known = widths[widths > 0]
    return int(np.bincount(known).argmax()) if len(known) else 0


def verify(pack: Pack, reader: Reader, names: Sequence[str]) -> tuple[np.ndarray, dict[str, tuple[str, str]]]:
    """Tell which of N files are new, changed or damaged in a pack, bool (names found,), and which are missing.

    Raises:
        PathError: a path may not be followed.
    """
    index = pack.index
    at = np.fromiter((index.position.get(name, -1) for name in names), np.int64, len(names))
    paths = [index.moved.get(name) or reader.likely_path(name) for name in names]
    if reader.limited:
        _check_allowed([path for path, entry in zip(paths, at.tolist()) if entry >= 0])
    stamps = np.array([_stamp(path) for path in paths], dtype=np.int64).reshape(-1, 3)
    fresh = (at < 0) | (stamps != index.stamps[at]).any(axis=1)
    rows = index.rows[at]
    held = np.flatnonzero(~fresh & (rows >= 0))
    fresh[held] = (fingerprints(pack.matrix) != index.prints)[rows[held]]
    gone = {}
    for i in np.flatnonzero(fresh).tolist():
        if stamps[i, 0] < 0 and reader.find(names[i]) is None:
            gone[names[i]] = "missing", missing(names[i])
    return (fresh[[name not in gone for name in names]] if gone else fresh), gone


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


def _build(order: _Order, writer_of: Callable[[], PackWriter | MemoryWriter], seconds: dict[str, float]) -> Gathered:
    """Write a pack of the asked files and of what the present one holds beside them."""
    started = time.perf_counter()
    asked = order.asked()
    width = order.base.index.width if order.base is not None else width_of(order.reader, asked)
    while True:
        with writer_of() as writer:
            index, gone = _fill(writer, order, width)
            held = [index.position[name] for name in asked if name in index.position]
            right = _commonest(index.widths[held])
            if right in (0, width):
                pack = writer.commit(index)
                break
        # The first guess was wrong: most of the files are of another width.
        width, order.base, order.fresh = right, None, np.ones(len(asked), dtype=bool)
    seconds["read"] += time.perf_counter() - started
    return Gathered(pack, order.missing | gone, int(order.fresh.sum()) - len(gone), seconds)


def _fill(writer: PackWriter | MemoryWriter, order: _Order, width: int) -> tuple[Index, dict[str, tuple[str, str]]]:
    """Write the rows of all names in their order; return their index, and what could not be opened."""
    names, fresh = _all_names(order)
    parts: list[Part] = []
    starts = range(0, len(names), _BATCH)
    threads = reader_threads(order.workers)
    with Couriers(int(fresh.sum())) as couriers, ThreadPoolExecutor(threads) as pool:
        order.reader.collect = couriers.collect

        def take(start: int) -> Part:
            stop = start + _BATCH
            return take_part(order.reader, order.base, names[start:stop], fresh[start:stop], width)

        for part in _in_order(pool, take, starts, 4 * threads):
            writer.write(part.vectors)
            part.vectors = _NO_VECTORS  # a slice would keep them all in memory
            parts.append(part)
            if order.progress is not None and (len(parts) % 4 == 0 or len(parts) == len(starts)):
                order.progress(min(len(parts) * _BATCH, len(names)), len(names))
    return join_parts(parts, width)


def _all_names(order: _Order) -> tuple[list[str], np.ndarray]:
    """Return all names of the new pack, old ones first so that rows keep their places, and which must be read."""
    asked = order.asked()
    if order.base is None:
        return asked, order.fresh
    wanted = dict(zip(asked, order.fresh.tolist()))
    old = [name for name in order.base.index.names if name not in order.missing]
    if all(name in wanted for name in old):
        return asked, order.fresh
    names = old + [name for name in asked if name not in order.base.index.position]
    return names, np.array([wanted.get(name, False) for name in names], dtype=bool)


def _in_order(
    pool: ThreadPoolExecutor, function: Callable[[Item], Result], items: Iterable[Item], ahead: int
) -> Iterator[Result]:
    """Yield the results in order, with no more than ``ahead`` of them waiting in memory."""
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
