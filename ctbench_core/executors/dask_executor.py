"""Run tasks on Dask workers: begin those of lost workers again, and show where each runs."""

from __future__ import annotations

import contextlib
import importlib.util
import queue
import threading
import time
import uuid
from collections import Counter, deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from distributed import Client, Future, KilledWorker

from ctbench_core import __version__
from ctbench_core.errors import RunError
from ctbench_core.executors.clusters import open_client, threads_of
from ctbench_core.executors.options import ClusterOptions
from ctbench_core.executors.session_file import Session, Worker, remove_session, write_session
from ctbench_core.executors.task import Ended, Task
from ctbench_core.executors.worker import SLOT, Failure, Slots, describe, run_task, stop_tasks
from ctbench_core.formatting import plural
from ctbench_core.progress import Progress, silent

RETRIES = 2  # of a task that raises an error which is none of ours
LOST = 10  # workers that one task may lose in a row
_WATCH_S = 2.0
_SCALE_S = 5.0
_START_S = 120.0  # for the first worker of this machine
_STOP_S = 120.0  # for tasks at work to save their state


@contextlib.contextmanager
def open_dask(
    options: ClusterOptions,
    folder: Path,
    progress: Progress = silent,
    cancel: threading.Event | None = None,
    trains: bool = True,
) -> Iterator[DaskExecutor]:
    """Open the workers of a study in a folder, and close them afterwards.

    Args:
        cancel: set it to give up waiting for the first worker.
        trains: the tasks train: workers have torch, and each a GPU, before they are ready.

    Raises:
        RunError: the scheduler or the workers do not answer, or are of another version.
    """
    started = time.monotonic()
    with open_client(options, folder, trains) as (client, cluster):
        executor = DaskExecutor(options, folder, client, cluster, trains)
        try:
            executor.wait_for_workers(progress, cancel or threading.Event())
            executor.ready_s = time.monotonic() - started
            yield executor
        finally:
            executor.close()


class DaskExecutor:
    """Tasks on the workers of one client; see `Executor`."""

    kind = "dask"

    def __init__(self, options: ClusterOptions, folder: Path, client: Client, cluster: Any, trains: bool) -> None:
        self._options, self._folder, self._client, self._cluster = options, folder, client, cluster
        self._session = uuid.uuid4().hex[:12]
        self._waiting: deque[Task] = deque()
        self._futures: dict[str, tuple[Future, Task]] = {}
        self._ended: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._retries: Counter[str] = Counter()
        self._number, self._watched_at, self._scaled_at = 0, 0.0, 0.0
        self.ready_s = 0.0
        self._scheduler = self._scheduler_id()
        is_local = not options.cluster
        client.register_plugin(Slots(threads_of(options), is_local, trains))

    @property
    def workers(self) -> int:
        """Return how many workers were asked for, or those that the scheduler has."""
        return self._options.workers or max(1, len(self._scheduler_info()))

    @property
    def pending(self) -> int:
        """Return how many tasks have not ended."""
        return len(self._futures) + len(self._waiting)

    def wait_for_workers(self, progress: Progress, cancel: threading.Event) -> None:
        """Wait for the first worker, and on this machine for all; a queue may take hours."""
        wanted = max(1, self._options.workers if not self._options.cluster else 1)
        started = time.monotonic()
        while len(known := self._describe()) < wanted and not cancel.is_set():
            self._watch()
            progress("starting workers", len(known), wanted)
            if not self._options.cluster and time.monotonic() - started > _START_S:
                raise RunError(f"{plural(wanted - len(known), 'worker')} did not start within {_START_S:.0f} s.")
            if refused := self._refusal():
                raise RunError(
                    f"{self._options.cluster} refuses the job: {refused} Correct --with, or the site's options."
                )
            self._require_scheduler()
            time.sleep(0.1)
        other = sorted({worker["version"] for worker in known} - {__version__})
        if other:
            raise RunError(f"Workers have ctbench {other[0]}, this process {__version__}. Install one version on both.")
        self._watch()

    def _refusal(self) -> str:
        """Return why the queueing system refused a job."""
        return str(getattr(getattr(self._cluster, "job_cls", None), "refused", ""))

    def submit(self, task: Task) -> None:
        """Take a task; it is sent once a worker has nothing to do."""
        self._waiting.append(task)
        self._send()

    def _send(self) -> None:
        """Send as many tasks as there are workers; a task that Dask held ready for a busy one would wait there."""
        slots = sum(int(known["resources"].get(SLOT, 0)) for known in self._scheduler_info().values())
        while self._waiting and len(self._futures) < slots:
            task = self._waiting.popleft()
            self._number += 1  # each sending has a key of its own, since the files say what is done
            key = f"{self._session}-{task.name.replace(' ', '-')}-{self._number}"
            future = self._client.submit(run_task, key, task, key=key, pure=False, retries=RETRIES, resources={SLOT: 1})
            self._futures[key] = future, task
            future.add_done_callback(lambda ended: self._ended.put(ended.key))

    def next(self, timeout_s: float) -> Ended | None:
        """Return the next task that ended; a task that lost its worker is sent again."""
        self._watch()
        if self._waiting:
            self._send()
        try:
            key = self._ended.get(timeout=timeout_s)
        except queue.Empty:
            self._require_scheduler()
            return None
        if key not in self._futures:
            return None
        future, task = self._futures.pop(key)
        value = self._result(future, task)
        if value is None:
            return None
        return Ended(task, value)

    def _result(self, future: Future, task: Task) -> Any:
        """Return the value of an ended task; None where it was sent again."""
        if future.status == "finished":
            value = future.result()
            if isinstance(value, Failure):
                raise value.error
            return value
        self._require_scheduler()
        error = future.exception() if future.status == "error" else None
        if error is not None and not isinstance(error, KilledWorker):
            raise RunError(f"{task.name} failed on its worker: {type(error).__name__}: {error}") from error
        self._retries[task.name] += 1
        if self._retries[task.name] > LOST:
            raise RunError(
                f"{task.name} lost its worker {plural(self._retries[task.name], 'time')}. Often the memory of the worker "
                "does not suffice: see the logs of its job, ask for more (--with mem=), or lower training.batch_size."
            )
        self.submit(task)
        return None

    def stop(self) -> None:
        """Drop the tasks that wait, and wait until those at work have saved their state."""
        self._waiting.clear()
        with contextlib.suppress(OSError, TimeoutError, RuntimeError):
            self._client.cancel([future for future, _ in self._futures.values()])
            until = time.monotonic() + _STOP_S
            while time.monotonic() < until and self._is_at_work():
                self._client.run(stop_tasks, self._session, on_error="ignore")
                time.sleep(0.2)
        self._futures.clear()

    def _is_at_work(self) -> bool:
        return any(key.startswith(self._session) for worker in self._describe() for key in worker["tasks"])

    def close(self) -> None:
        """Stop what is at work."""
        if self._futures:
            self.stop()
        remove_session(self._folder)

    def _require_scheduler(self) -> None:
        """Raise when the scheduler is gone; finished runs stay, and begun ones have their checkpoints.

        A client goes over to another one at the same address by itself, which knows neither the tasks nor the workers'
        slots.
        """
        if self._client.status != "running" or self._scheduler_id() != self._scheduler:
            place = self._options.cluster or "this machine"
            raise RunError(
                f"The Dask scheduler of {place} is gone. Finished runs stay: start the scheduler, then run the same again."
            )

    def _scale(self) -> None:
        """Ask the queueing system for the jobs that have ended meanwhile."""
        if self._options.cluster and self._cluster is not None and time.monotonic() - self._scaled_at > _SCALE_S:
            self._scaled_at = time.monotonic()
            self._cluster.scale(self._options.workers)

    def _scheduler_id(self) -> str:
        return str(self._client.scheduler_info(n_workers=0).get("id", ""))

    def _scheduler_info(self) -> dict[str, Any]:
        return dict(self._client.scheduler_info(n_workers=-1).get("workers", {}))

    def _describe(self) -> list[dict[str, Any]]:
        with contextlib.suppress(OSError, TimeoutError):
            return list(self._client.run(describe, on_error="ignore").values())
        return []

    def _watch(self) -> None:
        """Write the workers for the page, and replace jobs that have ended."""
        if time.monotonic() - self._watched_at < _WATCH_S:
            return
        self._watched_at = time.monotonic()
        self._scale()
        workers = [
            Worker(known["name"], known["host"], known["pid"], known["threads"], known["gpu"], self._task_of(known))
            for known in self._describe()
        ]
        session = Session(
            str(getattr(self._client.scheduler, "address", "")),
            self._pages(),
            self._options.workers or len(workers),
            sorted(workers, key=lambda worker: worker.name),
            dict(self._retries),
        )
        with contextlib.suppress(OSError):  # a full disk must not end the training
            write_session(self._folder, session)

    def _pages(self) -> str:
        """Return the address of the scheduler's pages; without Bokeh it has the plain ones."""
        link = str(self._client.dashboard_link or "")
        return link if importlib.util.find_spec("bokeh") else link.replace("/status", "/info/main/workers.html")

    def _task_of(self, known: dict[str, Any]) -> str:
        names = [self._futures[key][1].name for key in known["tasks"] if key in self._futures]
        return names[0] if names else ""
