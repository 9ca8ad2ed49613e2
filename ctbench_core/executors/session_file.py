"""Show other processes which workers a study has: ``workers.json`` in its folder, written by the process that leads it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

import msgspec

from ctbench_core.atomic import remove, write_json
from ctbench_core.runs import seconds_silent
from ctbench_core.stored import Count, read_file

NAME = "workers.json"
_SILENT_S = 60.0  # it is written every two seconds


@dataclass(frozen=True)
class Worker:
    """A worker: its name, host, process and threads, the GPU it has, and the task it works on."""

    name: str
    host: str = ""
    pid: Count = 0
    threads: Count = 0
    gpu: str = ""
    task: str = ""


@dataclass(frozen=True)
class Session:
    """The workers of a study while it runs.

    Attributes:
        dashboard: address of the scheduler's pages.
        retries: how often a task was begun again because its worker was lost, by the task's name.
    """

    scheduler: str = ""
    dashboard: str = ""
    wanted: Count = 0
    workers: list[Worker] = field(default_factory=list)
    retries: dict[str, Count] = field(default_factory=dict)


def write_session(folder: Path, session: Session) -> None:
    """Write the workers of a study."""
    write_json(folder / NAME, asdict(session))


def remove_session(folder: Path) -> None:
    """Remove what was written, once the workers have ended."""
    remove(folder / NAME)


def read_session(folder: Path) -> Session | None:
    """Read the workers of a study; None while it has none, or when the process that leads it is gone.

    Raises:
        DamagedFile: the file cannot be read.
    """
    if seconds_silent(folder / NAME) > _SILENT_S:
        return None
    try:
        return read_file(folder / NAME, lambda text: msgspec.json.decode(text, type=Session))
    except FileNotFoundError:
        return None
