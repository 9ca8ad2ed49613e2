"""The flags that say where a study or search runs, and how it is started so that it outlives the terminal."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ctbench_core.cli.invocation import Call, Outcome
from ctbench_core.executors import ClusterOptions, parse_options, require_dask, write_options

LOG = "detached.log"
_detached: list[subprocess.Popen[bytes]] = []


def is_given(call: Call) -> bool:
    """Whether any of these flags is given."""
    given = call.options
    return given.workers is not None or bool(given.cluster or given.requests or given.detach)


def cluster_options(call: Call) -> ClusterOptions | None:
    """Return where the work runs, as the flags say; None where they say nothing.

    Raises:
        ConfigError: a flag has another form, or Dask is missing.
    """
    given = call.options
    if given.workers is None and not given.cluster and not given.requests:
        return None
    options = parse_options(given.workers, given.cluster, given.requests or ())
    require_dask(options)
    return options


def start_detached(verb: str, folder: Path, options: ClusterOptions | None, arguments: Sequence[str] = ()) -> Outcome:
    """Start a verb on a planned folder in a process of its own session; return where it writes its log."""
    if options is not None:
        write_options(folder, options)
    log = folder / LOG
    command = [sys.executable, "-m", "ctbench_core", verb, str(folder.resolve()), *arguments]
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=_environment(), **_own_session()
        )
    _detached.append(process)  # Python warns of a process that nobody waits for
    result = {"study_dir": str(folder), "pid": process.pid, "log": str(log)}
    text = f"Runs in the background as process {process.pid}. Its log: {log}. The page Studies follows and stops it."
    return Outcome(result, text)


def _environment() -> dict[str, str]:
    """Return the environment in which a new process finds this package from any folder, also where it is a clone."""
    paths = [str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def _own_session() -> dict[str, Any]:
    if sys.platform == "win32":
        return {"creationflags": subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}
