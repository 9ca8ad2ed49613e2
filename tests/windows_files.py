"""File functions that refuse, as on Windows, what this process holds open or mapped; from Linux's list of open files.

The rooms in `ROOMS` are always tested so, the whole suite with CTBENCH_TEST_WINDOWS=1.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOMS = ("runs", "jobs", "windows")
_OPEN, _MAPPED = Path("/proc/self/fd"), Path("/proc/self/maps")


def is_wanted(test: pytest.FixtureRequest) -> bool:
    """Whether a test runs with these functions."""
    wanted = test.path.parent.name in ROOMS or bool(os.environ.get("CTBENCH_TEST_WINDOWS"))
    return wanted and _OPEN.is_dir() and test.node.get_closest_marker("posix_files") is None


def held_files() -> Iterator[str]:
    """Yield the path of every file that this process has open or mapped."""
    for link in _OPEN.iterdir():
        with contextlib.suppress(OSError):  # it was that of the listing
            yield str(link.readlink())
    for line in _MAPPED.read_bytes().splitlines():
        fields = line.split(maxsplit=5)
        if len(fields) > 5 and fields[5].startswith(b"/"):
            yield os.fsdecode(fields[5])


def refuse_held(path: Path) -> None:
    """Raise what Windows raises where a file, or one in a folder, is open."""
    place = str(path.parent.resolve() / path.name)
    for held in held_files():
        if (held == place and not Path(held).is_dir()) or held.startswith(place + os.sep):
            raise PermissionError(errno.EACCES, "held open (emulated)", held)


def install(patch: pytest.MonkeyPatch) -> None:
    """Replace the functions of ``os`` that move and remove files."""
    for name in ("replace", "rename"):
        patch.setattr(os, name, _moving(getattr(os, name), overwrites=name == "replace"))
    for name in ("unlink", "remove"):
        patch.setattr(os, name, _removing(getattr(os, name)))


def _moving(real: Callable[..., None], overwrites: bool) -> Callable[..., None]:
    def move(source: Any, target: Any, **options: Any) -> None:
        for path in (source, target):
            refuse_held(Path(path))
        if not overwrites and os.path.lexists(target) and not Path(target).samefile(source):
            raise FileExistsError(errno.EEXIST, "exists (emulated)", str(target))
        real(source, target, **options)

    return move


def _removing(real: Callable[..., None]) -> Callable[..., None]:
    def remove(path: Any, **options: Any) -> None:
        folder = options.get("dir_fd")
        refuse_held(Path(path) if folder is None else (_OPEN / str(folder)).readlink() / path)
        real(path, **options)

    return remove
