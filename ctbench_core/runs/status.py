"""Read and write what a run is doing (``status.json``), and ask it to stop from any process.

A stop request is a file in the run's folder, which the process that trains it checks; no process is signalled. It
names that process, so that a request left over by a crash does not stop a resumed run.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import socket
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import msgspec
import psutil
from filelock import FileLock, Timeout

from ctbench_core.atomic import HELD_S, remove, write_json, write_text
from ctbench_core.errors import DamagedFile, RunError
from ctbench_core.runs.layout import RunPaths
from ctbench_core.runs.readers import read_cached
from ctbench_core.stored import Count, Number, read_file

ACTIVE = ("queued", "running", "cancelling")
ENDED = ("finished", "cancelled", "failed", "interrupted")
RESUMABLE = ("cancelled", "failed", "interrupted")
Kind = Literal["train", "score", "align", "claim"]
State = Literal["queued", "running", "cancelling", "finished", "cancelled", "failed", "interrupted"]
# Of a run directory: since 2, provenance.json has digests of what a run was trained on.
RUN_FORMAT = 2
STOP_REQUEST, LOCK = "stop_request", ".lock"

# A run of another host counts as gone when its heartbeat, renewed every few seconds, is older than this.
HEARTBEAT_LIMIT_S = 120.0
UNLOCKED_LIMIT_S = 15.0  # of this host, whose lock nobody holds


def now() -> str:
    """Return the present time as UTC ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@dataclass(frozen=True)
class Status:
    """Contents of ``status.json``; ``kind`` is ``train`` for training runs.

    ``started`` and ``started_epoch`` say when the run last began to work, after waiting or on Resume, and at which epoch.
    ``format`` is of the whole run directory; see `RUN_FORMAT`. ``started_by`` is the user of the app who started it, where users
    sign in.
    """

    state: State = "queued"
    epoch: Count = 0
    max_epochs: Count = 0
    host: str = ""
    pid: Count = 0
    process_started: float = 0.0
    heartbeat: str = ""
    created: str = ""
    updated: str = ""
    error: str | None = None
    label: str = ""
    kind: Kind = "train"
    best_epoch: Count | None = None
    started: str = ""
    started_epoch: Count = 0
    seconds: dict[str, Number] = dataclasses.field(default_factory=dict)
    format: Count = 1
    started_by: str = ""

    @property
    def active(self) -> bool:
        """Whether the run is waiting or running."""
        return self.state in ACTIVE


@functools.lru_cache(maxsize=1)
def _host() -> str:
    return socket.gethostname()


@functools.lru_cache(maxsize=8)
def _process_start(pid: int) -> float:
    return psutil.Process(pid).create_time()


def new_status(label: str, kind: Kind = "train", max_epochs: int = 0) -> Status:
    """Return the status of a run that this process has just accepted."""
    moment = now()
    return Status(
        host=_host(),
        pid=os.getpid(),
        process_started=_process_start(os.getpid()),
        heartbeat=moment,
        created=moment,
        updated=moment,
        label=label,
        kind=kind,
        max_epochs=max_epochs,
        format=RUN_FORMAT,
    )


def write_status(path: Path, status: Status, *, held_s: float = HELD_S, **changes: Any) -> Status:
    """Write the status with the given changes and a fresh heartbeat, and return it; wait while the file is held open."""
    moment = now()
    status = dataclasses.replace(status, **{"heartbeat": moment, "updated": moment, **changes})
    write_json(path, dataclasses.asdict(status), held_s)
    return status


def read_status(path: Path) -> Status:
    """Read a ``status.json``; an active run whose process is gone reads ``interrupted``.

    Raises:
        RunError: there is no such file. DamagedFile: it holds no status.
    """
    try:
        status = read_file(Path(path), _parse)
    except FileNotFoundError as error:
        raise RunError(f"{path} is missing: its folder is not a run directory, or is damaged.") from error
    if status.active and not _is_alive(status, Path(path).parent):
        return dataclasses.replace(
            status, state="interrupted", error="The process that ran it is gone. Resume continues the run."
        )
    return status


def try_status(path: Path) -> Status | None:
    """Read a ``status.json``; return None when it is missing or holds no status."""
    try:
        return read_status(path)
    except (RunError, DamagedFile):
        return None


def stored_status(path: Path) -> Status:
    """Return a status as its file has it, whether or not its process lives, parsed only when it has changed.

    Raises:
        FileNotFoundError: there is no such file. DamagedFile: it holds no status.
    """
    return read_cached(path, _parse)


def _parse(text: str) -> Status:
    status = msgspec.json.decode(text, type=Status)
    for name in ("heartbeat", "created", "updated", "started"):
        time = getattr(status, name)
        if time and datetime.fromisoformat(time).tzinfo is None:
            raise ValueError(f"{name} is {time}, expected a time with its zone, such as {now()}")
    return status


def _is_alive(status: Status, run_dir: Path) -> bool:
    if status.host != _host():
        return _has_heartbeat(status)
    try:
        # The system reuses process numbers, so the start time is compared too.
        if abs(psutil.Process(status.pid).create_time() - status.process_started) >= 2.0:
            return False
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True
    # A folder that was renamed while its run trained keeps the status of then, though its process lives on.
    return status.state == "queued" or _has_heartbeat(status, UNLOCKED_LIMIT_S) or is_locked(run_dir)


def _has_heartbeat(status: Status, limit_s: float = HEARTBEAT_LIMIT_S) -> bool:
    if not status.heartbeat:
        return False
    beat = datetime.fromisoformat(status.heartbeat)
    return (datetime.now(UTC) - beat).total_seconds() < limit_s


def run_lock(run_dir: Path) -> FileLock:
    """Return the lock that is held while a run trains; the system releases it when the process dies."""
    return FileLock(run_dir / LOCK)


def is_locked(run_dir: Path) -> bool:
    """Whether a process trains the run; also where that cannot be found out."""
    if not (run_dir / LOCK).is_file():
        return False
    try:
        with run_lock(run_dir).acquire(blocking=False):
            return False
    except (Timeout, OSError, NotImplementedError):
        return True


def request_stop(run_dir: Path) -> bool:
    """Ask the process that has a run to stop it; return whether the run was waiting or running.

    Raises:
        RunError: the folder holds no run, or cannot be written to. DamagedFile: its status cannot be read.
    """
    path = RunPaths(run_dir).status
    status = read_status(path)
    try:
        if status.active:
            write_text(run_dir / STOP_REQUEST, _process(status))
        if status.state == "queued":  # its process reads the request only when the run's turn comes
            write_status(path, status, state="cancelled")
    except OSError as error:
        raise RunError(
            f"No stop request can be written to {run_dir}: {error}. Stop the run where it was started."
        ) from error
    return status.active


def is_stop_requested(run_dir: Path, status: Status) -> bool:
    """Whether the process of ``status`` has been asked to stop the run."""
    try:
        return (run_dir / STOP_REQUEST).read_bytes() == _process(status).encode()
    except OSError:
        return False


def withdraw_stop(run_dir: Path) -> None:
    """Remove a stop request."""
    remove(run_dir / STOP_REQUEST)


def _process(status: Status) -> str:
    return f"{status.host} {status.pid} {status.process_started}"
