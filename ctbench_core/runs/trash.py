"""The trash of the run store: what is deleted is moved there, moved back, or removed for good.

A deleted folder keeps its path below the trash. `DELETIONS` in it says when each was deleted; the list is a convenience,
and what it lacks is still restored.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shutil
from pathlib import Path

from ctbench_core.atomic import append_line, dump_json, move
from ctbench_core.errors import CtbenchError, InputError, RunError
from ctbench_core.runs.layout import PLAN, SEARCH
from ctbench_core.runs.status import now
from ctbench_core.stored import parse_json, read_bytes

TRASH = ".trash"
DELETIONS = "deletions.jsonl"  # a line a deletion: place in the trash, time
_WHOLE = ("status.json", PLAN, SEARCH)  # a file of a run, a study or a search: what is below is part of it


def to_trash(outputs_root: Path, path: Path) -> Path:
    """Move a folder or file of the run store to its trash, and return its place there; `restore` moves it back.

    Raises:
        InputError: it is outside the run store, or the trash is a link.
        HeldError: another program has a file of it open; it stays where it is.
    """
    root, path = outputs_root.resolve(), path.resolve()
    trash = _trash_of(root)
    if not path.is_relative_to(root) or path == root:
        raise InputError(f"{path} is outside the run store {root}; delete it yourself.")
    target = _free_place(trash, path.relative_to(root))
    move(path, target)
    with contextlib.suppress(CtbenchError, OSError):  # on a full disk it is deleted without a time
        append_line(trash / DELETIONS, dump_json({"place": target.relative_to(trash).as_posix(), "deleted": now()}))
    return target


def _trash_of(root: Path) -> Path:
    if (root / TRASH).is_symlink():
        raise InputError(f"{root / TRASH} is a link. Replace it by a folder: deleted runs stay in the run store.")
    return root / TRASH


def _free_place(trash: Path, name: Path) -> Path:
    """Return a free path for what is deleted: below the trash, else below ``.2``, ``.3`` and so on in it."""
    places = (trash / f".{number}" / name if number > 1 else trash / name for number in itertools.count(1))
    return next(place for place in places if not os.path.lexists(place) and not _is_inside_another(trash, place))


def _is_inside_another(trash: Path, place: Path) -> bool:
    """Whether a place lies in a run, study or search that was deleted whole."""
    above = itertools.takewhile(lambda folder: folder != trash, place.parents)
    return any((folder / name).exists() for folder in above for name in _WHOLE)


def home_of(outputs_root: Path, trashed: Path) -> Path:
    """Return where a thing in the trash was, and is restored to.

    Raises:
        InputError: it is not in the trash.
    """
    root = outputs_root.resolve()
    trash = root / TRASH
    place = trashed.resolve()
    if not os.path.lexists(trashed) or not place.is_relative_to(trash) or place == trash:
        raise InputError(f"{trashed} is not in the trash; it may have been emptied.")
    name = place.relative_to(trash)
    if re.fullmatch(r"\.\d+", name.parts[0]):  # the name was taken in the trash
        name = name.relative_to(name.parts[0])
    return root / name


def restore(outputs_root: Path, trashed: Path) -> Path:
    """Move what was deleted back to where it was, and return its place.

    Raises:
        InputError: it is not in the trash, or its place is taken again.
        HeldError: another program has a file of it open.
    """
    home = home_of(outputs_root, trashed)
    if home.exists():
        raise InputError(f"{home} exists again; move it before restoring the deleted one.")
    move(trashed, home)
    _remove_empty_folders(outputs_root, trashed.parent)
    return home


def delete_for_good(outputs_root: Path, trashed: Path) -> int:
    """Delete something in the trash; return how many bytes that freed.

    Raises:
        InputError: it is not in the trash. RunError: a part of it stays.
    """
    home_of(outputs_root, trashed)
    before = size_of(trashed)
    if trashed.is_dir() and not trashed.is_symlink():
        shutil.rmtree(trashed, ignore_errors=True)
    else:
        trashed.unlink(missing_ok=True)
    if os.path.lexists(trashed):
        raise RunError(f"{trashed} is still there: another program has a file of it open. Close it, and try again.")
    _remove_empty_folders(outputs_root, trashed.parent)
    return before


def empty_trash(outputs_root: Path) -> int:
    """Delete everything in the trash for good; return how many bytes that freed. Files that are open elsewhere stay."""
    trash = outputs_root / TRASH
    before = size_of(trash)
    shutil.rmtree(trash, ignore_errors=True)
    return before - size_of(trash)


def _remove_empty_folders(outputs_root: Path, folder: Path) -> None:
    trash = (outputs_root / TRASH).resolve()
    folder = folder.resolve()
    with contextlib.suppress(OSError):  # not empty
        while folder != trash:
            folder.rmdir()
            folder = folder.parent


def deletion_times(outputs_root: Path) -> dict[Path, str]:
    """Return when each place in the trash was last deleted, as ISO time, in that order; others are left out."""
    trash = outputs_root.resolve() / TRASH
    times: dict[Path, str] = {}
    try:
        lines = read_bytes(trash / DELETIONS).splitlines()
    except (CtbenchError, OSError):
        return {}
    for line in lines:
        with contextlib.suppress(ValueError, LookupError):  # a line that a crash cut short
            entry = parse_json(line, dict[str, str])
            place, deleted = trash / entry["place"], entry["deleted"]
            times.pop(place, None)  # deleted again: now the last
            times[place] = deleted
    return times


def size_of(path: Path) -> int:
    """Return the bytes of a file, or of all files below a folder; 0 where there is none."""
    files = [path] if path.is_file() else path.rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file())
