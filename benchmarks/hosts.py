"""Three processes of two hosts train their queues in one run store, while one of them is stopped for minutes.

    python -m benchmarks.hosts [minutes] [seed] [--locks on|off|local] [--clock same|apart] [--runs 20]

Each process queues its runs, and all the time reads every run of the store as a page does, marks those that are
interrupted as a server does that starts, and resumes them as a user would. In the end every run must have been trained
once, and no reader may have seen one `interrupted`. The hosts are UTS namespaces (as root, with `unshare`), else names.
`--locks off` refuses file locks; `local` keeps them within a host, as some network file systems do. `--clock apart` puts
the second host five minutes ahead, and sets the clock of a process of the first an hour forward on the way.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

WORKERS = (("alpha", 1), ("alpha", 2), ("beta", 1))
AHEAD_S, STEP_S = 300.0, 3600.0
_POLL_S = 0.05


@dataclass(frozen=True)
class Form:
    """What is tried: minutes of the stop, locks (on, off, local), clock (same, apart), and runs a process.

    Attributes:
        scale: by which the limits of heartbeats are multiplied, for a short form.
        trains: whether runs are trained; else a stand-in keeps their status, which needs no torch.
    """

    minutes: float = 3.0
    locks: str = "on"
    clock: str = "apart"
    runs: int = 20
    scale: float = 1.0
    trains: bool = True


def measure(form: Form, seed: int, folder: Path, log: Any = print) -> list[str]:
    """Run the processes in a folder; return what went wrong."""
    draw = random.Random(seed)
    from ctbench_core.demo import write_demo

    demo = {name: str(path) for name, path in write_demo(folder / "demo").items()} if form.trains else {}
    (folder / "outputs").mkdir()
    workers = [_start(form, seed, folder, demo, place) for place in range(len(WORKERS))]
    try:
        _wait_for(lambda: all(len(_lines(folder, place, "starts")) for place in range(3)), workers)
        stopped = draw.randrange(len(WORKERS))
        after = draw.randint(2, max(2, form.runs // 4))
        _wait_for(lambda: len(_lines(folder, stopped, "starts")) >= after, workers)
        time.sleep(draw.uniform(0, 0.2))
        log(f"process {stopped + 1} ({WORKERS[stopped][0]}) stopped in its run {after} for {form.minutes:g} min")
        workers[stopped].send_signal(signal.SIGSTOP)
        (folder / "step").write_text(str(STEP_S), encoding="utf-8")
        time.sleep(60 * form.minutes)
        workers[stopped].send_signal(signal.SIGCONT)
        _wait_for(lambda: all((folder / f"ended-{place}").exists() for place in range(3)), workers)
        (folder / "end").touch()
        for worker in workers:
            worker.wait(60)
    finally:
        for worker in workers:
            if worker.poll() is None:
                worker.send_signal(signal.SIGCONT)
                worker.kill()
    return _faults(form, folder, log)


def _faults(form: Form, folder: Path, log: Any) -> list[str]:
    from ctbench_core.runs import read_history, read_status, run_folders

    starts = Counter(line for place in range(3) for line in _lines(folder, place, "starts"))
    seen = [line for place in range(3) for line in _lines(folder, place, "interrupted")]
    reads = sum(int(_lines(folder, place, "reads")[-1]) for place in range(3))
    folders = [Path(name) for name in run_folders(folder / "outputs")]
    states = Counter(read_status(run / "status.json").state for run in folders)
    faults = [f"{Path(run).name} was started {count} times" for run, count in starts.items() if count != 1]
    faults += [f"seen as interrupted: {line}" for line in dict.fromkeys(seen)]
    if len(folders) != 3 * form.runs or states != {"finished": len(folders)} or set(starts) != set(map(str, folders)):
        faults.append(f"{len(folders)} runs, {len(starts)} started, states {dict(states)}")
    for run in folders:
        epochs = [line["epoch"] for line in read_history(run / "metrics.jsonl")]
        if form.trains and epochs != list(range(1, len(epochs) + 1)):
            faults.append(f"{run.name} has the epochs {epochs}")
    log(f"{len(folders)} runs, {starts.total()} starts, {reads:,} reads of a run, states {dict(states)}")
    return faults


def _lines(folder: Path, place: int, kind: str) -> list[str]:
    file = folder / f"{kind}-{place}.txt"
    return file.read_text(encoding="utf-8").splitlines() if file.exists() else []


def _wait_for(condition: Any, workers: Sequence[subprocess.Popen[bytes]]) -> None:
    while not condition():
        if any(worker.poll() not in (None, 0) for worker in workers):
            raise RuntimeError("A process ended with an error: see above.")
        time.sleep(_POLL_S)


def _start(form: Form, seed: int, folder: Path, demo: dict[str, str], place: int) -> subprocess.Popen[bytes]:
    host = WORKERS[place][0]
    options = vars(form) | {"seed": seed, "folder": str(folder), "place": place, "host": host, "demo": demo}
    command = [sys.executable, "-m", "benchmarks.hosts", "--worker", json.dumps(options)]
    if form.trains and os.name == "posix" and os.geteuid() == 0 and shutil.which("unshare"):
        command = ["unshare", "--uts", "sh", "-c", f'hostname {host}; exec "$@"', "sh", *command]
    return subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"})


def work(options: dict[str, Any]) -> None:
    """Be one of the processes: queue runs, read the store, and resume what is interrupted."""
    form = Form(**{name: options[name] for name in Form.__dataclass_fields__})
    folder, place = Path(options["folder"]), options["place"]
    _prepare(form, options)
    from ctbench_core.jobs import get_runner

    runner = get_runner()
    reader = threading.Thread(target=_read, args=(folder, place), daemon=True)
    reader.start()
    runs = [runner.submit(_config(options, number)) for number in range(form.runs)]
    for run in runs:
        runner.wait(run)
    (folder / f"ended-{place}").touch()
    reader.join()
    runner.stop()


def _config(options: dict[str, Any], number: int) -> Any:
    from ctbench_core.config import Config, set_key

    config = Config()
    keys: dict[str, Any] = {
        "paths.outputs_root": f"{options['folder']}/outputs", "utils.seed": 1000 * options["place"] + number,
        "training.max_epochs": 60, "training.early_stopping_patience": 60, "model.params.hidden_dims": [8],
        "utils.device": "cpu",
    }  # fmt: skip
    keys |= {f"paths.{name}": options["demo"][name] for name in ("data_root", "manifest_dir") if options["demo"]}
    for name, value in keys.items():
        set_key(config, name, value)
    return config


def _read(folder: Path, place: int) -> None:
    from ctbench_core.errors import CtbenchError
    from ctbench_core.jobs import get_runner
    from ctbench_core.runs import RunStore, read_status, run_folders

    store, reads = RunStore(folder / "outputs"), 0
    with (
        (folder / f"interrupted-{place}.txt").open("a", buffering=1, encoding="utf-8") as seen,
        (folder / f"reads-{place}.txt").open("a", buffering=1, encoding="utf-8") as counts,
    ):
        while not (folder / "end").exists():
            for run in run_folders(store.root):
                status = read_status(Path(run) / "status.json")
                reads += 1
                if status.state == "interrupted":
                    seen.write(f"{Path(run).name} of {status.host} by process {place + 1}\n")
            for marked in store.mark_interrupted():
                with contextlib.suppress(CtbenchError):
                    get_runner().resume(marked.paths.root)
            time.sleep(_POLL_S)
        counts.write(f"{reads}\n")


def _prepare(form: Form, options: dict[str, Any]) -> None:
    """Give this process its host's name, clock and locks, and let it log the runs that it starts."""
    import socket

    from ctbench_core import locks
    from ctbench_core.runs import recorder, status

    host, folder, place = options["host"], Path(options["folder"]), options["place"]
    socket.gethostname = lambda: host
    for name in ("HEARTBEAT_LIMIT_S", "UNLOCKED_LIMIT_S"):
        setattr(status, name, getattr(status, name) * form.scale)
    if form.clock == "apart":
        wall = time.time

        def shift() -> float:
            ahead = AHEAD_S if host == "beta" else 0.0
            return ahead + (STEP_S if place == 1 and (folder / "step").exists() else 0.0)

        class ShiftedTime(datetime):
            @classmethod
            def now(cls, tz: Any = None) -> Any:
                return datetime.now(tz or UTC) + timedelta(seconds=shift())

        time.time = lambda: wall() + shift()
        status.datetime = ShiftedTime  # type: ignore[misc]
        if sys.platform == "linux":  # psutil counts the start of a process from the boot
            from psutil import _pslinux

            boot = _pslinux.boot_time()
            _pslinux.boot_time = lambda: boot + shift()
    if form.locks == "off":
        import errno
        import fcntl

        def refuse(*_: object) -> None:
            raise OSError(errno.ENOSYS, "Function not implemented")

        fcntl.flock = refuse  # type: ignore[assignment]
    if form.locks == "local":
        everywhere = locks.FileLock
        locks.FileLock = lambda path, **more: everywhere(f"{path}.{host}", **more)  # type: ignore[misc]
        locks.is_held = status.is_held = lambda path: _is_held_here(everywhere(f"{path}.{host}"))
    enter, log = recorder.Recorder.__enter__, (folder / f"starts-{place}.txt").open("a", buffering=1, encoding="utf-8")

    def logged(self: recorder.Recorder) -> recorder.Recorder:
        started = enter(self)
        log.write(f"{self.paths.root}\n")
        return started

    recorder.Recorder.__enter__ = logged  # type: ignore[method-assign]
    if not form.trains:
        _stand_in()


def _is_held_here(lock: Any) -> bool:
    from filelock import Timeout

    if not Path(lock.lock_file).exists():
        return False
    try:
        with lock.acquire(blocking=False):
            return False
    except Timeout:
        return True


def _stand_in() -> None:
    """Replace the training by a loop that keeps the status only."""
    from types import ModuleType

    from ctbench_core.jobs import runner
    from ctbench_core.runs import Recorder, open_run

    def run(config: Any, run_dir: Path, **_: Any) -> None:
        opened = open_run(run_dir)
        with Recorder(opened.paths, opened.status) as recorder:
            for epoch in range(1, 6):
                recorder.epoch(epoch)
                time.sleep(0.08)
            recorder.end("finished")

    loop = ModuleType("ctbench_core.train.loop")
    vars(loop).update(limit_threads=lambda count: None, use_gpu=lambda place: None, gpu_count=lambda: 0)
    sys.modules["ctbench_core.train.loop"] = loop
    runner.run_experiment = run  # type: ignore[assignment]


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def main() -> None:
    """Run one form and print what went wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("minutes", type=float, nargs="?", default=3.0)
    parser.add_argument("seed", type=int, nargs="?", default=0)
    parser.add_argument("--locks", choices=("on", "off", "local"), default="on")
    parser.add_argument("--clock", choices=("same", "apart"), default="apart")
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(json.loads(options.worker))
        return
    form = Form(options.minutes, options.locks, options.clock, options.runs)
    started = time.monotonic()
    with _folder() as folder:
        faults = measure(form, options.seed, folder)
    print("\n".join(faults) or "every run was trained once, and none was seen as interrupted")
    print(f"{form}, seed {options.seed}, {time.monotonic() - started:.0f} s")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
