"""Do every kind of work on a disk that becomes full, make room, do it again, and compare with a disk that never was.

``python -m benchmarks.full_disk [times a kind] [seed] [kind ...]``, on Linux as root: it mounts a small tmpfs of its own. In half of the
cases the disk has room for a random part of what the work writes; in the other half it becomes full just before the
n-th write. After each failure:

- lost, unreadable: as `benchmarks.kills` has it;
- unnamed: the exit code is not 1 or 2, the message does not name the disk, or there is a traceback, or a run says it failed of something else;
- blocked: with room, the same command does not end with exit code 0;
- differing: its results are others than those of work on a disk with room.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks.kills import Measurement, Tally, count_writes, measure
from benchmarks.works import PAGES, WORKS, Ground, ask, memory_folder, wait
from ctbench_core.runs import RunStore

SIZE = 16 * 2**20
_NAMED = "the disk is full"


@contextlib.contextmanager
def small_disk(size: int = SIZE) -> Iterator[Path]:
    """Mount a tmpfs of some bytes for the block and yield its folder.

    Raises:
        PermissionError: this user may not mount.
    """
    with tempfile.TemporaryDirectory(dir=memory_folder()) as folder:
        place = Path(folder) / "work"
        place.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
        if not shutil.which("mount") or subprocess.run(command, capture_output=True, check=False).returncode:
            raise PermissionError("Mounting a tmpfs needs Linux and root.")
        try:
            yield place
        finally:
            subprocess.run(["umount", "-l", str(place)], check=True)


def fill(file: int, room: int = 0) -> None:
    """Write to an open file until its disk has only some bytes left."""
    with contextlib.suppress(OSError):
        while (left := os.fstatvfs(file).f_bavail * os.fstatvfs(file).f_frsize - room) > 0:
            os.write(file, b"\0" * min(left, 2**20))


def used(place: Path) -> int:
    """Return how many bytes of a disk are in use."""
    return shutil.disk_usage(place).used


def need_of(ground: Ground, name: str) -> int:
    """Return how many bytes a work needs that has just been done."""
    after = used(ground.work)
    ground.reset()
    return max(after - used(ground.work), 2**16)  # what replaces a file needs room beside it


def fill_round(ground: Ground, name: str, whole: Measurement, need: int, draw: random.Random, tally: Tally) -> None:
    """Do a work on a disk that becomes full, then with room, and compare."""
    results, _, writes = whole
    ground.reset()
    work, ballast = ground.works[name], ground.work / "ballast"
    file = os.open(ballast, os.O_WRONLY | os.O_CREAT)
    if draw.random() < 0.5:
        how, around = "fill level", None
        fill(file, draw.randrange(max(1, need)))
        code = wait(ground.start(name))
    else:
        how, number = "write", draw.randint(1, writes)

        def around(verb: Callable[[], int]) -> int:
            count_writes(ground.work, lambda count: fill(file) if count == number else None)
            return verb()

        code = wait(ground.start(name, around))
    os.close(file)
    tally.kills[f"{name}, {how}{'' if code else ', done all the same'}"] += 1
    log = ground.log.read_text()
    if (code and (code not in (1, 2) or _NAMED not in log)) or "Traceback" in log:
        tally.note("unnamed", name, [f"exit code {code}, {how}: {log[-1500:]}"])
    tally.note("unnamed", name, ask(lambda: unnamed(ground.work), ground.folder))
    ballast.unlink()
    for kind, texts in ground.faults(work).items():
        tally.note(kind, name, texts)
    if code and (code := wait(ground.start(name))):
        tally.note("blocked", name, [f"exit code {code}: {ground.log.read_text()[-1500:]}"])
    else:
        stored = ground.results(work)
        tally.note("differing", name, sorted(p for p in results | stored if results.get(p) != stored.get(p)))
    tally.rounds += 1


def unnamed(work: Path) -> list[str]:
    """Return the failed runs whose status names no full disk."""
    runs = RunStore(work / "outputs").runs(kind=None)
    return [f"{run.run_id}: {run.status.error}" for run in runs
            if run.status.state == "failed" and _NAMED not in (run.status.error or "")]  # fmt: skip


def main(times: int = 20, seed: int = 0, names: Sequence[str] = (*WORKS, *PAGES)) -> Tally:
    """Fill the disk during each kind of work."""
    tally, draw, started = Tally(), random.Random(seed), time.monotonic()
    tally.faults["unnamed"] = []
    with small_disk() as place:
        ground = Ground(place.parent, place)
        for name in names:
            whole = measure(ground, name)
            need = need_of(ground, name)
            print(f"{name}: {whole[1]:.1f} s, {whole[2]} writes, {need:,} bytes", flush=True)
            for _ in range(times):
                fill_round(ground, name, whole, need, draw, tally)
    counts = ", ".join(f"{len(texts)} {kind}" for kind, texts in tally.faults.items())
    print(
        f"{tally.rounds} full disks in {time.monotonic() - started:.0f} s, seed {seed}: {counts}; {dict(tally.kills)}"
    )
    return tally


if __name__ == "__main__":
    try:
        sys.exit(any(main(*map(int, sys.argv[1:3]), *([sys.argv[3:]] if sys.argv[3:] else [])).faults.values()))
    except PermissionError as error:
        sys.exit(str(error))
