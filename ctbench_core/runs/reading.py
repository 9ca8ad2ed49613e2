"""The epochs of a run, read on from where the last look ended.

A live view looks once a second: parsing a file of 5,000 epochs each time would take longer than that.

MERGED: Small files parsed once: a file is read again only when its size or time of change differs.

A page that lists 500 runs would otherwise parse 500 YAML files at each click.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

_LIMIT = 20_000
_seen: dict[tuple[Path, Callable[[str], Any]], tuple[tuple[int, int, int], Any]] = {}
_lock = threading.Lock()


def parsed(path: Path, parse: Callable[[str], T]) -> T:
    """Return ``parse(text of path)``, remembered until the file changes. Treat the result as read-only.

    Raises:
        OSError: the file cannot be read. What ``parse`` raises goes through.
    """
    facts = path.stat()
    # A file replaced twice within a tick of the clock may keep time and size, but not its inode.
    mark = (facts.st_mtime_ns, facts.st_size, facts.st_ino)
    key = (path, parse)
    known = _seen.get(key)
    if known is not None and known[0] == mark:
        return known[1]
    value = parse(path.read_text(encoding="utf-8"))
    with _lock:
        if len(_seen) >= _LIMIT:
            _seen.clear()
        _seen[key] = (mark, value)
    return value


_KEPT = 8  # files; 5,000 epochs of 18 findings take some 30 MB
_known: OrderedDict[Path, _Followed] = OrderedDict()
_reading_lock = threading.Lock()


@dataclass
class _Followed:
    inode: int
    read: int = 0
    entries: list[dict[str, Any]] = field(default_factory=list)


def follow_history(path: Path) -> list[dict[str, Any]]:
    """Return the epochs of a ``metrics.jsonl``, as `read_history` does; entries are shared, so do not change them.

    A file that was replaced or cut is read from its beginning; a torn last line is left for the next look.
    """
    with _reading_lock:
        try:
            facts = path.stat()
        except OSError:
            return []
        known = _known.get(path)
        if known is None or known.inode != facts.st_ino or facts.st_size < known.read:
            known = _known[path] = _Followed(facts.st_ino)
        if facts.st_size > known.read:
            _read_on(path, known)
        _known.move_to_end(path)
        while len(_known) > _KEPT:
            _known.popitem(last=False)
        return list(known.entries)


def _read_on(path: Path, known: _Followed) -> None:
    with path.open("rb") as file:
        file.seek(known.read)
        whole, end, _ = file.read().rpartition(b"\n")
    for line in whole.split(b"\n"):
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and "epoch" in entry:
            known.entries.append(entry)
    known.read += len(whole) + len(end)
