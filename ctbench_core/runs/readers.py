"""Read the small files of a run: JSON, JSON lines and its history, each parsed again only when it has changed.

Pages ask often. A list of 500 runs would parse 500 YAML files at each click, and a live view a history of 5,000 epochs
each second.
"""

from __future__ import annotations

import json
import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from ctbench_core.atomic import dump_json, write_text

T = TypeVar("T")
Fingerprint = tuple[int, int, int]

_MAX_VALUES = 40_000  # config, best epoch, notes and inputs of 5,000 runs, twice
_values: dict[tuple[Path, Callable[[str], Any]], tuple[Fingerprint, Any]] = {}
_values_lock = threading.Lock()

_MAX_FOLLOWED = 8  # 5,000 epochs of 18 findings take some 30 MB
_followed: OrderedDict[tuple[Path, Callable[..., Any]], _Followed] = OrderedDict()
_followed_lock = threading.Lock()


def fingerprint(facts: os.stat_result) -> Fingerprint:
    """Return what changes whenever a file is replaced: time, size and inode.

    A file replaced twice within a tick of the clock may keep time and size, but not its inode.
    """
    return facts.st_mtime_ns, facts.st_size, facts.st_ino


def read_cached(path: Path, parse: Callable[[str], T]) -> T:
    """Return ``parse(text of path)``, cached until the file changes. Treat the result as read-only.

    Raises:
        OSError: the file cannot be read. Errors of ``parse`` are passed on.
    """
    current = fingerprint(path.stat())
    key = (path, parse)
    known = _values.get(key)
    if known is not None and known[0] == current:
        return known[1]
    value = parse(path.read_text(encoding="utf-8"))
    with _values_lock:
        if len(_values) >= _MAX_VALUES:
            _values.clear()
        _values[key] = (current, value)
    return value


def read_json(path: Path) -> Any:
    """Read a JSON file; return None for a missing or incomplete one."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read JSON lines; an incomplete last line is ignored."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return _parse_lines(text.split("\n"))  # not splitlines(): a finding's name may hold another kind of line end


def read_history(path: Path) -> list[dict[str, Any]]:
    """Read a ``metrics.jsonl``, one entry an epoch."""
    return list(filter(_epoch_entry, read_lines(path)))


def truncate_history(path: Path, epoch: int) -> None:
    """Drop the lines after ``epoch``, and an incomplete last line, before a resumed run appends to it."""
    entries = [entry for entry in read_history(path) if entry["epoch"] <= epoch]
    write_text(path, "".join(dump_json(entry) + "\n" for entry in entries))


@dataclass
class _Followed:
    inode: int
    size: int = 0  # bytes read so far
    entries: list[Any] = field(default_factory=list)


def follow_lines(path: Path, parse: Callable[[dict[str, Any]], T | None]) -> list[T]:
    """Return ``parse`` of each JSON line of a file, without None, parsing only the lines added since the last call.

    The entries are shared, so do not change them. A file that was replaced or cut is read from its beginning; an
    incomplete last line is left for the next call.
    """
    with _followed_lock:
        try:
            facts = path.stat()
        except OSError:
            return []
        key = (path, parse)
        followed = _followed.get(key)
        if followed is None or followed.inode != facts.st_ino or facts.st_size < followed.size:
            followed = _followed[key] = _Followed(facts.st_ino)
        if facts.st_size > followed.size:
            with path.open("rb") as file:
                file.seek(followed.size)
                complete, end, _ = file.read().rpartition(b"\n")
            parsed = map(parse, _parse_lines(complete.split(b"\n")))
            followed.entries += [entry for entry in parsed if entry is not None]
            followed.size += len(complete) + len(end)
        _followed.move_to_end(key)
        while len(_followed) > _MAX_FOLLOWED:
            _followed.popitem(last=False)
        return list(followed.entries)


def follow_history(path: Path) -> list[dict[str, Any]]:
    """Return the epochs of a ``metrics.jsonl`` as `read_history` does, and fast where lines were only added."""
    return follow_lines(path, _epoch_entry)


def _epoch_entry(entry: dict[str, Any]) -> dict[str, Any] | None:
    return entry if "epoch" in entry else None


def _parse_lines(lines: list[Any]) -> list[dict[str, Any]]:
    entries = []
    for line in lines:
        try:
            entries.append(json.loads(line))
        except ValueError:
            continue
    return [entry for entry in entries if isinstance(entry, dict)]
