"""Read and write what a run is doing (``status.json``), and ask it to stop from any process.

A run is held by one process, which has its lock while it trains. A process that changes what a run does (starts, resumes
or cancels it) takes the lock and finds the status as it was read, or gives up: two processes never train one run.

A stop request is a file in the run's folder, which the process that trains it checks; no process is signalled. It
names that process, so that a request left over by a crash does not stop a resumed run.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import msgspec
import psutil
from filelock import BaseFileLock, Timeout

from ctbench_core.atomic import HELD_S, remove, temporary_path, write_json, write_text
from ctbench_core.errors import DamagedFile, InputError, RunError
from ctbench_core.locks import describe_holder, file_lock, is_held, process_token
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

# A running run whose lock nobody holds counts as gone when its status, written every few seconds, is older than this.
# Some network file systems keep locks within a host: for another host the limit covers a process stopped for minutes.
HEARTBEAT_LIMIT_S = 300.0
UNLOCKED_LIMIT_S = 15.0  # of this host
_PROBE_S = 1.0  # readers hold a lock for a moment to see whether it is free


def now() -> str:
    """Return the present time as UTC ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@dataclass(frozen=True)
class Status:
    """Contents of ``status.json``; ``kind`` is ``train`` for training runs.

    ``started`` and ``started_epoch`` say when the run last began to work, after waiting or on Resume, and at which epoch.
    ``seconds`` are those of its parts since then (``load``, ``train``), at its end with ``total``.
    ``format`` is of the whole run directory; see `RUN_FORMAT`. ``started_by`` is the user of the app who started it, where users
    sign in.
    """

    state: State = "queued"
    epoch: Count = 0
    max_epochs: Count = 0
    host: str = ""
    pid: Count = 0
    process_started: float = 0.0
    process_token: str = ""
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


@functools.lru_cache(maxsize=1)
def _process_start(pid: int) -> tuple[float, str]:
    """Return when this process started by the clock, and a number that stays the same when the clock is set."""
    return psutil.Process(pid).create_time(), f"{process_token(pid) or 0:x}"


def new_status(label: str, kind: Kind = "train", max_epochs: int = 0) -> Status:
    """Return the status of a run that this process has just accepted."""
    moment = now()
    started, token = _process_start(os.getpid())
    return Status(
        host=_host(),
        pid=os.getpid(),
        process_started=started,
        process_token=token,
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
    path = Path(path)
    try:
        status, judged = read_file(path, _parse), None
        while status.active and status != judged and not _is_alive(status, path):
            # Where it ended after it was read, its lock is free for that reason.
            status, judged = read_file(path, _parse), status
    except FileNotFoundError as error:
        raise RunError(f"{path} is missing: its folder is not a run directory, or is damaged.") from error
    if status.active and status == judged:
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


def _is_alive(status: Status, path: Path) -> bool:
    here = is_of_this_host(status)
    if status.state == "queued":  # it holds no lock yet: of another host, that host alone knows
        return not here or _process_lives(status)
    # A folder that was renamed while its run trained keeps the status of then, though its process lives on.
    limit_s = UNLOCKED_LIMIT_S if here else HEARTBEAT_LIMIT_S
    may_live = not here or _process_lives(status)
    return (may_live and seconds_silent(path) < limit_s) or is_held(_lock_path(path))


def _process_lives(status: Status) -> bool:
    try:
        if status.process_token:
            return f"{process_token(status.pid) or 0:x}" == status.process_token
        # Of an older version. The system reuses process numbers, so the start time is compared too.
        return abs(psutil.Process(status.pid).create_time() - status.process_started) < 2.0
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


def seconds_silent(path: Path) -> float:
    """Return the seconds since a status was written, by the clock of its disk: those of two hosts may be minutes apart."""
    try:
        written = path.stat().st_mtime
    except OSError:
        return math.inf
    seconds = time.time() - written
    return seconds if abs(seconds) < UNLOCKED_LIMIT_S else _disk_time(path.parent) - written


def _disk_time(folder: Path) -> float:
    """Return the present time by the clock that stamps the files of a folder; this machine's where it cannot be written."""
    probe = temporary_path(folder / "time")
    try:
        probe.touch(exist_ok=False)
        written = probe.stat().st_mtime
        probe.unlink()
    except OSError:
        return time.time()
    return written


def _lock_path(status_file: Path) -> Path:
    """Return the lock of a run, or of the claim of a bank, by its status file."""
    return status_file.with_name(LOCK) if status_file.name == "status.json" else status_file.with_suffix(".lock")


def run_lock(run_dir: Path) -> BaseFileLock:
    """Return the lock that is held while a run trains."""
    return file_lock(run_dir / LOCK)


def is_locked(run_dir: Path) -> bool:
    """Whether a process trains the run; also where that cannot be found out."""
    return is_held(run_dir / LOCK)


@contextlib.contextmanager
def hold(path: Path) -> Iterator[Status | None]:
    """Hold a run's lock, by its status file, and yield the status that is stored; None before there is one.

    Raises:
        InputError: another process trains the run. DamagedFile: the file holds no status.
    """
    lock = _lock_path(path)
    held = file_lock(lock)
    try:
        held.acquire(timeout=_PROBE_S)
    except Timeout as error:
        raise InputError(
            f"{path.parent} is being trained by another process. {describe_holder(lock)}Wait for it, or stop it there."
        ) from error
    try:
        yield read_file(path, _parse) if path.is_file() else None
    finally:
        held.release()


@contextlib.contextmanager
def hold_unchanged(path: Path, expected: Status) -> Iterator[None]:
    """Hold a run's lock while its status is still the one that was read, so that it can be replaced.

    Raises:
        InputError: another process has changed it, or trains the run. DamagedFile: the file holds no status.
    """
    with hold(path) as stored:
        if stored is None or (stored.updated, _process(stored)) != (expected.updated, _process(expected)):
            owner = "was removed" if stored is None else f"is {stored.state} by {owner_of(stored)}"
            raise InputError(f"{path.parent} was changed by another process: it {owner}. Look at it again.")
        yield


def owner_of(status: Status) -> str:
    """Name the process that has a run."""
    return f"process {status.pid} on {status.host}"


def is_own(status: Status) -> bool:
    """Whether this process has a run."""
    return _process(status) == _process(new_status(""))


def is_of_this_host(status: Status) -> bool:
    """Whether a run was last held by a process of this host."""
    return status.host == _host()


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
            with contextlib.suppress(InputError), hold_unchanged(path, status):  # it may just have started
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
