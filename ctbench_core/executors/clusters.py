"""Start the scheduler and workers that the options ask for, or connect to a scheduler that runs already.

Every scheduler that is started here speaks TLS with credentials of this start alone, on the loopback address unless a
queueing system's nodes must reach it: a Dask scheduler runs what it is sent, and other users share login nodes.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import psutil
from distributed import Client, Nanny, Scheduler, Security, SpecCluster

from ctbench_core.errors import RunError
from ctbench_core.executors.options import ClusterOptions
from ctbench_core.executors.worker import SLOT

LOOPBACK = "127.0.0.1"
ANSWER_S = 20.0
# Memory is the concern of the machine and its queueing system: mapped features count as a process's memory for Dask,
# which would end the worker. A task that lost its worker is sent again by `dask_executor`, to one that has nothing to do:
# Dask would let it wait behind the task of another.
SETTINGS = {
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": False,
    "distributed.nanny.pre-spawn-environ": {},
    "distributed.scheduler.allowed-failures": 0,
    "distributed.admin.large-graph-warning-threshold": "1GB",
}


@contextlib.contextmanager
def open_client(options: ClusterOptions, folder: Path, trains: bool = True) -> Iterator[tuple[Client, Any]]:
    """Yield a client, and its cluster where one was started here; close both afterwards.

    Args:
        trains: the tasks train: each worker of this machine has a GPU of its own.

    Raises:
        ConfigError: the queueing system's jobs cannot be described. RunError: nothing answers.
    """
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    with contextlib.ExitStack() as stack:
        stack.enter_context(dask.config.set(SETTINGS))
        cluster: Any = None
        if options.is_address:
            client = _connect(options)
        else:
            cluster = _start(options, folder, trains)
            stack.callback(_close, cluster)
            client = Client(cluster, timeout=ANSWER_S)
        stack.enter_context(contextlib.closing(client))
        yield client, cluster


def _close(cluster: Any) -> None:
    """Close a cluster; Dask asserts that every job has started, also after the queue has refused one."""
    with contextlib.suppress(AssertionError, RuntimeError, OSError, TimeoutError):
        cluster.close()
    if credentials := getattr(cluster, "shared_temp_directory", None):
        shutil.rmtree(credentials, ignore_errors=True)


def _connect(options: ClusterOptions) -> Client:
    try:
        return Client(options.cluster, timeout=ANSWER_S, security=Security())
    except (OSError, TimeoutError, RuntimeError, TypeError, ValueError) as error:
        advice = "Start it, or correct --cluster."
        if options.cluster.startswith("tls://"):
            advice += " The certificates are those of Dask's configuration (distributed.comm.tls)."
        raise RunError(f"The Dask scheduler at {options.cluster} does not answer: {error}. {advice}") from error


def _start(options: ClusterOptions, folder: Path, trains: bool) -> Any:
    if options.cluster:
        from ctbench_core.executors.queueing import start_jobs

        return start_jobs(options, folder)
    return _start_here(options, visible_gpus() if trains else [])


def _start_here(options: ClusterOptions, gpus: list[str]) -> SpecCluster:
    """Start a scheduler and workers on this machine, reached from it alone."""
    threads = threads_of(options)
    security = Security.temporary()
    common = {"host": LOOPBACK, "protocol": "tls://", "security": security}
    scheduler = {"cls": Scheduler, "options": {**common, "dashboard": True, "dashboard_address": f"{LOOPBACK}:0"}}

    def worker(number: int) -> dict[str, Any]:
        limits = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))
        gpu = {"CUDA_VISIBLE_DEVICES": gpus[number % len(gpus)]} if gpus else {}
        own = {"nthreads": 1, "resources": {SLOT: 1}, "memory_limit": 0, "env": limits | gpu}
        page = {"dashboard": False, "dashboard_address": f"{LOOPBACK}:0"}
        return {"cls": Nanny, "options": {**common, **own, **page, "silence_logs": logging.CRITICAL}}

    return SpecCluster(
        workers={number: worker(number) for number in range(options.workers)},
        scheduler=scheduler,
        security=security,
        silence_logs=logging.CRITICAL,
        name="ctbench",
    )


def threads_of(options: ClusterOptions) -> int | None:
    """Return the threads of a worker's arithmetic: as asked, or a share of this machine; None where Dask decides."""
    if (asked := options.number("threads")) is not None:
        return asked
    if options.cluster:
        return None
    return max(1, _cores() // options.workers)


def _cores() -> int:
    """Return the cores that this process may use."""
    with contextlib.suppress(AttributeError):  # macOS has no affinity
        return len(psutil.Process().cpu_affinity())
    return os.cpu_count() or 1


def visible_gpus() -> list[str]:
    """Return the GPUs of this machine that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    if (given := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [part for part in given.split(",") if part and part != "-1"]
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]
