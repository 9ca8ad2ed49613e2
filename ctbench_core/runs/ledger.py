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
from typing import Any

from filelock import FileLock

from ctbench_core.atomic import append_line, dump_json
from ctbench_core.names import last_name
from ctbench_core.runs.readers import follow_lines
from ctbench_core.runs.status import now

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
    """How often a test set was opened, by how many distinct runs, and how often unknown sets of its name were."""

    openings: int = 0
    runs: int = 0
    unknown: int = 0


class Ledger:
    """The openings of one run store, oldest first."""

    def __init__(self, outputs_root: Path | str) -> None:
        self.path = Path(outputs_root) / LEDGER

    def openings(self) -> list[Opening]:
        """Return every opening; damaged lines are left out."""
        return follow_lines(self.path, _parse)

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
        return OpeningCount(len(known), len(runs), len(self.unknown_openings(name)))

    def record(self, run_dir: Path, job: str, manifest: str, test_set: str) -> OpeningCount:
        """Log that a run is evaluated on a test set, and return the count up to and with this opening.

        Processes take turns, so that no two get the same count.
        """
        opening = Opening(now(), _resolved(str(run_dir)), job, manifest, test_set)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self.path.with_name(_LOCK)):
            append_line(self.path, dump_json(dataclasses.asdict(opening)))
            return self.count([test_set], manifest)


def _parse(entry: dict[str, Any]) -> Opening | None:
    """Read a line of the ledger; None where it names no run or no manifest."""
    when, run, job, manifest = (str(entry.get(name) or "") for name in ("when", "run", "job", "manifest"))
    return Opening(when, run, job, manifest, entry.get("test_set")) if run and manifest else None


@functools.lru_cache(maxsize=65_536)
def _resolved(folder: str) -> str:
    """Resolve a run's folder, once for the many test sets that it may open."""
    return str(Path(folder).resolve())
