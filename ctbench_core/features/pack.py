"""The packed store: the vectors of many files as one memory-mapped matrix, with an index of what they came from.

A folder holds one pack. Each change writes a new generation, ``<name>.f32`` (the matrix) and ``<name>.npz``
(the index), and then moves the pointer ``current.json`` to it; a reader has the old pack or the new one.
A writer holds the lock. What a killed writer left behind is no generation, and the next writer removes it.

The matrix is not flushed to the disk before the pointer moves: a loss of power may leave zeros in it. Every
use compares its rows with their fingerprints (20 ms for 50,000 x 512) and reads damaged ones anew.

Shape suffixes: B rows, D features.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import re
import secrets
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from ctbench_core.atomic import write_json, write_with
from ctbench_core.errors import RunError
from ctbench_core.features.index import Index, Pack
from ctbench_core.features.one_file import DAMAGE

VERSION = 1
POINTER, LOCK = "current.json", "lock"

# A generation may vanish between reading the pointer and opening it, when a writer has just replaced it.
_OPEN_TRIES = 5
_LOCK_POLL_S = 0.2


def pack_folder(cache: Path, root: Path, name: str, key: str | None, pool: str) -> Path:
    """Return the folder of the pack of one feature root and one way of reading it."""
    identity = json.dumps([VERSION, str(root.resolve()), name, key, pool])
    spoken = re.sub(r"[^\w.-]", "_", root.resolve().name)[:40]
    return cache / f"{spoken}-{name}-{hashlib.sha256(identity.encode()).hexdigest()[:12]}"


@contextlib.contextmanager
def locked(folder: Path, waiting: Callable[[], object]) -> Iterator[None]:
    """Hold the writer's lock of a pack; ``waiting`` is called while another process holds it, and may raise.

    Raises:
        RunError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK)
        while True:
            try:
                lock.acquire(timeout=_LOCK_POLL_S)
                break
            except Timeout:
                waiting()
    except OSError as error:
        raise _cannot_write(folder, error) from error
    try:
        yield
    finally:
        lock.release()


def _cannot_write(folder: Path, error: OSError) -> RunError:
    return RunError(
        f"The packed store {folder} cannot be written: {error.strerror or error}. "
        "Free space or mend the rights there, or set paths.cache_dir to another folder."
    )


def open_pack(folder: Path) -> Pack | None:
    """Open a pack; None when there is none, or it is damaged and must be built anew."""
    for _ in range(_OPEN_TRIES):
        try:
            pointer = (folder / POINTER).read_text(encoding="utf-8")
            generation = str(json.loads(pointer)["generation"])
        except (OSError, ValueError, TypeError, KeyError):
            return None
        try:
            return _open_generation(folder, Path(generation).name)
        except FileNotFoundError:
            continue
        except DAMAGE:
            return None
    return None


def _open_generation(folder: Path, generation: str) -> Pack:
    stored = io.BytesIO((folder / f"{generation}.npz").read_bytes())
    with np.load(stored, allow_pickle=False) as arrays:
        parts = {name: arrays[name] for name in arrays.files}
    facts = json.loads(parts["facts"].tobytes())
    names = parts["names"].tobytes().decode("utf-8", "surrogatepass").split("\0") if len(parts["rows"]) else []
    index = Index(
        int(facts["width"]),
        names,
        parts["rows"],
        parts["widths"],
        parts["stamps"],
        parts["prints"],
        {name: (kind, text) for name, (kind, text) in facts["failures"].items()},
        facts["moved"],
    )
    path, shape = folder / f"{generation}.f32", (len(index.prints), index.width)
    if facts["version"] != VERSION or path.stat().st_size != 4 * shape[0] * shape[1] or len(names) != len(index.rows):
        raise ValueError("index and matrix do not belong together")
    return Pack(index, _mapped(path, shape), path)


def _mapped(path: Path, shape: tuple[int, int]) -> np.ndarray:
    if not shape[0]:
        return np.empty(shape, np.float32)
    # Copy on write: torch wants a writable array, and whatever is written stays in this process.
    return np.memmap(path, "<f4", "c", shape=shape).view(np.ndarray)


class PackWriter:
    """Takes the rows of a new generation in order; `commit` makes it the current one.

    Used inside `locked`. Left without a commit, it leaves nothing behind.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self._committed = folder, False
        self.generation = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"

    def __enter__(self) -> PackWriter:
        try:
            self._file = self._matrix.open("xb", buffering=0)
        except OSError as error:
            raise _cannot_write(self.folder, error) from error
        return self

    @property
    def _matrix(self) -> Path:
        return self.folder / f"{self.generation}.f32"

    def write(self, rows_BD: np.ndarray) -> None:
        """Append rows, float32 (B, D)."""
        rest = np.ascontiguousarray(rows_BD).data.cast("B") if rows_BD.size else memoryview(b"")
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            raise _cannot_write(self.folder, error) from error

    def commit(self, index: Index) -> Pack:
        """Write the index, point to the new generation, remove the old ones, and return the new pack."""
        facts = {"version": VERSION, "width": index.width, "failures": index.failures, "moved": index.moved}
        arrays: dict[str, Any] = {
            "names": np.frombuffer("\0".join(index.names).encode("utf-8", "surrogatepass"), np.uint8),
            "rows": index.rows,
            "widths": index.widths,
            "stamps": index.stamps,
            "prints": index.prints,
            "facts": np.frombuffer(json.dumps(facts).encode(), np.uint8),
        }
        self._file.close()
        try:
            write_with(self.folder / f"{self.generation}.npz", lambda file: np.savez(file, **arrays))
            write_json(self.folder / POINTER, {"generation": self.generation})
        except OSError as error:
            raise _cannot_write(self.folder, error) from error
        self._committed = True
        self._remove_others()
        return Pack(index, _mapped(self._matrix, (len(index.prints), index.width)), self._matrix)

    def _remove_others(self) -> None:
        for path in self.folder.iterdir():
            if path.name not in (POINTER, LOCK) and not path.name.startswith(self.generation):
                with contextlib.suppress(OSError):  # Windows keeps a file that another process has mapped
                    path.unlink()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        if not self._committed:
            with contextlib.suppress(OSError):
                self._matrix.unlink(missing_ok=True)


class MemoryWriter:
    """Takes rows as `PackWriter` does and keeps them in memory: for few files, and where nothing may be written."""

    def __enter__(self) -> MemoryWriter:
        self._parts: list[np.ndarray] = []
        return self

    def write(self, rows_BD: np.ndarray) -> None:
        """Append rows, float32 (B, D)."""
        self._parts.append(rows_BD)

    def commit(self, index: Index) -> Pack:
        """Return the rows and their index."""
        rows = [part for part in self._parts if len(part)]
        return Pack(index, np.concatenate(rows) if rows else np.empty((0, index.width), np.float32))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._parts = []
