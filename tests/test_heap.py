"""A long-lived process gives back what it has freed, and holds few arenas."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="glibc alone is asked")
_PROGRAM = """
import sys, threading
from pathlib import Path
from ctbench_core import heap

def resident():
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024

def arenas():  # each maps 64 MiB at a multiple of them, apart from the first
    starts = [int(line.partition("-")[0], 16) for line in Path("/proc/self/maps").read_text().splitlines()]
    return sum(start % (64 << 20) == 0 for start in starts)

if sys.argv[1] == "limited":
    heap.limit_arenas()
before = arenas()
barrier = threading.Barrier(8)

def allocate():
    barrier.wait()
    pieces = [bytearray(100_000) for _ in range(40)]
    barrier.wait()

threads = [threading.Thread(target=allocate) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
made = arenas() - before
pieces = [bytearray(60_000) for _ in range(2_000)]
last = bytearray(60_000)  # after the others: without a trim they stay
del pieces
held = resident()
heap.trim_heap()
print(made, held - resident())
"""


def _run(form: str) -> tuple[int, float]:
    """Return how many arenas eight threads made, and how many MiB a trim gave back."""
    done = subprocess.run([sys.executable, "-c", _PROGRAM, form], capture_output=True, text=True, check=True)
    made, freed = done.stdout.split()
    return int(made), float(freed)


@_LINUX
def test_threads_share_two_arenas_and_freed_memory_is_returned() -> None:
    free, limited = _run("free"), _run("limited")
    assert limited[0] <= 1 < free[0]
    assert limited[1] > 80


def test_other_c_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from ctbench_core import heap

    monkeypatch.setattr(heap.sys, "platform", "win32")
    heap.limit_arenas()
    heap.trim_heap()


def test_the_app_keeps_its_path_and_limits_arenas_before_its_threads_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = pytest.importorskip("ctbench_ui.app")
    steps: list[str] = []
    monkeypatch.setenv("CTBENCH_OUTPUTS", str(tmp_path / "outputs"))
    for module, name in ((app.late_redraws, "ignore"), (app.kept_downloads, "keep"), (app, "raise_file_limit")):
        monkeypatch.setattr(module, name, lambda: None)
    monkeypatch.setattr(app.import_path, "keep", lambda script: steps.append("path"))
    monkeypatch.setattr(app, "limit_arenas", lambda: steps.append("arenas"))
    monkeypatch.setattr(app.threading.Thread, "start", lambda thread: steps.append("thread"))
    kinds = {"get_meters": "thread", "get_runner": "job thread"}  # the latter waits for Train, since it loads torch
    for get, step in kinds.items():
        parts = SimpleNamespace(start=lambda step=step: steps.append(step), stop=lambda: None)
        monkeypatch.setattr(app, get, lambda parts=parts: parts)

    serving = app.lifespan(None)
    for step in (serving.__aenter__(), serving.__aexit__(None, None, None)):
        with contextlib.suppress(StopIteration):  # it waits for nothing; a browser's loop may run in this thread
            step.send(None)
    assert steps == ["path", "arenas", "thread", "thread"]
