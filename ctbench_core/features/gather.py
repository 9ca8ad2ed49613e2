"""Gather the vectors of many files and rows of tables: unchanged ones from the pack, the others by reading them.

Shape suffixes: N names.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ctbench_core.features.index import Index, Pack, count_files, fingerprints, join_indexes, split_row_name
from ctbench_core.features.pack import MemoryWriter, PackWriter, open_pack, writer_lock
from ctbench_core.features.reader import FileReader, common_width, missing_message
from ctbench_core.features.shards import BATCH, SHARD_ROWS, RunShards, Shard

FileProgress = Callable[[int, int], None]  # (files done, files in all); what it raises stops the work
Failure = tuple[str, str]  # kind and message

# Reading a few small files again is faster than keeping a store: 2,000 of them take 15 ms.
SMALL_FILES, SMALL_BYTES = 2_000, 2**26

# One thread reads files of a warm disk cache (7 us each): two block each other in the interpreter and take half
# as long again. Several read files that are slow to arrive, from a network or a cold disk.
_SLOW_FILE_S, _THREADS = 1e-4, 8


@dataclass
class GatherResult:
    """A pack of all usable files, the failures of files that could not be opened, and the effort."""

    pack: Pack
    missing: dict[str, Failure]
    files_read: int = 0
    seconds: dict[str, float] = field(default_factory=dict)

    def failures(self, names: Sequence[str]) -> dict[str, Failure]:
        """Return kind and message of each unusable file among ``names``, in their order."""
        index = self.pack.index
        unusable = {index.names[i] for i in np.flatnonzero(index.rows < 0).tolist()}
        failures = {}
        for name in names if unusable or self.missing else ():
            if name in self.missing:
                failures[name] = self.missing[name]
            elif name in unusable:
                path, row = split_row_name(name)
                width = index.widths[index.position[name]]
                wrong = f"{f'{path}: the vector of {row}' if row else path} has {width} dimensions, the other files {index.width}. Re-export it, or use another root."
                failures[name] = index.failures.get(name) or ("wrong_dim", wrong)
        return failures


@dataclass
class _Request:
    """The files to gather, how to read them, and the time spent so far."""

    reader: FileReader
    names: list[str]
    workers: int
    progress: FileProgress | None
    run_shards: RunShards | None = None
    seconds: dict[str, float] = field(default_factory=lambda: {"read": 0.0})

    def report(self, done: int) -> None:
        """Report the progress; what the callback raises stops the work."""
        if self.progress is not None:
            self.progress(done, len(self.names))


@dataclass
class _Plan:
    """What to do about a request: the pack to keep rows of, if any, the files to read, and the missing ones."""

    base: Pack | None
    to_read: list[str]
    missing: dict[str, Failure] = field(default_factory=dict)

    def result(self, request: _Request) -> GatherResult | None:
        """Return the present pack if it already has every file."""
        if self.base is None or self.to_read:
            return None
        request.report(len(request.names))
        return GatherResult(self.base, self.missing, 0, request.seconds)


def gather(
    reader: FileReader,
    names: list[str],
    folder: Path | None,
    mode: str,
    workers: int,
    progress: FileProgress | None,
    run_shards: RunShards | None = None,
) -> GatherResult:
    """Gather N distinct files or rows of tables from the pack in ``folder``, and read those that it lacks or that have changed.

    Args:
        mode: auto (write a pack when it saves time), always (and measure how long a later use takes), or read (write
            nothing).
        workers: threads that read; 0 chooses by how long the first files take.
        progress: what it raises stops the work and leaves nothing behind.
        run_shards: reads many files in other processes, which write them into the pack.

    Raises:
        RunError: the pack cannot be written.
    """
    request = _Request(reader, names, workers, progress, run_shards)
    plan = _Plan(None, names) if folder is None else _make_plan(request, folder)
    if (result := plan.result(request)) is not None:
        return result
    if folder is None or mode == "read" or (mode == "auto" and plan.base is None and _is_small(reader, names)):
        return _build(request, plan, lambda: MemoryWriter(reader.dtype))
    with writer_lock(folder, lambda: request.report(0)):
        if _generation(open_pack(folder)) != _generation(plan.base):
            plan = _make_plan(request, folder)  # another process has written the pack
            if (result := plan.result(request)) is not None:
                return result
        result = _build(request, plan, lambda: PackWriter(folder, reader.dtype))
    if mode == "always":
        _make_plan(request, folder)  # measures what every later use takes
    return result


def _generation(pack: Pack | None) -> Path | None:
    return pack.path if pack is not None else None


def _is_small(reader: FileReader, names: list[str]) -> bool:
    files = count_files(names)
    if files >= SMALL_FILES:
        return False
    sizes = reader.read(names[:: max(1, len(names) // 8)], 0).index.stamps[:, 0]
    return float(sizes.mean()) * files < SMALL_BYTES


def _make_plan(request: _Request, folder: Path) -> _Plan:
    """Open the pack and list the files to read."""
    started = time.perf_counter()
    base = open_pack(folder)
    opened = time.perf_counter()
    plan = _Plan(None, request.names)
    if base is not None:
        stale, missing = find_changes(base, request.reader, request.names)
        present = [name for name in request.names if name not in missing] if missing else request.names
        if _usual_width(base.index, present) in (0, base.index.width):  # otherwise the pack is of other files
            plan = _Plan(base, [present[i] for i in np.flatnonzero(stale).tolist()], missing)
    request.seconds |= {"open": opened - started, "verify": time.perf_counter() - opened}
    return plan


def _usual_width(index: Index, names: Sequence[str]) -> int:
    """Return the most frequent known width of some files; 0 when none is known."""
    at = index.find(names)
    widths = index.widths[at[at >= 0]]
    known = widths[widths > 0]
    return int(np.bincount(known).argmax()) if len(known) else 0


def find_changes(pack: Pack, reader: FileReader, names: Sequence[str]) -> tuple[np.ndarray, dict[str, Failure]]:
    """Find which of N files are new, changed or damaged in a pack, bool (files present,), and which are missing."""
    index = pack.index
    at = index.find(names)
    stamps = reader.stamps(index, names)
    stale = (at < 0) | (stamps != index.stamps[at]).any(axis=1)
    rows = index.rows[at]
    unchanged = np.flatnonzero(~stale & (rows >= 0))
    if len(unchanged):
        stale[unchanged] = _damaged_rows(pack)[rows[unchanged]]
    missing = {}
    for i in np.flatnonzero(stale).tolist():
        if stamps[i, 0] < 0 and reader.find(split_row_name(names[i])[0]) is None:
            missing[names[i]] = "missing", missing_message(split_row_name(names[i])[0])
    return (stale[[name not in missing for name in names]] if missing else stale), missing


_DAMAGED: dict[tuple[Path, int, int], np.ndarray] = {}  # of the last store that this process verified


def _damaged_rows(pack: Pack) -> np.ndarray:
    """Compare the rows of a pack with their fingerprints, once while its file stays the same, bool (M,)."""
    if pack.path is None:
        return fingerprints(pack.matrix) != pack.index.prints
    status = pack.path.stat()
    key = pack.path, status.st_mtime_ns, status.st_size
    damaged = _DAMAGED.get(key)
    if damaged is None:
        damaged = fingerprints(pack.matrix) != pack.index.prints
        _DAMAGED.clear()
        _DAMAGED[key] = damaged
    return damaged


def _build(request: _Request, plan: _Plan, make_writer: Callable[[], PackWriter | MemoryWriter]) -> GatherResult:
    """Write a pack of the unchanged rows of the present one and of the files to read."""
    started = time.perf_counter()
    width = plan.base.index.width if plan.base else 0
    width = width or common_width(request.reader, plan.to_read)
    while True:
        with make_writer() as writer:
            index, missing = _fill(writer, request, plan, width)
            usual = _usual_width(index, request.names)
            if usual in (0, width):
                pack = writer.commit(index)
                break
        # The first guess was wrong: most of the files are of another width.
        width, plan = usual, _Plan(None, request.names)
    request.seconds["read"] += time.perf_counter() - started
    return GatherResult(pack, plan.missing | missing, count_files(plan.to_read) - count_files(missing), request.seconds)


def _fill(
    writer: PackWriter | MemoryWriter, request: _Request, plan: _Plan, width: int
) -> tuple[Index, dict[str, Failure]]:
    """Write the unchanged rows, then the read ones; return the index of all and the files that could not be opened."""
    parts = [] if plan.base is None else [_copy(writer, plan.base, {*plan.to_read, *plan.missing})]
    if isinstance(writer, PackWriter) and request.run_shards and len(plan.to_read) > SHARD_ROWS:
        parts += _fill_shards(writer, request, plan, width, sum(len(part.prints) for part in parts))
    else:
        done = len(request.names) - len(plan.to_read)
        for batch in _batches(request.reader, plan.to_read, width, request.workers):
            writer.write(batch.matrix)
            parts.append(batch.index)
            done += len(batch.index.names)
            request.report(done)
    index = join_indexes(parts, width)
    # A file without a stamp is left out of the pack, so that every use searches it again.
    opened = index.stamps[:, 0] >= 0
    missing = {index.names[i]: index.failures[index.names[i]] for i in np.flatnonzero(~opened).tolist()}
    return (index.only(np.flatnonzero(opened)) if missing else index), missing


def _fill_shards(writer: PackWriter, request: _Request, plan: _Plan, width: int, before: int) -> list[Index]:
    """Let other processes read the files and write their rows; return the indexes of the rows after the present ones."""
    assert request.run_shards is not None
    reader, names = request.reader, plan.to_read
    first = writer.reserve(before, len(names), width)
    shards = [
        Shard(
            reader.root,
            reader.key,
            reader.pool,
            reader.dtype,
            names[at : at + SHARD_ROWS],
            width,
            writer.matrix,
            first + at,
        )
        for at in range(0, len(names), SHARD_ROWS)
    ]
    done, indexes = len(request.names) - len(names), {}
    for at, index in request.run_shards(shards):
        indexes[at] = index
        done += len(index.names)
        request.report(done)
    gap = Index.of([], width)
    gap.prints = np.zeros(first - before, np.uint64)
    return [gap, *(indexes[at] for at in range(len(shards)))]


def _copy(writer: PackWriter | MemoryWriter, base: Pack, without: set[str]) -> Index:
    positions = [i for i, name in enumerate(base.index.names) if name not in without]
    index, rows = base.index.select(np.array(positions, dtype=np.int64))
    for start in range(0, len(rows), BATCH):
        writer.write(base.matrix[rows[start : start + BATCH]])
    return index


def _batches(reader: FileReader, names: list[str], width: int, workers: int) -> Iterator[Pack]:
    """Read files in batches, in their order."""
    batches = [names[start : start + BATCH] for start in range(0, len(names), BATCH)]
    started = time.perf_counter()
    first = [reader.read(batch, width) for batch in batches[:1]]
    slow = time.perf_counter() - started > _SLOW_FILE_S * BATCH
    yield from first
    threads = workers or (_THREADS if slow else 1)
    if threads == 1:
        yield from (reader.read(batch, width) for batch in batches[1:])
    else:
        yield from _read_ahead(reader, batches[1:], width, threads)


def _read_ahead(reader: FileReader, batches: list[list[str]], width: int, threads: int) -> Iterator[Pack]:
    """Read in several threads, with at most two batches a thread waiting in memory."""
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
