"""Training in a background thread: one queue a process, first come, first trained.

The run directory is the truth: whatever this module knows can be lost, and a page rebuilds its view
from the store. It lives in a plain module, not in a cache that a user can clear.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ctbench_core.config import Config
from ctbench_core.errors import CtbenchError
from ctbench_core.experiment import queue_run, run_experiment
from ctbench_core.runs import (
    RunPaths,
    check_resumable,
    is_stop_requested,
    new_status,
    open_run,
    read_status,
    request_stop,
    withdraw_stop,
    write_status,
)

log = logging.getLogger(__name__)

Work = Callable[[threading.Event], object]


@dataclass
class Job:
    """One run, study or alignment in the queue: its folder, and what does it; ``cancel`` asks to stop after the present batch."""

    run_dir: Path
    work: Work
    cancel: threading.Event = field(default_factory=threading.Event)
    done: threading.Event = field(default_factory=threading.Event)


class JobRunner:
    """A queue of runs and the one thread that works them off."""

    def __init__(self) -> None:
        self._jobs: deque[Job] = deque()
        self._active: Job | None = None
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._stopping = False

    def start(self) -> None:
        """Start the worker thread, unless it runs already."""
        with self._changed:
            self._stopping = False
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._work, name="ctbench-jobs", daemon=True)
                self._thread.start()

    def stop(self, timeout: float = 30.0) -> None:
        """Cancel the active run, leave the queue, and wait for the thread to end."""
        with self._changed:
            self._stopping = True
            if self._active is not None:
                self._active.cancel.set()
            self._changed.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join(timeout)

    def submit(self, config: Config) -> Path:
        """Queue a new run and return its directory.

        Raises:
            InputError: the run directory cannot be made.
        """
        run_dir = queue_run(config)
        return self._enqueue(Job(run_dir, _training(config, run_dir)))

    def submit_work(self, folder: Path, work: Work) -> Path:
        """Queue work that keeps its own state in a folder, a study or an alignment; nothing when it is queued already."""
        with self._changed:
            known = self._find(Path(folder))
        return Path(folder) if known else self._enqueue(Job(Path(folder), work))

    def resume(self, run_dir: Path) -> Path:
        """Queue an interrupted, cancelled or failed run again.

        Raises:
            InputError: the run is in no state to be resumed, or has no checkpoint to go on from.
        """
        run = open_run(run_dir)
        check_resumable(run)
        queue_run(run.config, run_dir, run.status)
        return self._enqueue(Job(Path(run_dir), _training(run.config, Path(run_dir), resume=True)))

    def _enqueue(self, job: Job) -> Path:
        with self._changed:
            self._jobs.append(job)
            self._changed.notify_all()
        self.start()
        return job.run_dir

    def cancel(self, run_dir: Path) -> bool:
        """Ask a run to stop, also one that another process trains; return whether there was one to stop.

        Raises:
            RunError: the run's files cannot be read or written.
        """
        with self._changed:
            job = self._find(Path(run_dir))
            if job is None:
                return RunPaths(Path(run_dir)).status.is_file() and request_stop(Path(run_dir))
            job.cancel.set()
            if job is not self._active:
                self._jobs.remove(job)
                if RunPaths(job.run_dir).status.is_file():  # a study has none of its own
                    path = open_run(job.run_dir).paths.status
                    write_status(path, read_status(path), state="cancelled")
                job.done.set()
        return True

    def move_up(self, run_dir: Path) -> bool:
        """Let a waiting run change places with the one before it; return whether it moved."""
        with self._changed:
            place = next((i for i, job in enumerate(self._jobs) if job.run_dir == Path(run_dir)), 0)
            if place:
                self._jobs[place - 1], self._jobs[place] = self._jobs[place], self._jobs[place - 1]
        return place > 0

    def wait(self, run_dir: Path, timeout: float | None = None) -> bool:
        """Wait until a run of this process has ended; True when it has."""
        with self._changed:
            job = self._find(Path(run_dir))
        return job is None or job.done.wait(timeout)

    def active(self) -> Path | None:
        """Return the directory of the run at work."""
        active = self._active
        return active.run_dir if active else None

    def queued(self) -> list[Path]:
        """Return the directories of the waiting runs, next first."""
        with self._changed:
            return [job.run_dir for job in self._jobs if not _is_unwanted(job)]

    def _find(self, run_dir: Path) -> Job | None:
        jobs = [self._active, *self._jobs] if self._active else list(self._jobs)
        return next((job for job in jobs if job and job.run_dir == run_dir), None)

    def _work(self) -> None:
        _leave_a_core_to_the_pages()
        while (job := self._next()) is not None:
            try:
                if not self._is_taken_back(job):
                    job.work(job.cancel)
            except CtbenchError as error:
                log.warning("%s: %s", job.run_dir.name, error)  # its status.json says the same
            except (
                ArithmeticError,
                AttributeError,
                ImportError,
                LookupError,
                OSError,
                RuntimeError,
                TypeError,
                ValueError,
            ):
                log.exception("%s failed unexpectedly", job.run_dir.name)  # the queue goes on
            finally:
                with self._changed:
                    self._active = None
                job.done.set()

    def _next(self) -> Job | None:
        with self._changed:
            while not self._jobs and not self._stopping:
                self._changed.wait()
            if self._stopping:
                return None
            self._active = self._jobs.popleft()
            return self._active

    @staticmethod
    def _is_taken_back(job: Job) -> bool:
        """Whether another process took the run back while it waited; its request is cleared then."""
        taken_back = _is_unwanted(job)
        if taken_back:
            withdraw_stop(job.run_dir)
        return taken_back


def _training(config: Config, run_dir: Path, resume: bool = False) -> Work:
    return lambda cancel: run_experiment(config, run_dir=run_dir, resume=resume, cancel=cancel)


def _is_unwanted(job: Job) -> bool:
    return is_stop_requested(job.run_dir, new_status(""))


def _leave_a_core_to_the_pages() -> None:
    """Cap tensor threads: with every core busy, a page takes half as long again to draw."""
    from ctbench_core.train.loop import limit_threads

    limit_threads((os.cpu_count() or 2) - 1)


_runner = JobRunner()


def get_runner() -> JobRunner:
    """Return this process's runner."""
    return _runner
