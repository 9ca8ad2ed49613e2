"""What runs in a Dask worker: one task at a time on one bank slot, with fixed threads and one GPU.

Imported by workers and by the process that leads them, since it needs Dask.
"""

from __future__ import annotations

import os
import signal
import threading
from dataclasses import dataclass
from typing import Any

from distributed import Worker, WorkerPlugin, get_worker
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from ctbench_core.errors import CtbenchError
from ctbench_core.executors.task import Task
from ctbench_core.progress import silent

SLOT = "bank"  # the resource that a task takes: a worker has one, so that it trains one bank
PLUGIN = "ctbench"
LEAVE_S = 60.0  # before the end of a worker's lifetime, at most; a tenth of a shorter one
_MOST_THREADS = 1024


@dataclass(frozen=True)
class Failure:
    """An error that a user can act on, brought back as a value: Dask would try the task again."""

    error: CtbenchError


class Slots(WorkerPlugin):
    """Prepares a worker for tasks, and lets its task leave before the worker's lifetime ends.

    Args:
        threads: of a worker's arithmetic; None takes those that Dask gave it.
        is_local: workers of this machine end with the process that started them, not at its Ctrl+C.
        trains: the tasks train, so that torch is loaded before the worker counts as ready.
    """

    name = PLUGIN

    def __init__(self, threads: int | None, is_local: bool, trains: bool = True) -> None:
        self.threads, self.is_local, self.trains = threads, is_local, trains
        self.leaving = False
        self.tasks: dict[str, threading.Event] = {}

    async def setup(self, worker: Worker) -> None:
        """Give the worker its slot, its threads and its GPU."""
        if self.is_local and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        self.threads = self.threads or max(1, min(worker.state.nthreads, _MOST_THREADS))
        _choose_gpu(str(worker.name))
        threadpool_limits(self.threads)
        if self.trains:
            import ctbench_core.train.loop  # noqa: F401  # some seconds

        if SLOT not in worker.state.total_resources:
            await worker.set_resources(**{SLOT: 1})
        if worker.lifetime:
            leave_s = max(0.0, worker.lifetime - min(LEAVE_S, 0.1 * worker.lifetime))
            worker.loop.call_later(leave_s, self.leave, worker)

    async def leave(self, worker: Worker) -> None:
        """Take no more tasks, and let the present one save its state."""
        self.leaving = True
        self.stop()
        await worker.set_resources(**{SLOT: 0})

    def stop(self, prefix: str = "") -> None:
        """Let the tasks whose key begins with a prefix save their state and return."""
        for key, event in list(self.tasks.items()):
            if key.startswith(prefix):
                event.set()


def run_task(key: str, task: Task) -> Any:
    """Run a task in this worker, and return its value, or the error that a user can act on."""
    slots = _slots()
    stop = slots.tasks[key] = threading.Event()
    if slots.leaving:
        stop.set()
    try:
        if task.trains:
            from ctbench_core.train.loop import limit_threads

            limit_threads(slots.threads or 1)
        return task.function(*task.arguments, stop=stop, progress=silent)
    except CtbenchError as error:
        return Failure(error)
    finally:
        del slots.tasks[key]


def stop_tasks(prefix: str, dask_worker: Worker) -> None:
    """Let the tasks of one leading process stop in a worker."""
    plugin = dask_worker.plugins.get(PLUGIN)
    if isinstance(plugin, Slots):
        plugin.stop(prefix)


def describe(dask_worker: Worker) -> dict[str, Any]:
    """Return what a study shows of a worker."""
    from ctbench_core import __version__

    plugin = dask_worker.plugins.get(PLUGIN)
    tasks, threads = (list(plugin.tasks), plugin.threads) if isinstance(plugin, Slots) else ([], 0)
    return {
        "name": str(dask_worker.name),
        "host": _host(),
        "pid": os.getpid(),
        "threads": threads or 0,
        "gpu": os.environ.get("CUDA_VISIBLE_DEVICES", ""),
        "tasks": tasks,
        "version": __version__,
    }


def _slots() -> Slots:
    plugin = get_worker().plugins[PLUGIN]
    assert isinstance(plugin, Slots)
    return plugin


def _host() -> str:
    import socket

    return socket.gethostname()


def _choose_gpu(name: str) -> None:
    """Leave a worker one GPU of those of its job; processes of a job are named job-0, job-1 and so on."""
    visible = [part for part in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if part]
    number = name.rpartition("-")[2]
    if len(visible) > 1 and number.isdigit():
        os.environ["CUDA_VISIBLE_DEVICES"] = visible[int(number) % len(visible)]
