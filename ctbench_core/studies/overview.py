"""Where a study stands, as its folder tells: what has ended, who is at work, how long it may still take."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ctbench_core.runs import RunPaths, parsed
from ctbench_core.studies.claims import read_claim
from ctbench_core.studies.control import CANCELLED, PAUSED, wanted
from ctbench_core.studies.layout import StudyPaths
from ctbench_core.studies.plan import Plan

PACE_RUNS = 60


@dataclass(frozen=True)
class Overview:
    """Counts of a study's runs by state, and its own state: running, paused, cancelled, waiting, interrupted, finished."""

    state: str
    counts: Counter[str]
    states: dict[str, str]
    workers: int
    eta: float | None


def studies_in(outputs_root: Path) -> list[StudyPaths]:
    """List the studies and searches of a run store, the last changed first."""
    found = {path.parent for name in ("plan.json", "search.yaml") for path in outputs_root.glob(f"*/{name}")}
    return [StudyPaths(folder) for folder in sorted(found, key=lambda folder: -folder.stat().st_mtime)]


def overview(paths: StudyPaths, plan: Plan) -> Overview:
    """Tell where a study stands."""
    files = {run.id: _status(paths.run(run.id)) for run in plan.runs}
    claims = [claim for bank in plan.banks() if (claim := read_claim(paths.claim(bank))) is not None and claim.active]
    states = {name: _state(str(status.get("state", "waiting")), bool(claims)) for name, status in files.items()}
    counts = Counter(states.values())
    left = len(states) - counts["finished"] - counts["failed"]
    return Overview(
        _of_study(paths, counts, left, bool(claims)), counts, states, len(claims), _eta(files, left, len(claims))
    )


def is_worked_on(paths: StudyPaths, banks: int = 1) -> bool:
    """Whether any process has claimed a bank."""
    return any((claim := read_claim(paths.claim(bank))) is not None and claim.active for bank in range(banks))


def _status(run_dir: Path) -> dict[str, Any]:
    try:
        return parsed(RunPaths(run_dir).status, json.loads)
    except (OSError, ValueError):
        return {}


def _state(written: str, worked_on: bool) -> str:
    """Read a run left behind by a dead process as interrupted."""
    return "interrupted" if written in ("running", "queued", "cancelling") and not worked_on else written


def _of_study(paths: StudyPaths, counts: Counter[str], left: int, worked_on: bool) -> str:
    if worked_on:
        return "running"
    if left == 0:
        return "finished"
    want = wanted(paths)
    if want in (PAUSED, CANCELLED):
        return want
    return "interrupted" if left < counts.total() or counts["interrupted"] else "waiting"


def _eta(files: dict[str, dict[str, Any]], left: int, workers: int) -> float | None:
    """Return the seconds that the runs left would take at the pace of the last ones."""
    ended = [status for status in files.values() if status.get("state") == "finished"]
    last = sorted(ended, key=lambda status: str(status.get("updated")))[-PACE_RUNS:]
    found = pace([(str(one.get("updated", "")), one.get("seconds", {}).get("total")) for one in last])
    return found * left if found and left and workers else None


def pace(ended: Sequence[tuple[str, float | None]]) -> float | None:
    """Return the seconds that pass a run, from the moments (ISO) at which runs ended and the seconds that each was at work.

    Runs of a bank train side by side, so their own seconds overlap: what counts is the time in which any was at work.
    """
    spans = [
        (end - seconds, end) for end, seconds in ((_moment(end), seconds) for end, seconds in ended) if seconds and end
    ]
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
