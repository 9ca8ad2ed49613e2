"""Crash-safe writes: a reader sees the old file or the new one, never half of one.

Each file is written under a temporary name in the same folder, flushed to the disk, and renamed over its target. A
killed process may leave its temporary file, whose unique name never blocks a writer. The name says which process of
which host writes it, so that what is left over differs from what is being written: `remove_leftovers`, and the first
write of a process to a folder, remove it. Files and folders are moved by renaming alone, never copied: a copy that
fails half way would leave two halves.
"""

from __future__ import annotations

import contextlib
import functools
import json
import math
import os
import secrets
import shutil
import socket
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, Any

from ctbench_core.errors import HeldError, RunError, StorageError

# Windows refuses to replace, move or remove a file that another program has open: a reader for milliseconds, a virus
# scanner or a synchronised folder for seconds. A move waits less, since a person waits for it.
HELD_S, MOVE_S = 30.0, 5.0
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.01, 1.0
_ABANDONED_S = 86_400.0  # of a temporary file of another host, whose processes cannot be asked
_START_TOLERANCE_S = 2.0  # between the clocks of files and of processes
_MOST_SWEPT = 4096
_swept: set[Path] = set()  # folders whose leftovers this process has removed


@contextlib.contextmanager
def atomic_file(path: Path, mode: str = "wb", held_s: float = HELD_S, *, parents: bool = True) -> Iterator[IO[Any]]:
    """Yield a file that becomes ``path`` when the block ends without an error.

    Args:
        held_s: how many seconds to wait while another program holds ``path`` open.
        parents: make the folders above that of ``path`` too; its own folder is always made.

    Raises:
        HeldError: another program held it for longer.
        FileNotFoundError: a folder above is missing.
        StorageError: the system refuses it, for instance because the disk is full.
    """
    path = Path(path)
    temporary = temporary_path(path)
    text = {} if "b" in mode else {"encoding": "utf-8", "newline": ""}
    try:
        with _explained(path):
            path.parent.mkdir(parents=parents, exist_ok=True)
            if path.parent not in _swept:
                if len(_swept) >= _MOST_SWEPT:  # a server makes folders for weeks
                    _swept.clear()
                _swept.add(path.parent)
                _remove(path.parent.glob(_LEFTOVER))
            with temporary.open(mode, **text) as file:  # type: ignore[call-overload]
                yield file
                file.flush()
                os.fsync(file.fileno())
            _retry(lambda: os.replace(temporary, path), path, held_s)
    finally:
        with contextlib.suppress(OSError):  # a scanner may hold it; a later process removes it
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if not StorageError.knows(error):
            raise
        raise StorageError.of(error, path) from error


_LEFTOVER = ".*.tmp"


def temporary_path(path: Path) -> Path:
    """Return a new hidden name beside a path, which says which process of which host uses it."""
    return path.with_name(f".{path.name}.{_host()}-{os.getpid():x}-{secrets.token_hex(3)}.tmp")


@functools.lru_cache(maxsize=1)
def _host() -> str:
    return f"{zlib.crc32(socket.gethostname().encode()) & 0xFFFFFF:06x}"


def leftovers(folder: Path) -> list[Path]:
    """Return the temporary files and folders below a folder whose processes are gone."""
    return [path for path in folder.rglob(_LEFTOVER) if _is_left(path)]


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files and folders of processes that are gone; what cannot be removed stays."""
    _remove(folder.rglob(_LEFTOVER))


def _remove(temporaries: Iterable[Path]) -> None:
    for path in filter(_is_left, list(temporaries)):
        with contextlib.suppress(OSError):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _is_left(temporary: Path) -> bool:
    """Whether no process can be writing a temporary file; where that is unknown, whether it is a day old."""
    import psutil

    try:
        written = temporary.stat().st_mtime
    except OSError:
        return False  # its writer has just renamed it
    host, _, process = temporary.name.split(".")[-2].rpartition("-")[0].partition("-")
    if host != _host():
        return time.time() - written > _ABANDONED_S
    try:
        # The system reuses process numbers: one that began after the last write is another.
        return psutil.Process(int(process, 16)).create_time() > written + _START_TOLERANCE_S
    except psutil.NoSuchProcess:
        return True
    except (psutil.AccessDenied, ValueError, OverflowError):
        return False


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
    """Append one line in a single write, after ending a line that an earlier crash cut short; all of it or nothing.

    Where several processes append, hold a lock around it: Windows seeks to the end and writes in two steps.
    """
    with _explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b", buffering=0) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - 1, 0))
            cut_short = size > 0 and file.read(1) != b"\n"
            rest = ("\n" * cut_short + line + "\n").encode("utf-8")
            try:
                while rest:  # a disk that becomes full takes a part
                    rest = rest[file.write(rest) :]
            except OSError:
                file.truncate(size)
                raise


def flush_to_disk(path: Path) -> None:
    """Flush appended lines to the disk, so that they survive a loss of power."""
    with _explained(path), path.open("ab") as file:
        os.fsync(file.fileno())
