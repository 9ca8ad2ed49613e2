"""Two hosts try to claim the same bank of a study at the same moment, again and again: never may both have it.

    python -m benchmarks.claims [tries] [--locks on|off|local]

The hosts are UTS namespaces (as root, with `unshare`), else names. `--locks off` refuses file locks, as some network file
systems do; `local` keeps them within a host, as others do.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HOSTS = ("alpha", "beta")


def measure(tries: int, locks: str, folder: Path) -> dict[str, int]:
    """Return how often one, both and none of two hosts had a claim that both wanted."""
    workers = [_start(host, locks, folder) for host in HOSTS]
    counts = {"one": 0, "both": 0, "none": 0}
    for number in range(tries):
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.write(f"{number}\n")
            worker.stdin.flush()
        spans = [json.loads(worker.stdout.readline()) for worker in workers if worker.stdout is not None]
        held = [span for span in spans if span]
        both = len(held) == 2 and max(span[0] for span in held) < min(span[1] for span in held)
        counts["both" if both else "one" if held else "none"] += 1
    for worker in workers:
        worker.communicate(timeout=10)
    return counts


def _start(host: str, locks: str, folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks.claims", "--worker", host, locks, str(folder)]
    if os.name == "posix" and os.geteuid() == 0 and shutil.which("unshare"):
        command = ["unshare", "--uts", "sh", "-c", f'hostname {host}; exec "$@"', "sh", *command]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def work(host: str, locks: str, folder: Path) -> None:
    """Be one of the hosts: claim what the next line names, hold it for a moment, and say from when to when."""
    import socket

    socket.gethostname = lambda: host
    limit_locks(locks, host)
    from ctbench_core.studies.workers import claim

    for line in sys.stdin:
        time.sleep(random.uniform(0, 0.003))
        span: list[float] = []
        with claim(folder / ".claims" / f"{int(line):05d}.json") as is_mine:
            if is_mine:
                start = time.monotonic()
                time.sleep(0.02)
                span = [start, time.monotonic()]
        print(json.dumps(span), flush=True)


def limit_locks(locks: str, host: str) -> None:
    """Refuse the system's file locks in this process, or keep them within a host."""
    if locks == "off":
        import errno
        import fcntl

        def refuse(*_: object) -> None:
            raise OSError(errno.ENOSYS, "Function not implemented")

        fcntl.flock = refuse  # type: ignore[assignment]
    if locks == "local":
        from ctbench_core import locks as module

        everywhere: Any = module.FileLock
        module.FileLock = lambda path, **more: everywhere(f"{path}.{host}", **more)  # type: ignore[misc]


def main() -> None:
    """Print how often one, both and none of the hosts had the claim."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tries", type=int, nargs="?", default=200)
    parser.add_argument("--locks", choices=("on", "off", "local"), default="off")
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        host, locks, folder = options.worker
        work(host, locks, Path(folder))
        return
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        counts = measure(options.tries, options.locks, Path(folder))
    print(f"{options.tries} tries, locks {options.locks}: {counts}, {time.monotonic() - started:.0f} s")
    sys.exit(bool(counts["both"]))


if __name__ == "__main__":
    main()
