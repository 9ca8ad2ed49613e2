"""List what is in the trash of a run store: runs, studies, searches, alignment results, and damaged parts of runs."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from ctbench_core.runs.layout import PLAN, SEARCH
from ctbench_core.runs.store import try_open
from ctbench_core.runs.trash import DELETIONS, TRASH, deletion_times, home_of, size_of


@dataclass(frozen=True)
class Deleted:
    """Something in the trash.

    Attributes:
        place: where it lies. home: where it was. kind: ``run``, ``study``, ``search``, ``alignment result`` or
            ``part of a run``.
        deleted: when, as ISO time; empty if unknown.
        size: in bytes.
    """

    place: Path
    home: Path
    kind: str
    name: str
    deleted: str
    size: int


def deleted_in(outputs_root: Path) -> list[Deleted]:
    """Return what can be restored, the newest first; what was deleted at an unknown time comes last."""
    trash, times = outputs_root.resolve() / TRASH, deletion_times(outputs_root)
    places = list(_places(trash, set(times))) if trash.is_dir() else []
    deleted = [
        Deleted(place, home_of(outputs_root, place), *_describe(place), times.get(place, ""), size_of(place))
        for place in places
    ]
    order = {place: number for number, place in enumerate(times)}  # two of one second keep their order
    return sorted(deleted, key=lambda one: order.get(one.place, -1), reverse=True)


def count_deleted_runs(outputs_root: Path) -> int:
    """Return how many runs `deleted_in` lists, without the sizes of their files."""
    trash, times = outputs_root.resolve() / TRASH, deletion_times(outputs_root)
    places = _places(trash, set(times)) if trash.is_dir() else ()
    return sum(_describe(place)[0] == "run" for place in places)


def _places(folder: Path, noted: Collection[Path]) -> Iterator[Path]:
    """Yield what was deleted as one: places that are noted, and of others the uppermost folders that hold files."""
    for path in sorted(folder.iterdir()):
        if path in noted:
            yield path
        elif path.is_dir() and not path.is_symlink():
            holds_noted = any(path in place.parents for place in noted if place.exists())
            holds_files = any(not below.is_dir() for below in path.iterdir())
            if holds_files and not holds_noted:
                yield path
            else:
                yield from _places(path, noted)
        elif path.name != DELETIONS:
            yield path


def _describe(place: Path) -> tuple[str, str]:
    """Return kind and name of something in the trash."""
    if (place / PLAN).exists():
        return "study", place.name
    if (place / SEARCH).exists():
        return "search", place.name
    if (place / "status.json").exists() or (place / "config.yaml").exists():
        run = try_open(place)
        kind = "alignment result" if run is not None and run.status.kind == "align" else "run"
        return kind, place.name if run is None else run.name
    if place.parent.name == "alignment":
        return "alignment result", place.name
    return "part of a run", place.name
