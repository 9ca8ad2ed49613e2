"""Run whole processes, and tell their seconds and the most memory that they held."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

_WATCH_S = 0.005


@dataclass(frozen=True)
class Outcome:
    """What a process took: seconds from start to end, peak resident memory in GiB, and its output."""

    seconds: float
    peak_gib: float
    output: str


def run(arguments: Sequence[str], folder: Path | None = None) -> Outcome:
    """Run Python with some arguments to its end.

    Raises:
        RuntimeError: it failed; with its output.
    """
    with tempfile.TemporaryFile() as file:
        started = time.perf_counter()
        process = subprocess.Popen([sys.executable, *arguments], stdout=file, stderr=subprocess.STDOUT, cwd=folder)
        peak = _wait(process)
        seconds = time.perf_counter() - started
        file.seek(0)
        output = file.read().decode("utf-8", "replace")
    if process.returncode:
        raise RuntimeError(f"{' '.join(arguments[:4])} ended with {process.returncode}:\n{output[-3000:]}")
    return Outcome(seconds, peak / 2**30, output)


def least(arguments: Sequence[str], times: int, folder: Path | None = None) -> Outcome:
    """Return the quickest of some runs: other work on the machine only adds to it."""
    return min((run(arguments, folder) for _ in range(times)), key=lambda one: one.seconds)


def _wait(process: subprocess.Popen[bytes]) -> float:
    """Wait until a process has ended; return its peak memory in bytes.

    Linux's `ru_maxrss` is not used: it begins with that of the process that started this one.
    """
    watched, status, peak = psutil.Process(process.pid), Path(f"/proc/{process.pid}/status"), 0.0
    while process.poll() is None:
        with contextlib.suppress(OSError, psutil.Error, StopIteration):
            if status.exists():
                line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
                peak = float(line.split()[1]) * 1024
            else:
                peak = max(peak, watched.memory_info().rss)
        time.sleep(_WATCH_S)
    return peak
