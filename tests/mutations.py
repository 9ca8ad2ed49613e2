"""Put small faults into a copy of the project, one at a time, and report which the tests of that room notice.

    python -m tests.mutations [NAME ...] [--room ROOM] [--workers 2] [--list]

A fault that no test notices is a gap: write the test, or say here why the fault changes nothing. Not collected by pytest
and not run in CI: all faults take most of an hour on two cores. The list is `tests/mutations.txt`.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")
PROJECT = Path(__file__).resolve().parents[1]
LIST = PROJECT / "tests" / "mutations.txt"
# Neither sources nor test data: an environment, caches, somebody's runs.
LEFT_OUT = shutil.ignore_patterns(".git", ".venv", "outputs", "__pycache__", ".*_cache", ".hypothesis")
TIMEOUT_S = 600
NOTICED, SURVIVED, STALE, BROKEN, SLOW = "noticed", "SURVIVED", "stale", "BROKEN", "timeout"


@dataclasses.dataclass(frozen=True)
class Fault:
    """One small fault: ``old`` occurs once in the file and becomes ``new``; ``tests`` should notice."""

    name: str
    file: str
    tests: tuple[str, ...]
    old: str
    new: str

    @property
    def room(self) -> str:
        """The folder or single module that holds the file."""
        return self.file.split("/")[1].removesuffix(".py")


def read_faults(text: str) -> list[Fault]:
    """Parse blocks of ``= name``, ``@ file``, ``? tests`` and lines ``- old`` and ``+ new``."""
    faults = []
    for block in re.split(r"\n(?==)", "\n" + text.strip()):
        parts: dict[str, list[str]] = {mark: [] for mark in "=@?-+"}
        for line in filter(None, block.splitlines()):
            if line[0] in parts:
                parts[line[0]].append(line[2:])
        if parts["="]:
            tests = tuple(" ".join(parts["?"]).split())
            faults.append(Fault(parts["="][0], parts["@"][0], tests, "\n".join(parts["-"]), "\n".join(parts["+"])))
    return faults


class Copy:
    """A copy of the project, in which one fault at a time is put and taken out again."""

    def __init__(self, folder: Path) -> None:
        self.root = Path(shutil.copytree(PROJECT, folder, ignore=LEFT_OUT))

    def try_fault(self, fault: Fault) -> str:
        """Return whether the fault's tests notice it."""
        path = self.root / fault.file
        source = path.read_text(encoding="utf-8") if path.is_file() else ""
        if source.count(fault.old) != 1 or fault.old == fault.new:
            return STALE
        try:
            self._write(path, source.replace(fault.old, fault.new))
            return {True: SURVIVED, False: NOTICED, None: SLOW}[self.passes(fault.tests)]
        finally:
            self._write(path, source)

    def _write(self, path: Path, source: str) -> None:
        """Write a source and delete its byte code, which Python would take for current within a second."""
        path.write_text(source, encoding="utf-8")
        for compiled in path.parent.glob(f"__pycache__/{path.stem}.*.pyc"):
            compiled.unlink()

    def passes(self, tests: tuple[str, ...]) -> bool | None:
        """Whether tests pass in the copy as it is; None if they take too long."""
        data = os.environ.get("CTBENCH_TEST_DATA", str(PROJECT.parent / "shared" / "data"))
        environment = {**os.environ, "PYTHONPATH": str(self.root), "OMP_NUM_THREADS": "1", "CTBENCH_TEST_DATA": data}
        words = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--no-header", *tests]
        try:
            ended = subprocess.run(
                words, cwd=self.root, env=environment, capture_output=True, timeout=TIMEOUT_S, check=False
            )
        except subprocess.TimeoutExpired:
            return None
        return ended.returncode == 0


def main() -> int:
    """Try the chosen faults and return 0 if the tests notice at least 95 % of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--room")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    faults = [
        fault
        for fault in read_faults(LIST.read_text(encoding="utf-8"))
        if (not options.names or fault.name in options.names) and options.room in (None, fault.room)
    ]
    if options.list or not faults:
        print("\n".join(f"{fault.room:12} {fault.name}" for fault in faults) or "No fault has this name or room.")
        return 0 if faults else 2
    started, outcomes = time.monotonic(), try_faults(faults, options.workers)
    by_outcome = {kind: [name for name, outcome in outcomes.items() if outcome == kind] for kind in outcomes.values()}
    print(f"{len(by_outcome.get(NOTICED, []))} of {len(faults)} noticed in {time.monotonic() - started:,.0f} s")
    for kind, names in by_outcome.items():
        if kind != NOTICED:
            print(f"{kind}: {', '.join(names)}")
    return int(len(by_outcome.get(NOTICED, [])) < 0.95 * len(faults))


def try_faults(faults: list[Fault], workers: int) -> dict[str, str]:
    """Return the outcome of each fault by its name, several copies at work side by side.

    Tests that fail without any fault prove nothing: they run once without one first, and their faults are broken.
    """
    outcomes: dict[str, str] = {}
    copies: SimpleQueue[Copy] = SimpleQueue()
    with tempfile.TemporaryDirectory(prefix="mutations-") as folder:
        for number in range(max(1, workers)):
            copies.put(Copy(Path(folder) / str(number)))

        def use_copy(work: Callable[[Copy], T]) -> T:
            copy = copies.get()
            try:
                return work(copy)
            finally:
                copies.put(copy)

        def try_one(fault: Fault) -> None:
            started = time.monotonic()
            outcomes[fault.name] = use_copy(lambda copy: copy.try_fault(fault)) if passing[fault.tests] else BROKEN
            seconds = f"{time.monotonic() - started:.0f} s"
            print(f"{outcomes[fault.name]:9} {fault.room:12} {fault.name} ({seconds})", flush=True)

        with ThreadPoolExecutor(max(1, workers)) as pool:
            distinct = list(dict.fromkeys(fault.tests for fault in faults))
            passing = dict(zip(distinct, pool.map(lambda tests: use_copy(lambda copy: copy.passes(tests)), distinct)))
            print(
                f"{sum(map(bool, passing.values()))} of {len(distinct)} groups of tests pass without a fault",
                flush=True,
            )
            list(pool.map(try_one, faults))
    return outcomes


if __name__ == "__main__":
    sys.exit(main())
