"""Crash-safe writes: a reader sees the old file or the new one, never half of one.

Each file is written under a temporary name in the same folder, flushed to the disk, and renamed over its target. A
killed process may leave its temporary file, whose unique name never blocks a writer. Files and folders are moved by
renaming alone, never copied: a copy that fails half way would leave two halves.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, Any

from ctbench_core.errors import HeldError, RunError

# Windows refuses to replace, move or remove a file that another program has open: a reader for milliseconds, a virus
# scanner or a synchronised folder for seconds. A move waits less, since a person waits for it.
HELD_S, MOVE_S = 30.0, 5.0
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.01, 1.0


@contextlib.contextmanager
def atomic_file(path: Path, mode: str = "wb", held_s: float = HELD_S) -> Iterator[IO[Any]]:
    """Yield a file that becomes ``path`` when the block ends without an error.

    Args:
        held_s: how many seconds to wait while another program holds ``path`` open.

    Raises:
        HeldError: another program held it for longer.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    text = {} if "b" in mode else {"encoding": "utf-8", "newline": ""}
    try:
        with temporary.open(mode, **text) as file:  # type: ignore[call-overload]
            yield file
            file.flush()
            os.fsync(file.fileno())
        _retry(lambda: os.replace(temporary, path), path, held_s)
    finally:
        with contextlib.suppress(OSError):  # a scanner may hold it; leftovers are harmless
            temporary.unlink(missing_ok=True)


def _retry(action: Callable[[], object], path: Path, held_s: float) -> None:
    """Do an action that a program with the file open may refuse, again and again with growing pauses."""
    waited, wait_s = 0.0, _FIRST_WAIT_S
    while True:
        try:
            action()
            return
        except PermissionError as error:
            if waited >= held_s:
                raise HeldError(
                    f"{path} is open in another program, or protected. Close it there (in Excel, a viewer, or a shell in "
                    "its folder) and run again."
                ) from error
        time.sleep(wait_s)
        waited, wait_s = waited + wait_s, min(2 * wait_s, _LONGEST_WAIT_S)


def move(source: Path, target: Path) -> None:
    """Move a file or folder to a free place on the same disk in one step.

    Raises:
        HeldError: another program has a file in it open; nothing was moved.
        RunError: the target exists or is on another disk; nothing was moved.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if os.path.lexists(target):
        raise RunError(f"{source} cannot be moved to {target}, which exists. Move that one away first.")
    try:
        _retry(lambda: source.rename(target), source, MOVE_S)
    except HeldError:
        raise
    except OSError as error:
        raise RunError(f"{source} cannot be moved to {target}: {error.strerror}. Move it yourself.") from error


def remove(path: Path) -> None:
    """Remove a file, if it is there.

    Raises:
        HeldError: another program has it open.
    """
    _retry(lambda: path.unlink(missing_ok=True), path, MOVE_S)


def require_free(paths: Iterable[Path]) -> None:
    """Refuse to begin work whose files another program holds open, before the work counts.

    Raises:
        HeldError: one of the existing files cannot be replaced.
    """
    for path in paths:
        if path.is_file():
            _retry(partial(os.rename, path, path), path, MOVE_S)


def write_all(writes: Iterable[Callable[[], object]]) -> None:
    """Do every write, also those after one that is refused, so that a table open elsewhere keeps no other file old.

    Raises:
        HeldError: another program held a file; the first one is named.
    """
    held: list[HeldError] = []
    for write in writes:
        try:
            write()
        except HeldError as error:
            held.append(error)
    if held:
        raise held[0]


def write_bytes(path: Path, content: bytes, held_s: float = HELD_S) -> None:
    """Write bytes atomically."""
    with atomic_file(path, held_s=held_s) as file:
        file.write(content)


def write_text(path: Path, content: str, held_s: float = HELD_S) -> None:
    """Write UTF-8 text atomically."""
    write_bytes(path, content.encode("utf-8"), held_s)


def csv_bytes(frame: Any, decimals: int | None = None) -> bytes:
    """Return a data frame, without its index, as UTF-8 CSV with the same line ends on every system.

    Files for people are `tables.sheet_bytes`: here a text may be a formula to a spreadsheet.
    """
    number = None if decimals is None else f"%.{decimals}f"
    return frame.to_csv(index=False, lineterminator="\n", float_format=number).encode("utf-8")


def write_csv(path: Path, frame: Any) -> None:
    """Write a data frame as `csv_bytes` atomically."""
    write_bytes(path, csv_bytes(frame))


def write_json(path: Path, content: Any, held_s: float = HELD_S) -> None:
    """Write JSON atomically; NaN and infinities become null."""
    write_text(path, dump_json(content, indent=1) + "\n", held_s)


def write_with(path: Path, writer: Callable[[IO[bytes]], object]) -> None:
    """Write atomically with a library's own writer, as in ``write_with(path, frame.to_parquet)``."""
    with atomic_file(path) as file:
        writer(file)


def dump_json(content: Any, indent: int | None = None, *, ascii_only: bool = False) -> str:
    """Return strict JSON: NaN and infinities as null, NumPy scalars as plain numbers, relative paths with slashes."""
    return json.dumps(_plain(content), indent=indent, ensure_ascii=ascii_only, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, Path):
        return str(value) if value.is_absolute() else value.as_posix()
    if hasattr(value, "tolist"):  # NumPy scalars and arrays
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def append_line(path: Path, line: str) -> None:
    """Append one line in a single write, after ending a line that an earlier crash cut short.

    Where several processes append, hold a lock around it: Windows seeks to the end and writes in two steps.
    """
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
