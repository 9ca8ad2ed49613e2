"""Claims: which process works on which bank of a study, so that any number of them share one folder.

A file lock is let go by the system when its process dies. Where locks do not reach across machines (some network
file systems), the claim's heartbeat tells that another host is at work.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from ctbench_core.errors import RunError
from ctbench_core.runs import Status, new_status, read_status, write_status

HEARTBEAT_EVERY_S = 10.0


@contextlib.contextmanager
def claim(path: Path) -> Iterator[bool]:
    """Try to claim a bank for the block; yield whether this process has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path.with_suffix(".lock"))
    try:
        lock.acquire(blocking=False)
    except Timeout:
        yield False
        return
    try:
        if _is_held_elsewhere(path):
            yield False
            return
        status = write_status(path, new_status(path.stem, kind="claim"), state="running")
        try:
            with _heartbeat(path, status):
                yield True
        finally:
            write_status(path, status, state="finished")
    finally:
        lock.release()


def _is_held_elsewhere(path: Path) -> bool:
    """Whether a process of another host holds the claim; on this host the lock has just said no."""
    held = read_claim(path)
    return held is not None and held.active and held.host != new_status("").host


def read_claim(path: Path) -> Status | None:
    """Return the claim of a bank; None when nobody has claimed it yet."""
    try:
        return read_status(path)
    except RunError:
        return None


@contextlib.contextmanager
def _heartbeat(path: Path, status: Status) -> Iterator[None]:
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(HEARTBEAT_EVERY_S):
            with contextlib.suppress(OSError):  # a full disk must not end the training that the claim is for
                write_status(path, status, state="running")

    thread = threading.Thread(target=beat, name="ctbench-claim", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
