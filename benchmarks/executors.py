"""Studies and searches on Dask workers against one process: time, tables, and what killed workers and schedulers cost.

    python -m benchmarks.executors speed <feature root> <manifest folder> [--seeds 10] [--pairs 2] [--epochs 60]
    python -m benchmarks.executors kills [seed] [--kills 10] [--epochs 2000]
    python -m benchmarks.executors search [seed]

`speed` trains the label-budget study of `benchmarks.study` in pairs: this process with one and with two threads, one worker
and two workers of one thread each. `kills` starts a scheduler and three workers by hand, kills a worker ten times, then the
scheduler, starts the study again, and counts the epochs that were trained twice. `search` compares 40 trials of one process
with those of four workers, of which one is killed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

BUDGETS = [20, 50, 100, 250, 500, "all"]


def _table(result: dict[str, Any]) -> str:
    return Path(result["table"]).read_text(encoding="utf-8")


def speed(options: argparse.Namespace, folder: Path) -> bool:
    """Time the study in pairs; return whether all tables are equal."""
    from ctbench_core.executors import HERE, ClusterOptions
    from ctbench_core.studies import Study, run_study

    base = {
        "paths.data_root": str(options.root), "paths.manifest_dir": str(options.manifests),
        "data.test_manifests": ["test.csv"], "model.params.hidden_dims": [1024], "training.learning_rate": 1e-3,
        "training.max_epochs": options.epochs, "training.early_stopping_patience": 15,
        "paths.cache_dir": str(folder / "packed"),
    }  # fmt: skip
    grid = {"budget": BUDGETS, "utils.seed": list(range(1, options.seeds + 1)), "model": ["mlp_visual", "linear_probe"]}

    def run(name: str, where: ClusterOptions, threads: int) -> tuple[float, str]:
        store = folder / name
        places = {"paths.outputs_root": str(store), "training.threads": threads}
        result = run_study(Study("benchmark", base | places, grid), options=where, with_intervals=False)
        seconds = result["seconds"]
        busy = psutil.getloadavg()[0]
        print(
            f"{name}: {result['finished']} of {result['runs']} runs in {seconds['total'] - seconds['workers']:.1f} s, "
            f"workers ready after {seconds['workers']:.1f} s (load {busy:.1f})",
            flush=True,
        )
        return seconds["total"] - seconds["workers"], _table(result)

    tables = set()
    ratios: dict[str, list[float]] = {"one worker / two workers": [], "two workers / here with two threads": []}
    for pair in range(options.pairs):
        one, first = run(f"one-{pair}", ClusterOptions(1, requests={"threads": "1"}), 1)
        two, second = run(f"two-{pair}", ClusterOptions(2, requests={"threads": "1"}), 1)
        here, third = run(f"here-{pair}", HERE, 1)
        both, _ = run(f"here-two-threads-{pair}", HERE, 2)
        tables |= {first, second, third}
        print(f"  one worker / two workers {one / two:.2f}, two workers / here {two / here:.2f}", flush=True)
        ratios["one worker / two workers"].append(one / two)
        ratios["two workers / here with two threads"].append(two / both)
    print({name: [round(value, 2) for value in values] for name, values in ratios.items()})
    print("tables equal" if len(tables) == 1 else f"{len(tables)} different tables")
    return len(tables) == 1


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _start(folder: Path, *command: str) -> subprocess.Popen[bytes]:
    with (folder / "processes.log").open("ab") as log:
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        return subprocess.Popen([sys.executable, "-m", *command], stdout=log, stderr=log, env=environment)


class _Machines:
    """A scheduler and workers that a person would start; a worker that ended is started again."""

    def __init__(self, folder: Path, workers: int) -> None:
        self.folder, self.address = folder, f"tcp://127.0.0.1:{_free_port()}"
        self.scheduler = self._start_scheduler()
        self.workers = [self._start_worker(number) for number in range(workers)]

    def _start_scheduler(self) -> subprocess.Popen[bytes]:
        port = self.address.rpartition(":")[2]
        page = ("--dashboard-address", "127.0.0.1:0")
        return _start(self.folder, "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", port, *page)

    def _start_worker(self, number: int) -> subprocess.Popen[bytes]:
        own = ("--nthreads", "1", "--no-nanny", "--memory-limit", "0", "--no-dashboard", "--host", "127.0.0.1")
        return _start(self.folder, "distributed.cli.dask_worker", self.address, "--name", f"w{number}", *own)

    def replace_workers(self) -> None:
        """Start the workers that have ended."""
        self.workers = [
            self._start_worker(number) if worker.poll() is not None else worker
            for number, worker in enumerate(self.workers)
        ]

    def restart_scheduler(self) -> None:
        """Kill the scheduler, and start another at its address."""
        self.scheduler.kill()
        self.scheduler.wait()
        self.scheduler = self._start_scheduler()

    def close(self) -> None:
        """End all."""
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.wait()


def kills(options: argparse.Namespace, folder: Path) -> bool:
    """Kill workers and the scheduler under a study; return whether its table is that of a study never killed."""
    from ctbench_core.demo import write_demo

    demo = write_demo(folder / "demo")
    draw = random.Random(options.seed)
    words = [
        f"paths.data_root={demo['data_root']}", f"paths.manifest_dir={demo['manifest_dir']}",
        f"training.max_epochs={options.epochs}", f"training.early_stopping_patience={options.epochs}",
        "model.params.hidden_dims=[64],[32],[16]", "utils.seed=1,2,3,4,5,6", "training.learning_rate=1e-3",
        "job_name=killed", "training.threads=1",
    ]  # fmt: skip
    machines = _Machines(folder, 3)
    store, counts = folder / "there", {"kills": 0, "starts": 0}

    def start() -> subprocess.Popen[bytes]:
        counts["starts"] += 1
        place = f"paths.outputs_root={store}"
        return _start(folder, "ctbench_core", "train", "-m", *words, place, "--cluster", machines.address, "--json")

    study = start()
    restart_after = options.kills // 2
    restarted = False
    most: dict[str, int] = {}
    repeated: dict[str, int] = {}
    try:
        while study.poll() is None:
            moment = time.monotonic() + draw.uniform(*options.every)
            while time.monotonic() < moment and study.poll() is None:
                _watch(store, most, repeated)
                time.sleep(0.2)
                machines.replace_workers()
            trains = [worker for worker in machines.workers if worker.poll() is None]
            if counts["kills"] < options.kills and trains and any(store.glob("*/*/metrics.jsonl")):
                draw.choice(trains).send_signal(signal.SIGKILL)
                counts["kills"] += 1
            if counts["kills"] == restart_after and not restarted:
                restarted = True
                machines.restart_scheduler()
                print(f"scheduler killed; the study ended with {study.wait(120)}; started again", flush=True)
                study = start()
        print(f"{counts}, the study ended with {study.returncode}", flush=True)
    finally:
        machines.close()
        if study.poll() is None:
            study.kill()
    here = folder / "here"
    _start(folder, "ctbench_core", "train", "-m", *words, f"paths.outputs_root={here}").wait()
    tables = [(root / "killed" / "table.csv").read_text(encoding="utf-8") for root in (here, store)]
    states = [json.loads(file.read_text())["state"] for file in store.glob("*/*/status.json")]
    epochs = [len(file.read_text().splitlines()) for file in store.glob("*/*/metrics.jsonl")]
    print(f"{len(states)} runs, states {sorted(set(states))}, epochs {min(epochs)} to {max(epochs)}; ")
    print(
        f"epochs trained again after a kill, by run: most {max(repeated.values(), default=0)}, in all {sum(repeated.values())}"
    )
    print("tables equal" if tables[0] == tables[1] else "tables differ")
    return tables[0] == tables[1] and set(states) == {"finished"} and counts["kills"] >= options.kills


def _watch(store: Path, most: dict[str, int], repeated: dict[str, int]) -> None:
    """Follow how many epochs each run has on disk; those that a resume cut off are trained again."""
    for file in store.glob("*/*/metrics.jsonl"):
        lines = file.read_bytes().count(b"\n")
        name = file.parent.name
        if lines < most.get(name, 0):
            repeated[name] = repeated.get(name, 0) + most[name] - lines
        most[name] = lines


def search(options: argparse.Namespace, folder: Path) -> bool:
    """Compare the trials of one process with those of four workers, one of them killed."""
    from ctbench_core.demo import write_demo
    from ctbench_core.executors import HERE, ClusterOptions
    from ctbench_core.studies import StudyPaths, parse_search, read_trials, run_search

    demo = write_demo(folder / "demo")

    def run(name: str, where: ClusterOptions) -> tuple[Any, Any]:
        base = {
            "paths.data_root": str(demo["data_root"]), "paths.manifest_dir": str(demo["manifest_dir"]),
            "paths.outputs_root": str(folder / name), "training.max_epochs": 60, "training.threads": 1,
            "optuna.seed": options.seed,
        }  # fmt: skip
        started = time.monotonic()
        result = run_search(parse_search({"name": "s", "base": base, "trials": 40, "batch": 4}), options=where, again=0)
        trials = read_trials(StudyPaths(Path(result["study_dir"])))
        seconds = time.monotonic() - started
        print(
            f"{name}: {result['trials']} trials, {result['pruned']} pruned, best {result['best']['value']}, {seconds:.0f} s"
        )
        keys = [(trial.number, trial.params, trial.state.name, trial.value) for trial in trials]
        return keys, (result["best"]["params"], result["best"]["value"])

    here = run("here", HERE)
    killer = threading.Thread(target=_kill_one, args=(folder / "there",), daemon=True)
    killer.start()
    there = run("there", ClusterOptions(4, requests={"threads": "1"}))
    print("trials and best equal" if here == there else "trials differ")
    return here == there


def _kill_one(store: Path) -> None:
    """Kill a worker that trains, once the fifth trial has begun."""
    _wait_for(lambda: len(list(store.glob("*/*/metrics.jsonl"))) >= 6)
    while True:
        for file in store.glob("*/*/status.json"):
            status = json.loads(file.read_text())
            if status["state"] == "running":
                os.kill(status["pid"], signal.SIGKILL)
                print(f"killed the worker of {file.parent.name} in epoch {status['epoch']}", flush=True)
                return
        time.sleep(0.01)


def _wait_for(condition: Callable[[], Any]) -> None:
    while not condition():
        time.sleep(0.05)


def main() -> None:
    """Run one part and end with 1 where something differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(dest="part", required=True)
    timed = parts.add_parser("speed")
    timed.add_argument("root", type=Path)
    timed.add_argument("manifests", type=Path)
    timed.add_argument("--seeds", type=int, default=10)
    timed.add_argument("--pairs", type=int, default=2)
    timed.add_argument("--epochs", type=int, default=60)
    killed = parts.add_parser("kills")
    killed.add_argument("seed", type=int, nargs="?", default=0)
    killed.add_argument("--kills", type=int, default=10)
    killed.add_argument("--epochs", type=int, default=2000)
    killed.add_argument("--every", type=float, nargs=2, default=(8.0, 16.0), help="seconds between two kills")
    parts.add_parser("search").add_argument("seed", type=int, nargs="?", default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        is_right = {"speed": speed, "kills": kills, "search": search}[options.part](options, Path(folder))
    sys.exit(not is_right)


if __name__ == "__main__":
    main()
