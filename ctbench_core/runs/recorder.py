"""Keep a run's ``status.json`` up to date from its start to its end, however it ends."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

from ctbench_core.errors import CtbenchError, DamagedFile, InputError, Interrupted, RunError, explained
from ctbench_core.runs.layout import RunPaths, gone, require_directory
from ctbench_core.runs.status import (
    Status,
    hold,
    is_own,
    is_stop_requested,
    now,
    owner_of,
    stored_status,
    withdraw_stop,
    write_status,
)

# Each write is flushed to the disk; two a second do not slow the training.
WRITE_EVERY_S = 0.5
HEARTBEAT_EVERY_S = 5.0
CHECK_EVERY_S = 0.5
# A heartbeat does not wait for a file that is held open, since the next one follows; the first and last states do.
BEAT_HELD_S = 1.0


class Recorder:
    """A context that marks a run running, renews its heartbeat, and records how it ended.

    An error inside the block marks the run ``failed`` with its text and is passed on.
    """

    def __init__(self, paths: RunPaths, status: Status) -> None:
        self.paths, self.status = paths, status
        self._written_at = self._checked_at = 0.0
        self._held = contextlib.ExitStack()

    def __enter__(self) -> Recorder:
        """Mark the run running.

        Raises:
            InputError: another process trains it, or has resumed it. Interrupted: it was stopped while it waited.
        """
        require_directory(self.paths)
        with contextlib.ExitStack() as held:
            stored = held.enter_context(hold(self.paths.status))
            if stored is not None and stored.state == "cancelled" and is_own(stored):
                raise Interrupted(f"{self.paths.root} was stopped while it waited.")
            if stored is not None and (stored.state != "queued" or not is_own(stored)):
                raise InputError(
                    f"{self.paths.root} is {stored.state} by {owner_of(stored)}: it was changed while it waited here."
                )
            self._write(state="running", error=None, started=now(), started_epoch=self.status.epoch)
            self._held = held.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is not None:
                self._record(error)
            with contextlib.suppress(OSError):
                withdraw_stop(self.paths.root)
        finally:
            self._held.close()

    def _record(self, error: BaseException) -> None:
        state = "cancelled" if isinstance(error, (Interrupted, KeyboardInterrupt)) else "failed"
        error = explained(error)
        text = str(error) if isinstance(error, CtbenchError) else f"{type(error).__name__}: {error}"
        # A full disk may refuse this write too, or the folder is gone; the run then reads as interrupted, which is true.
        with contextlib.suppress(OSError, RunError):
            self._write(state=state, error=text)

    def epoch(self, epoch: int, best_epoch: int | None = None, seconds: Mapping[str, float] | None = None) -> None:
        """Record the epoch that has just ended, and the seconds of each part of the run so far."""
        changes = {} if seconds is None else {"seconds": dict(seconds)}
        self._update(WRITE_EVERY_S, epoch=epoch, best_epoch=best_epoch, **changes)

    def stop_check(self, stop_requested: Callable[[], bool]) -> Callable[[], bool]:
        """Return a function that says whether to stop, renews the heartbeat, and shows ``cancelling``.

        It is true when ``stop_requested`` is, or when another process has written a stop request.
        """

        def stop() -> bool:
            if stop_requested() or self._has_stop_request():
                if self.status.state == "running":
                    self.status = dataclasses.replace(self.status, state="cancelling")
                    self._beat()
                return True
            self._update(HEARTBEAT_EVERY_S)
            return False

        return stop

    def _has_stop_request(self) -> bool:
        if self.status.state == "cancelling":
            return True
        if time.monotonic() - self._checked_at < CHECK_EVERY_S:
            return False
        self._checked_at = time.monotonic()
        return is_stop_requested(self.paths.root, self.status)

    def end(self, state: str, **changes: Any) -> None:
        """Write the final state."""
        self._write(state=state, **changes)

    def _update(self, every_s: float, **changes: Any) -> None:
        self.status = dataclasses.replace(self.status, **changes)
        if time.monotonic() - self._written_at >= every_s:
            self._beat()

    def _beat(self) -> None:
        """Renew the heartbeat; one that cannot be written does not end the training."""
        self._require_own()
        self._written_at = time.monotonic()
        with contextlib.suppress(OSError):
            self.status = write_status(self.paths.status, self.status, held_s=BEAT_HELD_S)

    def _write(self, **changes: Any) -> None:
        if self._written_at:
            self._require_own()
        self.status = write_status(self.paths.status, self.status, **changes)
        self._written_at = time.monotonic()

    def _require_own(self) -> None:
        """Refuse to write where the run is not this process's any more.

        Another process may have resumed it, where a lock did not keep that one out, or its folder was renamed.
        """
        with contextlib.suppress(DamagedFile):
            try:
                stored = stored_status(self.paths.status)
            except FileNotFoundError as error:
                # What was being saved while the folder was renamed may have made a new one.
                raise gone(self.paths) from error
            if not is_own(stored):
                raise RunError(
                    f"{self.paths.root} was resumed by {owner_of(stored)} while this process was stopped. It goes on there."
                )
