"""Experiment trackers: where a run's figures also go. The run directory stays the truth.

A tracker is told of every epoch and of the end. What it is told is sent by a thread of its own, so that a slow or
absent server never holds a training up; a missing package or a server that does not answer is a warning.
To add one, write a `Service` and name it in `SERVICES`.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

from ctbench_core.config import Config
from ctbench_core.runs.layout import RunPaths
from ctbench_core.runs.services import SERVICES, Service, problems

# How long the end of a run waits for what is still to be sent.
WAIT_S = 30.0
# A server that did not answer is not asked again for the next runs, for so long.
_SHUN_S = 300.0
_shunned: dict[str, tuple[float, str]] = {}


class Tracker:
    """The tracker of a run that has none: it sends nothing."""

    def __init__(self, warnings: Sequence[str] = ()) -> None:
        self._warnings = list(warnings)
        self.ended = False

    def epoch(self, line: dict[str, Any]) -> None:
        """Take the figures of an epoch: a line of ``metrics.jsonl``."""

    def end(self, result: dict[str, Any]) -> list[str]:
        """Take the final figures (the `train` JSON), send what is left, and return what went wrong."""
        self.ended = True
        return self._warnings


class _Sender(Tracker):
    """Sends to a service from a thread."""

    def __init__(self, name: str, service: Service) -> None:
        super().__init__()
        self._name, self._service = name, service
        self._given: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._result: dict[str, Any] = {}
        self._thread = threading.Thread(target=self._work, name=f"ctbench-{name}", daemon=True)
        self._thread.start()

    def epoch(self, line: dict[str, Any]) -> None:
        self._given.put(line)

    def end(self, result: dict[str, Any]) -> list[str]:
        self._result = result
        self._given.put(None)
        self._thread.join(WAIT_S)
        if self._thread.is_alive():
            self._shun(f"no answer within {WAIT_S:g} s")
        return super().end(result)

    def _work(self) -> None:
        try:
            self._service.open()
            while self._pass_on():
                pass
            self._service.end(self._result)
        except ImportError as error:
            self._warn(f"{error}. Install it with: pip install 'ctbench[{self._name}]'")
        except problems(self._service) as error:
            self._shun(str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__)

    def _pass_on(self) -> bool:
        """Send all that has come by now, at once; return whether more may come."""
        lines = [self._given.get()]
        while not self._given.empty():
            lines.append(self._given.get())
        told = [line for line in lines if line is not None]
        if told:
            self._service.epochs(told)
        return lines[-1] is not None

    def _shun(self, reason: str) -> None:
        _shunned[self._name] = time.monotonic(), reason
        self._warn(reason)

    def _warn(self, reason: str) -> None:
        self._warnings.append(f"The run is not tracked by {self._name}, or not to its end: {reason}")


@contextlib.contextmanager
def tracked(config: Config, paths: RunPaths) -> Iterator[Tracker]:
    """Yield the tracker that ``logging.logger_name`` names; when the block fails, it hears of that."""
    tracker = _open(config, paths)
    try:
        yield tracker
    finally:
        if not tracker.ended:
            tracker.end({"state": "failed"})


def _open(config: Config, paths: RunPaths) -> Tracker:
    given = config.logging.logger_name
    name = (given or "none").lower()
    if name in ("none", "null", "false"):
        return Tracker()
    if name not in SERVICES:
        known = ", ".join(SERVICES)
        return Tracker([f"Nothing is tracked: logging.logger_name is {given!r}. Known: {known}."])
    failed_at, reason = _shunned.get(name, (0.0, ""))
    if reason and time.monotonic() - failed_at < _SHUN_S:
        return Tracker([f"The run is not tracked by {name}, which failed a moment ago: {reason}"])
    return _Sender(name, SERVICES[name](config, paths))
