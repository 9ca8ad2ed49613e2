"""Processes that read files for this one; each thread that asks has its own."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from array import array
from collections.abc import Sequence
from types import TracebackType
from typing import Any

import numpy as np

from ctbench_core.features import courier

# Starting a courier costs as much as reading some thousands of files here.
MANY_FILES = 8_000

_PIPE_BYTES = 2**20


class Couriers:
    """Carries files through processes of its own, or reads them here when there are few.

    A courier that cannot start, or dies, is done without: its files are read here.
    """

    def __init__(self, files: int) -> None:
        self._wanted = files >= MANY_FILES and (os.cpu_count() or 1) > 1
        self._mine = threading.local()
        self._started: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Couriers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._started:
            process.kill()
            with contextlib.suppress(OSError):  # what was still to be sent, to a process now gone
                process.communicate()

    def collect(self, paths: Sequence[str]) -> tuple[array[int], bytes]:
        """Read files whole, as `courier.collect` does."""
        process = self._process() if self._wanted else None
        if process is not None:
            try:
                return _ask(process, paths)
            except (OSError, ValueError, EOFError):
                self._mine.process = None
        return courier.collect(paths)

    def _process(self) -> subprocess.Popen[bytes] | None:
        if not hasattr(self._mine, "process"):
            self._mine.process = _start()
            if self._mine.process is not None:
                self._started.append(self._mine.process)
        return self._mine.process


def _start() -> subprocess.Popen[bytes] | None:
    command = [sys.executable, "-I", "-S", "-X", "utf8", courier.__file__]
    options: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    if sys.platform == "linux":
        # A pipe of the usual 64 KiB would wake both sides for every 30 files.
        options["pipesize"] = _PIPE_BYTES
    if sys.platform == "win32":
        options["creationflags"] = subprocess.CREATE_NO_WINDOW
    try:
        return subprocess.Popen(command, **options)
    except OSError:
        return None


def _ask(process: subprocess.Popen[bytes], paths: Sequence[str]) -> tuple[array[int], bytes]:
    assert process.stdin is not None
    assert process.stdout is not None
    asked = os.fsencode("\0".join(paths))
    if asked.count(b"\0") != len(paths) - 1:
        raise ValueError("a path holds NUL")
    process.stdin.write(len(asked).to_bytes(8, "little") + asked)
    process.stdin.flush()
    facts = array("q", _exactly(process, 24 * len(paths)))
    sizes = np.frombuffer(facts, np.int64)[::3]
    return facts, _exactly(process, int(sizes[sizes > 0].sum()))


def _exactly(process: subprocess.Popen[bytes], size: int) -> bytes:
    assert process.stdout is not None
    content = process.stdout.read(size)
    if len(content) != size:
        raise EOFError
    return content
