"""Run tasks in this process, one after the other."""

from __future__ import annotations

import threading
import time
from collections import deque

from ctbench_core.executors.task import Ended, Task
from ctbench_core.progress import Progress, silent


class Here:
    """The executor of this process; ``cancel`` stops the task at work, and ``progress`` follows it."""

    kind, workers, ready_s = "here", 1, 0.0

    def __init__(self, cancel: threading.Event | None = None, progress: Progress = silent) -> None:
        self._cancel, self._progress = cancel or threading.Event(), progress
        self._tasks: deque[Task] = deque()

    @property
    def pending(self) -> int:
        """Return how many tasks wait."""
        return len(self._tasks)

    def submit(self, task: Task) -> None:
        """Queue a task."""
        self._tasks.append(task)

    def next(self, timeout_s: float) -> Ended | None:
        """Run the first task to its end; wait when there is none."""
        if not self._tasks:
            time.sleep(timeout_s)
            return None
        task = self._tasks.popleft()

        def report(phase: str, done: int, total: int) -> None:
            self._progress(f"{task.name}, {phase}", done, total)

        return Ended(task, task.function(*task.arguments, stop=self._cancel, progress=report))

    def stop(self) -> None:
        """Drop the tasks that wait."""
        self._tasks.clear()
