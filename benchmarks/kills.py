"""Kill the work of every verb, start it again until it ends, and compare the results with those of work never killed.

``python -m benchmarks.kills [kills] [seed] [verb ...]``. Half of the kills fall at a random time, half at a random write: just before a
file is opened for writing, renamed, removed or a folder made. After each kill, everything that lists and pages read of
the store is read, and every file of other runs is compared; a reader also does so while the work goes on. Half of the killed
studies are also trained by a second process, which goes on.

- lost: a file of another run has changed, or a finished run of a study was trained again;
- unreadable: a run, a study or the ledger cannot be read, or something reads as active though its process is gone;
- blocked: the work, started again, does not end with exit code 0.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.works import WORKS, Ground, ask, fork, import_modules, memory_folder, unreadable, wait
from ctbench_core.runs import RunStore

KINDS = ("lost", "unreadable", "blocked", "differing", "left over")
Measurement = tuple[dict[str, str], float, int]  # results, seconds and number of writes
_MOST_KILLS = 6  # of one piece of work before it may end
_WRITES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "shutil.rmtree")


def count_writes(root: Path, at: Callable[[int], object]) -> None:
    """Call ``at`` with the number of each write below a folder by this process, just before it happens."""
    count, prefix = 0, str(root)

    def hear(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if event not in _WRITES and not (event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)):
            return
        if str(arguments[0]).startswith(prefix):
            count += 1
            at(count)

    sys.addaudithook(hear)


def kill_at(root: Path, number: int) -> None:
    """Kill this process just before a write."""
    count_writes(root, lambda count: os.kill(os.getpid(), signal.SIGKILL) if count == number else None)


def measure(ground: Ground, name: str) -> Measurement:
    """Do a work that is never killed; return its results, its seconds, and the number of its writes."""
    facts = ground.folder / "facts.json"

    def around(work: Callable[[], int]) -> int:
        numbers = [0]
        count_writes(ground.work, lambda count: numbers.__setitem__(0, count))
        code = work()
        facts.write_text(json.dumps([numbers[0], sorted(sys.modules)]))
        return code

    for _ in range(2):  # the first imports, the second is timed
        ground.reset()
        started = time.monotonic()
        assert wait(ground.start(name, around)) == 0, ground.log.read_text()
        seconds = time.monotonic() - started
        writes, modules = json.loads(facts.read_text())
        import_modules(modules)
    return ground.results(ground.works[name]), seconds, writes


class Reader:
    """Reads the store again and again in a fork, as lists and pages do, until it is stopped."""

    def __init__(self, ground: Ground) -> None:
        self._log = ground.folder / "reader.log"
        self._log.write_text("")
        self._pid = fork(lambda: self._read(ground.work), self._log)

    def _read(self, work: Path) -> int:
        while True:
            print(
                "\n".join(["read", *(fault for fault in unreadable(work) if "reads as active" not in fault)]),
                flush=True,
            )
            time.sleep(0.1)

    def stop(self) -> tuple[int, list[str]]:
        """Stop, and return how often the store was read and what could not be."""
        os.kill(self._pid, signal.SIGTERM)
        wait(self._pid)
        lines = self._log.read_text().splitlines()
        return lines.count("read"), [line for line in lines if line != "read"]


@dataclass
class Tally:
    """Counts over all work."""

    kills: Counter[str] = field(default_factory=Counter)
    rounds: int = 0
    reads: int = 0
    faults: dict[str, list[str]] = field(default_factory=lambda: {kind: [] for kind in KINDS})

    def note(self, kind: str, name: str, texts: Iterable[str]) -> None:
        """Note faults of a work."""
        for text in texts:
            print(f"{kind.upper()} by {name}: {text}", flush=True)
            self.faults[kind].append(f"{name}: {text}")


def kill_round(ground: Ground, name: str, whole: Measurement, draw: random.Random, most: int,
               tally: Tally) -> None:  # fmt: skip
    """Kill a work up to ``most`` times, let it end, and compare."""
    work, (results, seconds, writes) = WORKS[name], whole
    ground.reset()
    reader = Reader(ground)
    finished: dict[str, int] = {}
    for attempt in range(most + 1):
        how, beside = "time", None
        if name == "study" and attempt < most and draw.random() < 0.5:
            beside = ground.start(name)  # goes on when the other is killed, and may have its bank
        if attempt == most:
            code = wait(ground.start(name))
        elif draw.random() < 0.5:
            how, number = "write", draw.randint(1, writes)
            code = wait(ground.start(name, lambda verb: kill_at(ground.work, number) or verb()))  # noqa: B023
        else:
            pid = ground.start(name)
            time.sleep(draw.uniform(0, seconds))
            os.kill(pid, signal.SIGKILL)
            code = wait(pid)
        if beside is not None and (ended := wait(beside)):
            tally.note("blocked", f"{name} beside", [f"exit code {ended}: {ground.log.read_text()[-1500:]}"])
        before, finished = finished, ask(lambda: finished_runs(ground.work), ground.folder)
        tally.note("lost", name, [f"{run} was trained again" for run in before if before[run] != finished.get(run)])
        for kind, texts in ground.faults(work).items():
            tally.note(kind, name, texts)
        if code != -signal.SIGKILL:
            break
        tally.kills[f"{name}, at a {how}"] += 1
    if code:
        tally.note("blocked", name, [f"exit code {code}: {ground.log.read_text()[-1500:]}"])
    else:
        stored = ground.results(work)
        differing = sorted(path for path in results | stored if results.get(path) != stored.get(path))
        tally.note("differing", name, differing)
    left = [str(path.relative_to(ground.work)) for path in ground.work.rglob(".*.tmp")]
    tally.note("left over", name, left)
    reads, faults = reader.stop()
    tally.reads, tally.rounds = tally.reads + reads, tally.rounds + 1
    tally.note("unreadable", name, dict.fromkeys(faults))


def finished_runs(work: Path) -> dict[str, int]:
    """Return when each finished run of a study wrote its weights."""
    runs = [run for run in RunStore(work / "outputs").runs() if run.status.state == "finished" and run.job != "train"]
    return {run.run_id: run.paths.final_model.stat().st_mtime_ns for run in runs}


def main(kills: int = 300, seed: int = 0, names: Sequence[str] = tuple(WORKS)) -> Tally:
    """Kill each verb equally often."""
    tally, draw, started = Tally(), random.Random(seed), time.monotonic()
    with tempfile.TemporaryDirectory(dir=memory_folder()) as folder:
        ground = Ground(Path(folder))
        for place, name in enumerate(names):
            whole = measure(ground, name)
            print(f"{name}: {whole[1]:.1f} s, {whole[2]} writes, {len(whole[0])} results", flush=True)
            share = kills * (place + 1) // len(names)
            while tally.kills.total() < share:
                kill_round(
                    ground, name, whole, draw, min(draw.randint(1, _MOST_KILLS), share - tally.kills.total()), tally
                )
    counts = ", ".join(f"{len(texts)} {kind}" for kind, texts in tally.faults.items())
    print(f"{tally.kills.total()} kills in {tally.rounds} rounds and {time.monotonic() - started:.0f} s, seed {seed}: {counts}; "
          f"{tally.reads} reads meanwhile; {dict(tally.kills)}")  # fmt: skip
    return tally


if __name__ == "__main__":
    sys.exit(any(main(*map(int, sys.argv[1:3]), *([sys.argv[3:]] if sys.argv[3:] else [])).faults.values()))
