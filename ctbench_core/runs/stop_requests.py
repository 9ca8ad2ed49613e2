"""Ask a run to stop from anywhere: a file in its folder that the process which trains it looks for.

A second server, or a run started in a terminal, is stopped in good order this way; no process is signalled.
The request names the process that it is meant for, so that one left over by a crash stops no resumed run.
"""

from __future__ import annotations

from pathlib import Path

from ctbench_core.atomic import write_text
from ctbench_core.errors import RunError
from ctbench_core.runs.layout import RunPaths
from ctbench_core.runs.status import Status, read_status, write_status

FILE = "stop_request"


def request_stop(run_dir: Path) -> bool:
    """Ask whichever process has a run to stop it; return whether the run was waiting or at work.

    Raises:
        RunError: the folder holds no run, or cannot be written to.
    """
    path = RunPaths(run_dir).status
    status = read_status(path)
    try:
        if status.active:
            write_text(run_dir / FILE, _worker(status))
        if status.state == "queued":  # its process looks at it only when its turn comes
            write_status(path, status, state="cancelled")
    except OSError as error:
        raise RunError(f"{run_dir} cannot be asked to stop: {error}. Stop it where it was started.") from error
    return status.active


def is_stop_requested(run_dir: Path, status: Status) -> bool:
    """Whether someone has asked the process of ``status`` to stop the run."""
    try:
        return (run_dir / FILE).read_text(encoding="utf-8") == _worker(status)
    except OSError:
        return False


def withdraw_stop(run_dir: Path) -> None:
    """Forget that someone asked the run to stop."""
    (run_dir / FILE).unlink(missing_ok=True)


def _worker(status: Status) -> str:
    return f"{status.host} {status.pid} {status.process_started}"
