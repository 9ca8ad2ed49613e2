"""Small files parsed once: a file is read again only when its size or time of change differs.

A page that lists 500 runs would otherwise parse 500 YAML files at each click.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
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
