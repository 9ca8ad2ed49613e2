"""Coordinate the processes that train one study in a shared folder: who has which bank, and whether all shall stop.

The system releases a file lock when its process dies. Where locks do not reach across machines (some network file
systems), files that name their process keep two hosts apart, and the heartbeat of a claim shows that another host is
training. Dask's workers claim their banks too: the claims guard a folder from processes that its scheduler does not know.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import Timeout

from ctbench_core.atomic import write_json
from ctbench_core.errors import DamagedFile
from ctbench_core.locks import hold_across_hosts
from ctbench_core.runs import HEARTBEAT_LIMIT_S, Status, new_status, read_json, seconds_silent, try_status, write_status
from ctbench_core.studies.layout import StudyPaths

RUN, PAUSED, CANCELLED = "run", "paused", "cancelled"
HEARTBEAT_EVERY_S = 10.0
_CHECK_EVERY_S = 0.5


@contextlib.contextmanager
def claim(path: Path) -> Iterator[bool]:
    """Try to claim a bank for the block; yield whether this process has it."""
    path.parent.mkdir(parents=True, exist_ok=True)

    def is_stale(file: Path) -> bool:
        return min(seconds_silent(file), seconds_silent(path)) > HEARTBEAT_LIMIT_S

    with contextlib.ExitStack() as held:
        try:
            if _is_claimed_by_other_host(path):
                raise Timeout(str(path))
            held.enter_context(hold_across_hosts(path.with_suffix(".lock"), is_stale))
        except Timeout:
            yield False
            return
        status = write_status(path, new_status(path.stem, kind="claim"), state="running")
        try:
            with _heartbeat(path, status):
                yield True
        finally:
            write_status(path, status, state="finished")


def _is_claimed_by_other_host(path: Path) -> bool:
    """Whether a process of another host has the claim; on this host, the lock has ruled that out."""
    status = try_status(path)
    return status is not None and status.active and status.host != new_status("").host


def has_active_worker(paths: StudyPaths) -> bool:
    """Whether a process is training any bank."""
    claims = map(try_status, paths.claim(0).parent.glob("*.json"))
    return any(status is not None and status.active for status in claims)


@contextlib.contextmanager
def _heartbeat(path: Path, status: Status) -> Iterator[None]:
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(HEARTBEAT_EVERY_S):
            with contextlib.suppress(OSError):  # a full disk must not end the training
                write_status(path, status, state="running")

    thread = threading.Thread(target=beat, name="ctbench-claim", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def request_state(paths: StudyPaths, state: str) -> None:
    """Ask all workers of a study to run, or to stop as paused or cancelled; they stop within a second."""
    write_json(paths.control, {"wanted": state})


def requested_state(paths: StudyPaths) -> str:
    """Return the state that was last requested of a study: run, paused or cancelled.

    A damaged request is none: the next one replaces it.
    """
    try:
        return str((read_json(paths.control, dict[str, str]) or {}).get("wanted", RUN))
    except DamagedFile:
        return RUN


class StopEvent(threading.Event):
    """An event that is set when this process cancels, or when the study's folder requests another state than run."""

    def __init__(self, paths: StudyPaths, cancel: threading.Event | None) -> None:
        super().__init__()
        self._paths, self._cancel = paths, cancel
        self._checked_at = 0.0

    def is_set(self) -> bool:
        """Whether to stop; the folder is checked twice a second at most."""
        if not super().is_set() and self._must_stop():
            self.set()
        return super().is_set()

    def _must_stop(self) -> bool:
        if self._cancel is not None and self._cancel.is_set():
            return True
        if time.monotonic() - self._checked_at <= _CHECK_EVERY_S:
            return False
        self._checked_at = time.monotonic()
        return requested_state(self._paths) != RUN
