"""Open the executor that the options name, and close it and its workers afterwards."""

from __future__ import annotations

import contextlib
import importlib.util
import threading
from collections.abc import Iterator
from pathlib import Path

from ctbench_core.errors import ConfigError
from ctbench_core.executors.here import Here
from ctbench_core.executors.options import SYSTEMS, ClusterOptions
from ctbench_core.executors.task import Executor
from ctbench_core.progress import Progress, silent

INSTALL = "pip install 'ctbench[cluster]'"


def has_dask(options: ClusterOptions | None = None) -> bool:
    """Whether the packages are installed that workers, or the cluster of the options, need."""
    packages = ["distributed", "cryptography"]
    packages += ["dask_jobqueue"] if options is not None and options.cluster in SYSTEMS else []
    return all(importlib.util.find_spec(package) for package in packages)


def require_dask(options: ClusterOptions) -> None:
    """Refuse options that need packages which are not installed.

    Raises:
        ConfigError: they are missing.
    """
    if not options.is_here and not has_dask(options):
        flag = "--cluster" if options.cluster else "--workers"
        raise ConfigError(f"{flag} needs Dask: {INSTALL}. Without it, --shard shares a study among processes.")


@contextlib.contextmanager
def open_executor(
    options: ClusterOptions,
    folder: Path,
    *,
    cancel: threading.Event | None = None,
    progress: Progress = silent,
    trains: bool = True,
) -> Iterator[Executor]:
    """Open the executor of a study, a search or a packed store in a folder.

    Args:
        cancel: stops the task of an executor in this process, and the wait for the first worker.
        progress: follows that task, and the start of workers.
        trains: the tasks train; workers that only read and write begin without torch and without a GPU.

    Raises:
        ConfigError: packages are missing. RunError: the workers cannot start, or the scheduler does not answer.
    """
    if options.is_here:
        yield Here(cancel, progress)
        return
    require_dask(options)
    from ctbench_core.executors.dask_executor import open_dask

    with open_dask(options, folder, progress, cancel, trains) as executor:
        yield executor
