"""Change runs: star, tag or delete many at once, or delete a result of one.

Of many runs, one that refuses stops none of the others, and is named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ctbench_core.errors import CtbenchError, explained
from ctbench_core.formatting import plural
from ctbench_core.runs.annotations import annotate, read_annotations
from ctbench_core.runs.store import Run, delete_run, open_run
from ctbench_core.runs.table import announce_change
from ctbench_core.runs.trash import to_trash


@dataclass(frozen=True)
class BulkResult:
    """What became of many runs.

    Attributes:
        done: for each run that was changed, what the change returned. refused: why each other one was not, by run id.
    """

    done: list[Any] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)

    def sentence(self, verb: str) -> str:
        """Say how many runs were changed, as in ``38 runs tagged, 2 runs not``."""
        text = f"{plural(len(self.done), 'run')} {verb}"
        return f"{text}, {plural(len(self.refused), 'run')} not" if self.refused else text


def for_each(run_dirs: Iterable[Path | str], change: Callable[[Path], Any]) -> BulkResult:
    """Apply a change to each run directory; an error of one run is kept with its id."""
    result = BulkResult()
    for folder in map(Path, run_dirs):
        try:
            result.done.append(change(folder))
        except (CtbenchError, OSError) as error:
            result.refused[folder.name] = str(explained(error))
    return result


def star_runs(run_dirs: Iterable[Path | str], starred: bool) -> BulkResult:
    """Star or unstar runs."""
    return for_each(run_dirs, lambda folder: annotate(folder, pinned=starred))


def tag_runs(run_dirs: Iterable[Path | str], add: Sequence[str] = (), remove: Sequence[str] = ()) -> BulkResult:
    """Add tags to runs and remove others; tags that a run has already are not repeated."""

    def change(folder: Path) -> Any:
        kept = [tag for tag in read_annotations(folder).tags if tag not in remove]
        return annotate(folder, tags=list(dict.fromkeys([*kept, *add])))

    return for_each(run_dirs, change)


def delete_runs(outputs_root: Path, run_dirs: Iterable[Path | str]) -> BulkResult:
    """Move runs to the store's trash; ``done`` has their folders there, for `restore`."""
    return for_each(run_dirs, lambda folder: delete_run(outputs_root, open_run(folder)))


def delete_alignment(outputs_root: Path, run: Run, name: str) -> Path:
    """Move an alignment result to the store's trash and return its place there; `restore` moves it back.

    A run that measured nothing else goes with it. Errors as `delete_run`.
    """
    if run.status.kind == "align" and run.alignments() == [name]:
        return delete_run(outputs_root, run)
    trashed = to_trash(outputs_root, run.paths.alignment(name))
    announce_change(run.paths.root)
    return trashed
