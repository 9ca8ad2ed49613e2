"""Train runs in background threads, one queue a process, in the order of submission.

One job runs at a time, or one on each GPU; ``CTBENCH_JOBS`` sets another number. A study or search that runs on workers
only waits for them here, so that it takes no place of the queue: it begins at once, beside the others.

Nothing is lost with the process, since the run directories hold the truth. The runner is a plain module variable:
Streamlit's cache can be cleared by a user.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ctbench_core.config import Config
from ctbench_core.errors import CtbenchError, InputError
from ctbench_core.experiment import queue_run, run_experiment
from ctbench_core.formatting import plural
from ctbench_core.heap import trim_heap
from ctbench_core.runs import (
    RunPaths,
    check_resumable,
    is_stop_requested,
    new_status,
    open_run,
    request_stop,
    withdraw_stop,
)

log = logging.getLogger(__name__)

MOST_WAITING = 200
JOBS = "CTBENCH_JOBS"

Work = Callable[[threading.Event], object]
_UNEXPECTED = (
    *(
        ArithmeticError,
        AttributeError,
        ImportError,
        LookupError,
        MemoryError,
        OSError,
        RuntimeError,
        TypeError,
        ValueError,
    ),
)


@dataclass
class Job:
    """One run, study or alignment in the queue; set ``cancel`` to stop it after the present batch.

    ``elsewhere``: other processes do the work.
    """

    run_dir: Path
    work: Work
    elsewhere: bool = False
    cancel: threading.Event = field(default_factory=threading.Event)
    done: threading.Event = field(default_factory=threading.Event)


class JobRunner:
    """A queue of runs and the threads that train them."""

    def __init__(self) -> None:
        self._jobs: deque[Job] = deque()
        self._active: list[Job] = []
        self._changed = threading.Condition()
        self._threads: dict[int, threading.Thread] = {}
        self._stopping = False

    def start(self) -> None:
        """Start the first thread if it is not running; it starts the others, since it knows the GPUs."""
        with self._changed:
            self._stopping = False
        self._start_thread(0)

    def _start_thread(self, place: int) -> None:
        with self._changed:
            present = self._threads.get(place)
            if present is None or not present.is_alive():
                name = f"ctbench-jobs-{place}"
                self._threads[place] = threading.Thread(target=self._work, args=(place,), name=name, daemon=True)
                self._threads[place].start()

    def stop(self, timeout: float = 30.0) -> None:
        """Cancel the active runs, leave the others queued, and wait for the threads to end."""
        with self._changed:
            self._stopping = True
            for job in self._active:
                job.cancel.set()
            self._changed.notify_all()
            threads, jobs = list(self._threads.values()), [job for job in self._active if job.elsewhere]
        until = time.monotonic() + timeout
        for wait in [*(thread.join for thread in threads), *(job.done.wait for job in jobs)]:
            wait(max(0.0, until - time.monotonic()))

    def submit(self, config: Config, started_by: str = "") -> Path:
        """Queue a new run of a user and return its directory.

        Raises:
            InputError: the run directory cannot be created, or `MOST_WAITING` jobs wait.
        """
        self.require_place()
        run_dir = queue_run(config, started_by=started_by)
        return self._enqueue(Job(run_dir, _training(config, run_dir)))

    def submit_work(self, folder: Path, work: Work, elsewhere: bool = False) -> Path:
        """Queue a study or an alignment, which keeps its own state in its folder, unless it is queued already.

        Args:
            elsewhere: workers do it: it begins at once.

        Raises:
            InputError: `MOST_WAITING` jobs wait.
        """
        folder = Path(folder)
        job = Job(folder, work, elsewhere)
        with self._changed:
            if self._find(folder):
                return folder
            if elsewhere:
                self._active.append(job)
        if not elsewhere:
            self.require_place()
            return self._enqueue(job)
        threading.Thread(target=self._run, args=(job,), name=f"ctbench-{folder.name}", daemon=True).start()
        return folder

    def resume(self, run_dir: Path, started_by: str = "") -> Path:
        """Queue an interrupted, cancelled or failed run again.

        Raises:
            InputError: the run's state, or a missing checkpoint, does not allow it, or `MOST_WAITING` jobs wait.
        """
        self.require_place()
        run = open_run(run_dir)
        check_resumable(run)
        queue_run(run.config, run_dir, run.status, started_by)
        return self._enqueue(Job(Path(run_dir), _training(run.config, Path(run_dir), resume=True)))

    def require_place(self) -> None:
        """Refuse another job while `MOST_WAITING` wait.

        Raises:
            InputError: they do.
        """
        if len(self._jobs) >= MOST_WAITING:
            raise InputError(
                f"The queue is full: {plural(len(self._jobs), 'job')}. Wait until some have ended, "
                "stop some on the Runs page, or train many runs as one study."
            )

    def _enqueue(self, job: Job) -> Path:
        with self._changed:
            self._jobs.append(job)
            self._changed.notify_all()
        self.start()
        return job.run_dir

    def cancel(self, run_dir: Path) -> bool:
        """Ask a run to stop, in this process or another; return whether it was waiting or running.

        Raises:
            RunError: the run's files cannot be read or written.
        """
        with self._changed:
            job = self._find(Path(run_dir))
            if job is None:
                return RunPaths(Path(run_dir)).status.is_file() and request_stop(Path(run_dir))
            job.cancel.set()
            if job not in self._active:
                self._jobs.remove(job)
                if RunPaths(job.run_dir).status.is_file():  # a study has no status file
                    request_stop(job.run_dir)
                    withdraw_stop(job.run_dir)
                job.done.set()
        return True

    def move_up(self, run_dir: Path) -> bool:
        """Move a waiting run one place forward; return whether it moved."""
        with self._changed:
            place = next((i for i, job in enumerate(self._jobs) if job.run_dir == Path(run_dir)), 0)
            if place:
                self._jobs[place - 1], self._jobs[place] = self._jobs[place], self._jobs[place - 1]
        return place > 0

    def wait(self, run_dir: Path, timeout: float | None = None) -> bool:
        """Wait until a run of this process has ended; return whether it has."""
        with self._changed:
            job = self._find(Path(run_dir))
        return job is None or job.done.wait(timeout)

    def active(self) -> list[Path]:
        """Return the directories of the jobs at work, the longest at work first."""
        with self._changed:
            return [job.run_dir for job in self._active]

    def has_place(self) -> bool:
        """Whether the next job would begin at once."""
        with self._changed:
            queued = [job for job in self._active if not job.elsewhere]
            return not self._jobs and (not queued or len(queued) < most_at_once())

    def queued(self) -> list[Path]:
        """Return the directories of the waiting runs, next first."""
        with self._changed:
            return [job.run_dir for job in self._jobs if not _is_withdrawn(job)]

    def _find(self, run_dir: Path) -> Job | None:
        return next((job for job in [*self._active, *self._jobs] if job.run_dir == run_dir), None)

    def _work(self, place: int) -> None:
        from ctbench_core.train.loop import limit_threads, use_gpu

        places = most_at_once()
        if place == 0:
            for other in range(1, places):
                self._start_thread(other)
        use_gpu(place)
        # With every core busy, a page takes half as long again to draw.
        limit_threads(((os.cpu_count() or 2) - 1) // places)
        while (job := self._next()) is not None:
            self._run(job)

    def _run(self, job: Job) -> None:
        try:
            if _is_withdrawn(job):
                withdraw_stop(job.run_dir)
            else:
                job.work(job.cancel)
        except CtbenchError as error:
            log.warning("%s: %s", job.run_dir.name, error)  # also in its status.json
        except _UNEXPECTED:
            log.exception("%s failed unexpectedly", job.run_dir.name)  # the queue goes on
        finally:
            with self._changed:
                self._active.remove(job)
            trim_heap()
            job.done.set()

    def _next(self) -> Job | None:
        with self._changed:
            while not self._jobs and not self._stopping:
                self._changed.wait()
            if self._stopping:
                return None
            job = self._jobs.popleft()
            self._active.append(job)
            return job


def most_at_once() -> int:
    """Return how many jobs run side by side: ``CTBENCH_JOBS``, or else one a GPU and at least one."""
    from ctbench_core.train.loop import gpu_count

    given = os.environ.get(JOBS, "")
    return int(given) if given.isdigit() and int(given) else max(1, gpu_count())


def _training(config: Config, run_dir: Path, resume: bool = False) -> Work:
    return lambda cancel: run_experiment(config, run_dir=run_dir, resume=resume, cancel=cancel)


def _is_withdrawn(job: Job) -> bool:
    """Whether another process asked to stop the run while it waited."""
    return is_stop_requested(job.run_dir, new_status(""))


_runner = JobRunner()


def get_runner() -> JobRunner:
    """Return this process's runner."""
    return _runner
