"""Define what every executor takes and gives: a task, how it ended, and the methods that studies and searches call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Task:
    """A function of a module and its arguments, all small: a worker imports the one and receives the others.

    The function takes ``stop``, an event after which it saves its state and returns, and ``progress`` as well.

    Attributes:
        name: what a person reads, such as ``bank 3``.
        trains: it computes with torch, on the worker's threads.
    """

    name: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    trains: bool = True


@dataclass(frozen=True)
class Ended:
    """A task that returned, with its value."""

    task: Task
    value: Any


class Executor(Protocol):
    """Runs tasks, in any order and place.

    Attributes:
        kind: here, or dask.
        ready_s: seconds until its workers were ready.
    """

    kind: str
    ready_s: float

    @property
    def workers(self) -> int:
        """Return how many tasks it runs side by side."""
        ...

    @property
    def pending(self) -> int:
        """Return how many tasks have not ended."""
        ...

    def submit(self, task: Task) -> None:
        """Take a task."""
        ...

    def next(self, timeout_s: float) -> Ended | None:
        """Return the next task that ended; None when none did in time.

        Raises:
            CtbenchError: a task raised it, or the workers are lost for good.
        """
        ...

    def stop(self) -> None:
        """Drop the tasks that wait, and let those at work save their state and return."""
        ...
