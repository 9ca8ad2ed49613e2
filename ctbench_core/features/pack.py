"""The packed store: the vectors of many files as one memory-mapped matrix, with an index of the files.

A folder has one pack. Each change writes a new generation, ``<name>.f32`` or ``.f16`` (the matrix) and ``<name>.npz``
(the index), and then moves the pointer ``current.json`` to it: a reader gets the old pack or the new one. Writers take
the lock. The next writer removes what a killed writer left behind. Workers write shards of a generation side by side,
each its own rows of the one file, so that readers map one matrix.

The matrix is not flushed to the disk before the pointer moves, so a loss of power may leave zeros in it. Every use
compares the rows with their fingerprints (20 ms for 50,000 x 512) and reads damaged ones again.

Shape suffixes: B rows, D features.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import math
import re
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from filelock import Timeout

from ctbench_core.atomic import write_json, write_with
from ctbench_core.errors import RunError, StorageError
from ctbench_core.features.index import Index, Pack, count_files
from ctbench_core.features.reader import FileReader
from ctbench_core.features.vector import READ_ERRORS
from ctbench_core.locks import file_lock

# 2: the vector of a file with several arrays is chosen by name, no longer the first.
VERSION = 2
POINTER, LOCK = "current.json", "lock"

# Shards begin at such rows, so that no two workers write into one page of the file.
_SHARD_START = 4096
_SUFFIXES = {"float32": "f32", "float16": "f16"}

# A writer may replace a generation after a reader has read the pointer, before it opens the files.
_OPEN_TRIES = 5
_LOCK_POLL_S = 0.2


def pack_folder(cache: Path, root: Path, name: str, key: str | None, pool: str, dtype: str = "float32") -> Path:
    """Return the folder of the pack of one feature root, kind of vectors, key, pooling and type of numbers."""
    identity = json.dumps([1, str(root.resolve()), name, key, pool] + [dtype] * (dtype != "float32"))
    readable = re.sub(r"[^\w.-]", "_", root.resolve().name)[:40]
    return cache / f"{readable}-{name}-{hashlib.sha256(identity.encode()).hexdigest()[:12]}"


@contextlib.contextmanager
def writer_lock(folder: Path, waiting: Callable[[], object]) -> Iterator[None]:
    """Hold the writers' lock of a pack; ``waiting`` is called while another process holds it, and may raise."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = file_lock(folder / LOCK)
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
        f"The packed store cannot be written. {StorageError.of(error, folder)} Or set paths.cache_dir to another folder."
    )


def open_pack(folder: Path) -> Pack | None:
    """Open a pack; None when there is none, or it is damaged and must be rebuilt."""
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
        except READ_ERRORS:
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
    dtype = np.dtype(facts.get("dtype", "float32"))
    path, shape = folder / f"{generation}.{_SUFFIXES[dtype.name]}", (len(index.prints), index.width)
    size = dtype.itemsize * shape[0] * shape[1]
    if facts["version"] != VERSION or path.stat().st_size != size or len(names) != len(index.rows):
        raise ValueError("index and matrix do not belong together")
    return Pack(index, _map_matrix(path, shape, dtype), path)


def _map_matrix(path: Path, shape: tuple[int, int], dtype: np.dtype) -> np.ndarray:
    if not math.prod(shape):
        return np.empty(shape, dtype)
    # Copy on write: torch needs a writable array, and changes stay in this process.
    return np.memmap(path, dtype.newbyteorder("<"), "c", shape=shape).view(np.ndarray)


class PackWriter:
    """Writes the rows of a new generation in order; `commit` makes it the current one.

    Use it inside `writer_lock`. Without a commit, it leaves nothing behind.

    Attributes:
        matrix: the file of the rows.
    """

    def __init__(self, folder: Path, dtype: str = "float32") -> None:
        self.folder, self._committed = folder, False
        self.generation = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
        self.matrix, self._dtype = folder / f"{self.generation}.{_SUFFIXES[dtype]}", np.dtype(dtype)

    def __enter__(self) -> PackWriter:
        try:
            self._file = self.matrix.open("xb", buffering=0)
        except OSError as error:
            raise _cannot_write(self.folder, error) from error
        return self

    def write(self, rows_BD: np.ndarray) -> None:
        """Append rows (B, D) of the pack's type."""
        rest = np.ascontiguousarray(rows_BD).data.cast("B") if rows_BD.size else memoryview(b"")
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            raise _cannot_write(self.folder, error) from error

    def reserve(self, before: int, rows: int, width: int) -> int:
        """Make room for rows that others write after the ``before`` present ones; return the first of them."""
        first = -(-before // _SHARD_START) * _SHARD_START
        try:
            self._file.truncate((first + rows) * width * self._dtype.itemsize)
        except OSError as error:
            raise _cannot_write(self.folder, error) from error
        return first

    def commit(self, index: Index) -> Pack:
        """Write the index, point to the new generation, remove the old ones and return the new pack."""
        facts = {"version": VERSION, "width": index.width, "failures": index.failures, "moved": index.moved}
        facts["dtype"] = self._dtype.name
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
        return Pack(index, _map_matrix(self.matrix, (len(index.prints), index.width), self._dtype), self.matrix)

    def _remove_others(self) -> None:
        for path in self.folder.iterdir():
            if path.name not in (POINTER, LOCK) and not path.name.startswith(self.generation):
                with contextlib.suppress(OSError):  # Windows keeps a file that another process has mapped
                    path.unlink()

    def __exit__(self, *error: object) -> None:
        self._file.close()
        if not self._committed:
            with contextlib.suppress(OSError):
                self.matrix.unlink(missing_ok=True)


class MemoryWriter:
    """Keeps rows in memory instead of a file: for few files, or where nothing may be written."""

    def __init__(self, dtype: str = "float32") -> None:
        self._dtype = dtype

    def __enter__(self) -> MemoryWriter:
        self._parts: list[np.ndarray] = []
        return self

    def write(self, rows_BD: np.ndarray) -> None:
        """Append rows (B, D) of the type asked for."""
        self._parts.append(rows_BD)

    def commit(self, index: Index) -> Pack:
        """Return the rows and their index."""
        rows = [part for part in self._parts if len(part)]
        return Pack(index, np.concatenate(rows) if rows else np.empty((0, index.width), self._dtype))

    def __exit__(self, *error: object) -> None:
        self._parts = []


@dataclass(frozen=True)
class PackedStore:
    """A packed store: its folder, its bytes on disk, the number of its files and the width of their vectors.

    A damaged store has no files and width 0.
    """

    folder: Path
    size: int
    files: int
    width: int

    @property
    def kind(self) -> str:
        """Return the kind of its vectors: visual or text."""
        return self.folder.name.rsplit("-", 2)[-2] if self.folder.name.count("-") > 1 else ""


def packed_stores(cache: Path) -> list[PackedStore]:
    """Return the packed stores below a cache folder, the largest first."""
    stores = [_describe(folder) for folder in (cache.iterdir() if cache.is_dir() else ()) if folder.is_dir()]
    return sorted((store for store in stores if store.size), key=lambda store: (-store.size, store.folder.name))


def _describe(folder: Path) -> PackedStore:
    size = _size(folder)
    pack = open_pack(folder) if size else None
    return PackedStore(folder, size, count_files(pack.index.names) if pack else 0, pack.index.width if pack else 0)


def _content(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.name != LOCK and path.is_file()]


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in _content(folder))


def changed_files(folder: Path, root: Path, key: str | None, pool: str) -> int:
    """Count the files of a store that are missing, or of another size or time than when they were packed.

    Raises:
        PathError: the root lies outside CTBENCH_ROOTS.
    """
    pack = open_pack(folder)
    if pack is None:
        return 0
    names = pack.index.names
    stamps = FileReader(root, key, pool).stamps(pack.index, names)
    return count_files(names[i] for i in np.flatnonzero((stamps != pack.index.stamps).any(axis=1)).tolist())


def remove_store(folder: Path) -> int:
    """Remove a packed store and return the bytes freed; the next use of its files packs them again.

    The lock file stays, so that processes that wait for it and later ones use the same lock.

    Raises:
        RunError: another process is writing the store, or its files cannot be removed.
    """
    try:
        with file_lock(folder / LOCK).acquire(timeout=0):
            before = _size(folder)
            for path in sorted(_content(folder), key=lambda path: path.suffix != ".json"):  # the pointer first
                with contextlib.suppress(PermissionError):  # Windows keeps a file that another process has mapped
                    path.unlink()
            return before - _size(folder)
    except Timeout as error:
        raise RunError(f"{folder} is being written by another process. Wait until it has packed its files.") from error
    except OSError as error:
        raise RunError(f"{folder} cannot be removed: {error.strerror or error}. Check its permissions.") from error
