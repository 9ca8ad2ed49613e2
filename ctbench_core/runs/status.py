"""What a run is doing, as told by its ``status.json`` and by whether its process still lives."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import socket
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from ctbench_core.atomic import write_json
from ctbench_core.errors import RunError

ACTIVE = ("queued", "running", "cancelling")
ENDED = ("finished", "cancelled", "failed", "interrupted")
RESUMABLE = ("cancelled", "failed", "interrupted")

# Runs of another host are judged by their heartbeat, which is renewed every few seconds.
HEARTBEAT_LIMIT_S = 120.0


def now() -> str:
    """Return the present time as UTC ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@dataclass(frozen=True)
class Status:
    """Contents of ``status.json``. ``kind`` tells training runs from others in the store."""

    state: str = "queued"
    epoch: int = 0
    max_epochs: int = 0
    host: str = ""
    pid: int = 0
    process_started: float = 0.0
    heartbeat: str = ""
    created: str = ""
    updated: str = ""
    error: str | None = None
    label: str = ""
    kind: str = "train"
    best_epoch: int | None = None
    started: str = ""  # when it last began to work, after waiting or with Resume, and at which epoch
    started_epoch: int = 0
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)

    @property
    def active(self) -> bool:
        """Whether the run is waiting or at work."""
        return self.state in ACTIVE


@functools.lru_cache(maxsize=1)
def _host() -> str:
    return socket.gethostname()


@functools.lru_cache(maxsize=8)
def _started(pid: int) -> float:
    return psutil.Process(pid).create_time()


def new_status(label: str, kind: str = "train", max_epochs: int = 0) -> Status:
    """Return the status of a run that this process has just accepted."""
    moment = now()
    return Status(
        host=_host(),
        pid=os.getpid(),
        process_started=_started(os.getpid()),
        heartbeat=moment,
        created=moment,
        updated=moment,
        label=label,
        kind=kind,
        max_epochs=max_epochs,
    )


def write_status(path: Path, status: Status, **changes: Any) -> Status:
    """Write the status with the given changes and a fresh heartbeat, and return it."""
    moment = now()
    status = dataclasses.replace(status, **{"heartbeat": moment, "updated": moment, **changes})
    write_json(path, dataclasses.asdict(status))
    return status


def read_status(path: Path) -> Status:
    """Read a ``status.json``; an active run whose process is gone reads ``interrupted``.

    Raises:
        RunError: the file is missing or holds no status.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        names = {item.name for item in dataclasses.fields(Status)}
        status = Status(**{name: value for name, value in content.items() if name in names})
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise RunError(
            f"{path} holds no readable status ({error}). The folder is no run directory, or was damaged."
        ) from error
    if status.active and not _alive(status):
        return dataclasses.replace(
            status, state="interrupted", error="The process that ran it is gone. Resume continues it."
        )
    return status


def is_settled(path: Path) -> bool:
    """Whether the file itself says that the run has ended."""
    try:
        return json.loads(path.read_text(encoding="utf-8")).get("state") in ENDED
    except (OSError, ValueError):
        return False


def _alive(status: Status) -> bool:
    if status.host == _host():
        try:
            # The start time guards against another process having got the same number since.
            return abs(psutil.Process(status.pid).create_time() - status.process_started) < 2.0
        except psutil.NoSuchProcess:
            return False
        except psutil.AccessDenied:
            return True
    try:
        beat = datetime.fromisoformat(status.heartbeat)
    except ValueError:
        return False
    return (datetime.now(UTC) - beat).total_seconds() < HEARTBEAT_LIMIT_S
