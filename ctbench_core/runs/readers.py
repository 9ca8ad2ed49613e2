"""Read the small files of a run: JSON, JSON lines and its history, each parsed again only when it has changed.

Pages ask often. A list of 500 runs would parse 500 YAML files at each click, and a live view a history of 5,000 epochs
each second.
"""

from __future__ import annotations

import contextlib
import functools
import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Required, TypedDict, TypeVar, cast

from ctbench_core.atomic import write_bytes
from ctbench_core.stored import Count, Number, parse_json, read_bytes, read_file, reading

T = TypeVar("T")
D = TypeVar("D")
C = TypeVar("C")
Fingerprint = tuple[int, int, int]

_FEW = 256

_MAX_FOLLOWED = 16  # the curves of twelve runs are drawn in one picture
_PIECE = 2**23  # bytes
_followed: OrderedDict[tuple[Path, Callable[..., Any], Callable[..., Any]], _Followed] = OrderedDict()
_followed_lock = threading.Lock()


def fingerprint(facts: os.stat_result) -> Fingerprint:
    """Return what changes whenever a file is replaced: time, size and inode.

    A file replaced twice within a tick of the clock may keep time and size, but not its inode.
    """
    return facts.st_mtime_ns, facts.st_size, facts.st_ino


class _Values(dict[tuple[Path, Callable[[str], Any]], tuple[Fingerprint, Any]]):
    """What was read of files; whenever there are twice as many as files had, those of files that are gone are dropped.

    A server deletes runs for weeks.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lock, self._sweep_at = threading.Lock(), _FEW

    def keep(self, key: tuple[Path, Callable[[str], Any]], value: tuple[Fingerprint, Any]) -> None:
        """Keep a value."""
        with self._lock:
            self[key] = value
            if len(self) < self._sweep_at:
                return
            for gone in [known for known in self if not os.path.lexists(known[0])]:
                del self[gone]
            self._sweep_at = max(_FEW, 2 * len(self))


_values = _Values()


def read_cached(path: Path, parse: Callable[[str], T]) -> T:
    """Return ``parse(text of path)``, cached until the file changes. Treat the result as read-only.

    Raises:
        FileNotFoundError: there is no such file.
        DamagedFile: its content has another form, or it cannot be read.
    """
    with reading(path):
        current = fingerprint(path.stat())
        key = (path, parse)
        known = _values.get(key)
        if known is not None and known[0] == current:
            return known[1]
        value = parse(read_bytes(path).decode("utf-8"))
    _values.keep(key, (current, value))
    return value


def read_if_there(path: Path, parse: Callable[[str], T], absent: D) -> T | D:
    """Return what `read_cached` returns, or ``absent`` for a missing file.

    Raises:
        DamagedFile: its content has another form, or it cannot be read.
    """
    try:
        return read_cached(path, parse)
    except FileNotFoundError:
        return absent


def read_json(path: Path, kind: Any = dict[str, Any]) -> Any:
    """Read a JSON file whose fields have the types of ``kind``; return None for a missing one.

    Raises:
        DamagedFile: its content has another form, or it cannot be read.
    """
    try:
        return read_file(path, lambda text: parse_json(text, kind))
    except FileNotFoundError:
        return None


def read_history(path: Path) -> list[dict[str, Any]]:
    """Read a ``metrics.jsonl``, one entry an epoch; an incomplete last line is ignored, a missing file has none.

    Raises:
        DamagedFile: a line is no epoch, or the file cannot be read.
    """
    try:
        with reading(path):
            # Not splitlines(): a finding's name may hold another kind of line end.
            *lines, last = read_bytes(path).split(b"\n")
            entries = [parse_epoch(line, number) for number, line in enumerate(lines, start=1) if line.strip()]
            with contextlib.suppress(ValueError):
                entries += [parse_epoch(last)] if last else []
            return entries
    except FileNotFoundError:
        return []


def truncate_history(path: Path, epoch: int) -> None:
    """Drop the lines after ``epoch``, and an incomplete last line, before a resumed run appends to it."""
    try:
        with reading(path):
            *lines, _ = read_bytes(path).split(b"\n")
            numbered = [
                (line, parse_epoch(line, number)["epoch"]) for number, line in enumerate(lines, 1) if line.strip()
            ]
    except FileNotFoundError:
        numbered = []
    write_bytes(path, b"".join(line + b"\n" for line, of in numbered if of <= epoch))


@dataclass
class _Followed:
    lock: threading.Lock = field(default_factory=threading.Lock)
    content: Any = None
    inode: int = 0
    size: int = 0  # bytes read so far
    lines: int = 0


def follow(path: Path, begin: Callable[[], C], add: Callable[[C, bytes, int], object], snapshot: Callable[[C], T]) -> T:
    """Return the snapshot of what ``add(content, line, its number)`` has collected of a file's lines.

    Only lines added since the last call are read. A file that was replaced or cut is read from its beginning; an
    incomplete last line is left for the next call; a missing file has none.

    Raises:
        DamagedFile: ``add`` or ``snapshot`` failed, or the file cannot be read.
    """
    with _followed_lock:
        followed = _followed.setdefault((path, begin, add), _Followed())
        _followed.move_to_end((path, begin, add))
        while len(_followed) > _MAX_FOLLOWED:
            _followed.popitem(last=False)
    with followed.lock, reading(path):
        try:
            facts = path.stat()
        except FileNotFoundError:
            return snapshot(begin())
        content, followed.content = followed.content, None  # after an error, the next call begins again
        if content is None or followed.inode != facts.st_ino or facts.st_size < followed.size:
            content, followed.inode, followed.size, followed.lines = begin(), facts.st_ino, 0, 0
        _read_on(path, followed, lambda line, number: add(content, line, number), facts.st_size)
        result = snapshot(content)
        followed.content = content
        return result


def _read_on(path: Path, followed: _Followed, add: Callable[[bytes, int], object], end: int) -> None:
    """Add the lines up to an end of the file, in pieces: a long history is not held in memory as a whole."""
    most = _PIECE
    while followed.size < end:
        piece = read_bytes(path, followed.size, most)
        complete, line_end, rest = piece.rpartition(b"\n")
        if not line_end and len(piece) < most:
            return
        if not line_end:
            most *= 2  # a line longer than a piece
            continue
        lines = complete.split(b"\n")
        for number, line in enumerate(lines, start=followed.lines + 1):
            if line.strip():
                add(line, number)
        followed.size += len(piece) - len(rest)
        followed.lines += len(lines)


def follow_lines(path: Path, parse: Callable[[bytes, int], T]) -> list[T]:
    """Return ``parse(line, its number)`` of each line of a file, as `follow` reads it; do not change the entries."""
    return follow(path, list, _adder(parse), list)


@functools.cache
def _adder(parse: Callable[[bytes, int], Any]) -> Callable[[list[Any], bytes, int], None]:
    return lambda entries, line, number: entries.append(parse(line, number))


class _Convergence(TypedDict, total=False):
    value: Number | None
    optimum: Number | None
    c: float | None
    findings: Count | None
    falling: bool | None
    reason: str | None


class _Epoch(TypedDict, total=False):
    """The fields of a line of ``metrics.jsonl``, and of ``best_metrics.json``, that readers use."""

    epoch: Required[Count | None]
    train_loss: float | None
    val_loss: float | None
    val_metrics: dict[str, Number | dict[str, dict[str, Number | None]] | None]
    convergence: _Convergence | None
    best_epoch: Count | None
    segment: Count
    changes: dict[str, list[Any]]


def parse_epoch(line: bytes | str, number: int = 0) -> dict[str, Any]:
    """Return the metrics of one epoch.

    Args:
        number: of the line, for the message; 0 for a file of one epoch.

    Raises:
        ValueError: it is not one.
    """
    try:
        epoch = cast("dict[str, Any]", parse_json(line, _Epoch))
        for name, value in epoch.items():
            if name.startswith("best_val_") and not isinstance(value, (int, float, type(None))):
                raise ValueError(f"{name} is {value!r}, expected a number")
    except ValueError as error:
        raise ValueError(f"line {number}: {error}" if number else str(error)) from error
    return epoch
