"""Report how far a study is, from the files in its folder: state of every run, active workers, time left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ctbench_core.errors import DamagedFile
from ctbench_core.runs import ACTIVE, RunPaths, try_status
from ctbench_core.runs import stored_status as read_stored_status
from ctbench_core.stored import is_there
from ctbench_core.studies.layout import StudyPaths
from ctbench_core.studies.plan import Plan
from ctbench_core.studies.workers import CANCELLED, PAUSED, requested_state

PACE_RUNS = 60
DAMAGED = "damaged"  # the state of a run whose status cannot be read


@dataclass(frozen=True)
class StudyStatus:
    """A study's state (running, paused, cancelled, waiting, interrupted, finished) and how many runs are in which state.

    Attributes:
        states: state by run id; ``damaged`` where the status cannot be read.
        workers: number of processes that train it.
        eta: seconds left; None when unknown.
    """

    state: str
    counts: Counter[str]
    states: dict[str, str]
    workers: int
    eta: float | None


def studies_in(outputs_root: Path) -> list[StudyPaths]:
    """List the studies and searches of a run store, the most recently changed first."""
    folders = [path for path in outputs_root.glob("*") if path.is_dir() and not path.name.startswith(".")]
    known = [paths for paths in map(StudyPaths, folders) if is_there(paths.plan) or is_there(paths.search)]
    return sorted(known, key=lambda paths: -paths.root.stat().st_mtime)


def stored_status(run_dir: Path) -> dict[str, Any]:
    """Return the fields of a run's status file; empty without one, `DAMAGED` and why where it cannot be read."""
    try:
        return vars(read_stored_status(RunPaths(run_dir).status))
    except FileNotFoundError:
        return {}
    except DamagedFile as error:
        return {"state": DAMAGED, "error": str(error)}


def run_state(run_dir: Path) -> str:
    """Return a run's state as its file has it, ``waiting`` before there is one."""
    return str(stored_status(run_dir).get("state", "waiting"))


def study_status(paths: StudyPaths, plan: Plan) -> StudyStatus:
    """Return the status of a study."""
    files = {run.id: stored_status(paths.run(run.id)) for run in plan.runs}
    claims = (try_status(paths.claim(bank)) for bank in plan.banks())
    workers = sum(claim is not None and claim.active for claim in claims)
    states = {name: str(status.get("state", "waiting")) for name, status in files.items()}
    if not workers:  # no process is left to train the runs that say they are active
        states = {name: "interrupted" if state in ACTIVE else state for name, state in states.items()}
    counts = Counter(states.values())
    left = len(states) - counts["finished"] - counts["failed"] - counts[DAMAGED]
    return StudyStatus(
        _state_of_study(paths, counts, left, workers), counts, states, workers, _eta(files, left, workers)
    )


def _state_of_study(paths: StudyPaths, counts: Counter[str], left: int, workers: int) -> str:
    if workers:
        return "running"
    if left == 0:
        return "finished"
    requested = requested_state(paths)
    if requested in (PAUSED, CANCELLED):
        return requested
    return "interrupted" if left < counts.total() or counts["interrupted"] else "waiting"


def _eta(files: dict[str, dict[str, Any]], left: int, workers: int) -> float | None:
    """Return the seconds that the remaining runs would take at the pace of the last ones."""
    finished = [status for status in files.values() if status.get("state") == "finished"]
    last = sorted(finished, key=lambda status: str(status.get("updated")))[-PACE_RUNS:]
    each = seconds_per_run(
        [(str(status.get("updated", "")), status.get("seconds", {}).get("total")) for status in last]
    )
    return each * left if each and left and workers else None


def seconds_per_run(ended: Sequence[tuple[str, float | None]]) -> float | None:
    """Return the mean time a run takes, from the moment (ISO) at which each run ended and its own seconds.

    Runs of a bank train side by side, so their own seconds overlap: the time in which at least one ran is what counts.
    """
    spans = [(_moment(end) - seconds, _moment(end)) for end, seconds in ended if seconds and _moment(end)]
    busy, until = 0.0, float("-inf")
    for start, end in sorted(spans):
        busy += max(0.0, end - max(start, until))
        until = max(until, end)
    return busy / len(spans) if spans else None


def _moment(text: str) -> float:
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return 0.0
