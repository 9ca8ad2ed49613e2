"""How long a run may take, from the pace of earlier runs on this machine."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from ctbench_core.config import Config
from ctbench_core.declared import HEADS
from ctbench_core.label_leakage import encoder_name
from ctbench_core.runs.layout import RunPaths
from ctbench_core.runs.status import Status, is_of_this_host, try_status
from ctbench_core.runs.table import Row

_RUNS = 5
_MOST_READ = 50  # statuses: a store shared by many machines may hold thousands of other hosts


@dataclass(frozen=True)
class ExpectedTime:
    """How long a run may take.

    Attributes:
        longest: seconds of a run that trains for its max epochs.
        seconds: of a run that stops where earlier ones did, at most `longest`; that itself where none stopped early.
        epochs: after which such a run stops.
        runs: how many earlier runs this comes from.
        is_of_head: whether these have the head and the inputs of the config.
    """

    longest: float
    seconds: float
    epochs: int
    runs: int
    is_of_head: bool


def expected_time(config: Config, rows: Iterable[Row]) -> ExpectedTime | None:
    """Return how long a run may take, from the last runs on the same features on this machine; None without any.

    Runs of studies are left out: they train side by side, so their times overlap.

    Args:
        rows: of `run_rows`, newest first.
    """
    encoder, head = encoder_name(config), config.model._target_
    rows = [row for row in rows if row["encoder"] == encoder and row["state"] == "finished" and not row["study"]]
    alike = [row for row in rows if row["head"].startswith(head) and row["inputs"] == config.model.inputs]
    known = HEADS.get(HEADS.canonical(head))
    max_epochs = config.training.max_epochs if known is None or known.stepwise else None
    for candidates in (alike, rows) if max_epochs else (alike,):
        if statuses := _last_here(candidates):
            return at_pace_of(statuses, max_epochs, candidates is alike)
    return None


def _last_here(rows: Sequence[Row]) -> list[Status]:
    """Return the statuses of the last runs of this machine that trained for an epoch or more."""
    statuses = (try_status(RunPaths(Path(row["run_dir"])).status) for row in rows[:_MOST_READ])
    timed = (one for one in statuses if one and is_of_this_host(one) and _epochs(one) > 0 and one.seconds)
    return list(islice(timed, _RUNS))


def at_pace_of(statuses: Sequence[Status], max_epochs: int | None, is_of_head: bool = True) -> ExpectedTime:
    """Return the time of a run at the median pace of earlier ones.

    Args:
        statuses: of earlier runs, one or more, each with its seconds.
        max_epochs: of the run; None: the head is fitted whole, in as many steps as before.
        is_of_head: see `ExpectedTime`.
    """
    load = statistics.median(one.seconds.get("load", 0.0) for one in statuses)
    pace = statistics.median(_training_seconds(one) / _epochs(one) for one in statuses)
    most = max_epochs or round(statistics.median(one.epoch for one in statuses))
    stopped = [one.epoch for one in statuses if one.epoch < one.max_epochs]
    epochs = min(most, round(statistics.median(stopped))) if stopped else most
    return ExpectedTime(load + pace * most, load + pace * epochs, epochs, len(statuses), is_of_head)


def _epochs(status: Status) -> int:
    """Return the epochs that the seconds of a status cover: those since the run last started."""
    return status.epoch - status.started_epoch


def _training_seconds(status: Status) -> float:
    return float(status.seconds.get("train", status.seconds.get("total", 0.0)))
