"""The packed stores of a cache folder: what each takes, whether its files have changed since, and its removal."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from ctbench_core.errors import RunError
from ctbench_core.features.files import Reader
from ctbench_core.features.gather import stamps_in
from ctbench_core.features.pack import LOCK, open_pack


@dataclass(frozen=True)
class Store:
    """One packed store: its folder, its bytes on disk, how many files it holds, and the width of their vectors.

    A damaged store has no files and width 0.
    """

    folder: Path
    size: int
    files: int
    width: int

    @property
    def kind(self) -> str:
        """What its vectors are of: visual, text."""
        return self.folder.name.rsplit("-", 2)[-2] if self.folder.name.count("-") > 1 else ""


def packed_stores(cache: Path) -> list[Store]:
    """Return the packed stores below a cache folder, the largest first."""
    found = [_store(folder) for folder in (cache.iterdir() if cache.is_dir() else ()) if folder.is_dir()]
    return sorted((store for store in found if store.size), key=lambda store: (-store.size, store.folder.name))


def _store(folder: Path) -> Store:
    size = sum(path.stat().st_size for path in _content(folder))
    pack = open_pack(folder) if size else None
    return Store(folder, size, 0, 0) if pack is None else Store(folder, size, len(pack.index.names), pack.index.width)


def _content(folder: Path) -> Iterator[Path]:
    return (path for path in folder.iterdir() if path.name != LOCK and path.is_file())


def changed_files(folder: Path, root: Path, key: str | None, pool: str) -> int:
    """Count the files of a store that are gone or no longer of the size and times they were packed with.

    Raises:
        PathError: the root lies outside CTBENCH_ROOTS.
    """
    pack = open_pack(folder)
    if pack is None:
        return 0
    stamps = stamps_in(pack.index, Reader(root, key, pool), pack.index.names)
    return int((stamps != pack.index.stamps).any(axis=1).sum())


def remove_store(folder: Path) -> int:
    """Remove a packed store and return the bytes that this freed; the next use of its files packs them anew.

    The lock stays: whoever waits for it must meet whoever comes later.

    Raises:
        RunError: another process is writing the store, or its files cannot be removed.
    """
    lock = FileLock(folder / LOCK)
    try:
        with lock.acquire(timeout=0):
            content = sorted(_content(folder), key=lambda path: path.suffix != ".json")  # the pointer first
            before = sum(path.stat().st_size for path in content)
            for path in content:
                with contextlib.suppress(PermissionError):  # Windows keeps a file that another process has mapped
                    path.unlink()
            return before - sum(path.stat().st_size for path in _content(folder))
    except Timeout as error:
        raise RunError(f"{folder} is being written by another process. Wait until it has packed its files.") from error
    except OSError as error:
        raise RunError(f"{folder} cannot be removed: {error.strerror or error}. Mend the rights there.") from error
