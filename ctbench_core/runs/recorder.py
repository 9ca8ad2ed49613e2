"""Keep a run's ``status.json`` true from its first moment to its end, however it ends."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from filelock import FileLock, Timeout

from ctbench_core.errors import CtbenchError, InputError, Interrupted
from ctbench_core.runs.layout import RunPaths
from ctbench_core.runs.status import Status, now, write_status
from ctbench_core.runs.stop_requests import is_stop_requested, withdraw_stop

# Status writes are flushed to the disk; at most two a second leave the training undisturbed.
WRITE_EVERY_S = 0.5
HEARTBEAT_EVERY_S = 5.0
LOOK_EVERY_S = 0.5


class Recorder:
    """A context that marks a run running, renews its heartbeat, and records how it ended.

    An error inside the block marks the run ``failed`` with its text and goes on to the caller.
    """

    def __init__(self, paths: RunPaths, status: Status) -> None:
        self.paths, self.status = paths, status
        self._written_at = self._looked_at = 0.0
        # Held while the run is at work; the system lets go of it when the process dies.
        self._lock = FileLock(paths.root / ".lock")

    def __enter__(self) -> Recorder:
        """Mark the run running.

        Raises:
            InputError: another process trains it.
        """
        try:
            self._lock.acquire(blocking=False)
        except Timeout as error:
            raise InputError(
                f"{self.paths.root} is being trained by another process. Wait for it, or stop it there."
            ) from error
        self._write(state="running", error=None, started=now(), started_epoch=self.status.epoch)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._record(error)
            with contextlib.suppress(OSError):
                withdraw_stop(self.paths.root)
        finally:
            self._lock.release()

    def _record(self, error: BaseException | None) -> None:
        if error is None:
            return
        state = "cancelled" if isinstance(error, (Interrupted, KeyboardInterrupt)) else "failed"
        text = str(error) if isinstance(error, CtbenchError) else f"{type(error).__name__}: {error}"
        # A full disk may refuse this write too; the run then reads as interrupted, which is true.
        with contextlib.suppress(OSError):
            self._write(state=state, error=text)

    def epoch(self, epoch: int, best_epoch: int | None = None) -> None:
        """Note the epoch just ended."""
        self._note(WRITE_EVERY_S, epoch=epoch, best_epoch=best_epoch)

    def stopping(self, asked: Callable[[], bool]) -> Callable[[], bool]:
        """Wrap a stop question so that asking it renews the heartbeat and shows ``cancelling``.

        What another process asked for counts too: see `requests`.
        """

        def stop() -> bool:
            if asked() or self._asked_from_elsewhere():
                if self.status.state == "running":
                    self._write(state="cancelling")
                return True
            self._note(HEARTBEAT_EVERY_S)
            return False

        return stop

    def _asked_from_elsewhere(self) -> bool:
        if self.status.state == "cancelling":
            return True
        if time.monotonic() - self._looked_at < LOOK_EVERY_S:
            return False
        self._looked_at = time.monotonic()
        return is_stop_requested(self.paths.root, self.status)

    def end(self, state: str, **changes: Any) -> None:
        """Write the final state."""
        self._write(state=state, **changes)

    def _note(self, every_s: float, **changes: Any) -> None:
        self.status = dataclasses.replace(self.status, **changes)
        if time.monotonic() - self._written_at >= every_s:
            self._write()

    def _write(self, **changes: Any) -> None:
        self.status = write_status(self.paths.status, self.status, **changes)
        self._written_at = time.monotonic()
