"""Crash-safe writes: a reader sees the old file or the new one, never half of one.

Each file is written under a temporary name in the same folder, flushed to the disk, and renamed over its target. A
killed process may leave its temporary file, whose unique name never blocks a writer.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

# Windows cannot replace a file while another process reads it; reads take milliseconds, so a few retries suffice.
_REPLACE_TRIES = 20
_REPLACE_WAIT_S = 0.05


@contextlib.contextmanager
def atomic_file(path: Path, mode: str = "wb") -> Iterator[IO[Any]]:
    """Yield a file that becomes ``path`` when the block ends without an error."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    text = {} if "b" in mode else {"encoding": "utf-8", "newline": ""}
    try:
        with temporary.open(mode, **text) as file:  # type: ignore[call-overload]
            yield file
            file.flush()
            os.fsync(file.fileno())
        _replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _replace(source: Path, target: Path) -> None:
    for attempt in range(_REPLACE_TRIES):
        try:
            os.replace(source, target)
            return
        except PermissionError:
            if attempt == _REPLACE_TRIES - 1:
                raise
            time.sleep(_REPLACE_WAIT_S)


def write_bytes(path: Path, content: bytes) -> None:
    """Write bytes atomically."""
    with atomic_file(path) as file:
        file.write(content)


def write_text(path: Path, content: str) -> None:
    """Write UTF-8 text atomically."""
    write_bytes(path, content.encode("utf-8"))


def csv_bytes(frame: Any) -> bytes:
    """Return a data frame, without its index, as UTF-8 CSV with the same line ends on every system."""
    return frame.to_csv(index=False, lineterminator="\n").encode("utf-8")


def write_csv(path: Path, frame: Any) -> None:
    """Write a data frame as `csv_bytes` atomically."""
    write_bytes(path, csv_bytes(frame))


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically; NaN and infinities become null."""
    write_text(path, dump_json(content, indent=1) + "\n")


def write_with(path: Path, writer: Callable[[IO[bytes]], object]) -> None:
    """Write atomically with a library's own writer, as in ``write_with(path, frame.to_parquet)``."""
    with atomic_file(path) as file:
        writer(file)


def dump_json(content: Any, indent: int | None = None) -> str:
    """Return strict JSON: NaN and infinities as null, NumPy scalars as plain numbers."""
    return json.dumps(_plain(content), indent=indent, ensure_ascii=False, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):  # NumPy scalars and arrays
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def append_line(path: Path, line: str) -> None:
    """Append one line in a single write, after ending a line that an earlier crash cut short."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - 1, 0))
        cut_short = size > 0 and file.read(1) != b"\n"
        file.write(("\n" * cut_short + line + "\n").encode("utf-8"))


def flush_to_disk(path: Path) -> None:
    """Flush appended lines to the disk, so that they survive a loss of power."""
    with path.open("ab") as file:
        os.fsync(file.fileno())
