"""Names that become files or folders on every system, and paths that were written on another one."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path, PureWindowsPath

from ctbench_core.errors import PathError

# What Windows refuses in a name; it also reserves some names, with any suffix.
UNSAFE = re.compile(r'[<>:"|?*\x00-\x1f]')
RESERVED = re.compile(r"(?i)^(?:con|prn|aux|nul|conin\$|conout\$|com[\d¹²³]|lpt[\d¹²³])(?=\.|$)")
# Windows limits whole paths to 260 characters unless it is set otherwise. The files of a run are at most this much
# longer than the run's folder, for names of test sets of 32 characters.
LONGEST_BELOW_RUN = 100
_LONGEST_NAME = 80


def safe_name(name: str, what: str, folder: Path | None = None) -> str:
    """Return a name that every system can use for one file or folder.

    Args:
        what: what the name is of, for the message: a key or an option.
        folder: where it will lie; an entry there may not differ from it in upper and lower case only.

    Raises:
        PathError: it leads elsewhere, is reserved on Windows, too long, or another entry has it in other case.
    """
    problem = _problem(name)
    if problem:
        raise PathError(
            f"{what} is {name!r}, which {problem}. It names a file or folder on every system: choose another."
        )
    if folder is not None and (twin := _twin(name, folder)):
        raise PathError(f"{what} is {name!r}, but {folder} holds {twin!r}, the same name on Windows. Use {twin!r}.")
    return name


def _problem(name: str) -> str:
    if not name or set(name) <= {"."}:
        return "is no name of its own"
    if re.search(r"[/\\]", name):
        return "has a slash or backslash and so leads to another folder"
    if match := UNSAFE.search(name):
        return f"has the character {match[0]!r}"
    if name.startswith((".", " ")) or name.endswith((".", " ")):
        return "begins or ends with a dot or space"
    if RESERVED.search(name):
        return "is reserved on Windows"
    return f"is longer than {_LONGEST_NAME} characters" if len(name) > _LONGEST_NAME else ""


def _twin(name: str, folder: Path) -> str | None:
    """Return the entry of a folder that differs from a name in upper and lower case only."""
    entries = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    same = [entry for entry in entries if entry.casefold() == name.casefold()]
    return None if name in same else next(iter(same), None)


def require_distinct(names: Iterable[str], what: str) -> None:
    """Refuse names that differ in upper and lower case only.

    Raises:
        PathError: two do.
    """
    known: dict[str, str] = {}
    for name in names:
        other = known.setdefault(name.casefold(), name)
        if other != name:
            raise PathError(f"{what} has {other!r} and {name!r}, the same name on Windows. Rename one of the files.")


def portable(path: str) -> str:
    """Return a path with slashes, so that ``data\\demo`` written on Windows is ``data/demo`` everywhere."""
    return PureWindowsPath(path).as_posix() if "\\" in path else path


def last_name(path: str) -> str:
    """Return the last part of a path that may have been written on Windows."""
    return PureWindowsPath(path).name if "\\" in path else Path(path).name
