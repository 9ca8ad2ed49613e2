"""The ledger of a run store, ``evaluations.jsonl``: a line each time a test set was opened by a run.

Openings are counted by the test set's identity over the whole store; a file's name is only a label. Lines from before
identities are openings of unknown sets: they are counted apart, by file name.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Required, TypedDict

from ctbench_core.atomic import append_line, dump_json
from ctbench_core.errors import DamagedFile
from ctbench_core.formatting import plural
from ctbench_core.locks import file_lock
from ctbench_core.names import last_name
from ctbench_core.runs.readers import follow_lines
from ctbench_core.runs.status import now
from ctbench_core.stored import parse_json, read_bytes, reading

LEDGER = "evaluations.jsonl"
_LOCK = ".evaluations.lock"


@dataclass(frozen=True)
class Opening:
    """One opening: when which run of which job was evaluated on which manifest.

    ``run`` is the run's folder, ``test_set`` the identity of the set, None in lines from before identities.
    """

    when: str
    run: str
    job: str
    manifest: str
    test_set: str | None = None

    @property
    def run_id(self) -> str:
        """The run's id: its folder may have moved since."""
        return last_name(self.run)

    @property
    def set_name(self) -> str:
        """The manifest's name without its ending."""
        return Path(last_name(self.manifest)).stem


@dataclass(frozen=True)
class OpeningCount:
    """How often a test set was opened, by how many distinct runs, and how often unknown sets of its name were.

    ``damage`` says why the ledger may hold more than could be read; the numbers are then the fewest possible.
    """

    openings: int = 0
    runs: int = 0
    unknown: int = 0
    damage: str = ""


class Ledger:
    """The openings of one run store, oldest first."""

    def __init__(self, outputs_root: Path | str) -> None:
        self.path = Path(outputs_root) / LEDGER

    def openings(self) -> list[Opening]:
        """Return every opening that can be read; `damage` says of others."""
        try:
            return list(filter(None, follow_lines(self.path, _parse)))
        except DamagedFile:
            return []

    def damage(self) -> str:
        """Say what of the ledger cannot be read; empty if nothing."""
        try:
            lines = follow_lines(self.path, _parse)
            with reading(self.path):
                is_cut = not read_bytes(self.path, max(0, self.path.stat().st_size - 1)).endswith(b"\n")
        except FileNotFoundError:
            return ""
        except DamagedFile as error:
            return str(error)
        if lost := lines.count(None) + is_cut:
            return f"{self.path} is damaged: {plural(lost, 'line')} cannot be read, so that evaluations may be missing."
        return ""

    def openings_of(self, test_sets: Collection[str]) -> list[Opening]:
        """Return the openings of test sets by their identities."""
        return [one for one in self.openings() if one.test_set in test_sets]

    def unknown_openings(self, name: str) -> list[Opening]:
        """Return the openings from before identities of sets with this name."""
        return [one for one in self.openings() if one.test_set is None and one.set_name == Path(name).stem]

    def count(self, test_sets: Collection[str], name: str) -> OpeningCount:
        """Count the openings of test sets so far, and those of unknown sets of a name."""
        known = self.openings_of(test_sets)
        runs = {(one.job, one.run_id) for one in known}
        return OpeningCount(len(known), len(runs), len(self.unknown_openings(name)), self.damage())

    def record(self, run_dir: Path, job: str, manifest: str, test_set: str) -> OpeningCount:
        """Log that a run is evaluated on a test set, and return the count up to and with this opening.

        Processes take turns, so that no two get the same count.

        Raises:
            DamagedFile: nothing can be added to it.
        """
        opening = Opening(now(), _resolved(str(run_dir)), job, manifest, test_set)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with reading(self.path), file_lock(self.path.with_name(_LOCK)):
            append_line(self.path, dump_json(dataclasses.asdict(opening)))
            return self.count([test_set], manifest)


class _Line(TypedDict, total=False):
    when: str
    run: Required[str]
    job: str
    manifest: Required[str]
    test_set: str | None


def _parse(line: bytes, number: int) -> Opening | None:
    """Read a line of the ledger; None where it is damaged, or names no run or no manifest."""
    try:
        entry = parse_json(line, _Line)
    except (ValueError, RecursionError):
        return None
    when, run, job, manifest = (entry.get(name, "") for name in ("when", "run", "job", "manifest"))
    return Opening(when, run, job, manifest, entry.get("test_set")) if run and manifest else None


@functools.lru_cache(maxsize=65_536)
def _resolved(folder: str) -> str:
    """Resolve a run's folder, once for the many test sets that it may open."""
    return str(Path(folder).resolve())
