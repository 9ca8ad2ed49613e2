"""Kill trainings at random moments, resume them each time, and compare the result with a run that was never killed.

``python -m benchmarks.kills [kills] [seed]``. A kill falls anywhere between start-up and the test at the end; half of
the kills wait for a write and fall into it. A run that finishes is compared bit by bit, and the next one starts. All
the time, a reader opens the run.
"""

from __future__ import annotations

import itertools
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ctbench_core.demo import write_demo
from ctbench_core.errors import CtbenchError
from ctbench_core.runs import RunPaths, open_run, read_history

EPOCHS = 300
LAST = "after the final status"


def bits(value: Any) -> Any:
    """Return nested tensors as bytes, which can be compared."""
    if isinstance(value, torch.Tensor):
        return (str(value.dtype), tuple(value.shape), value.numpy().tobytes())
    if isinstance(value, dict):
        return {key: bits(item) for key, item in value.items()}
    return [bits(item) for item in value] if isinstance(value, list) else value


def contents(run_dir: Path) -> dict[str, Any]:
    """Return everything that must be equal: weights, optimiser, metrics, and the scores on the test set."""
    paths = RunPaths(run_dir)
    tensors = {p.name: bits(torch.load(p, weights_only=True)) for p in (paths.final_model, paths.last_state)}
    texts = [paths.metrics, paths.best_metrics, *sorted(run_dir.glob("evaluation/*/scores.parquet"))]
    return tensors | {str(path.relative_to(run_dir)): path.read_bytes() for path in texts}


class Reader(threading.Thread):
    """Opens a run directory again and again, and collects the failures."""

    def __init__(self, run_dir: Path) -> None:
        super().__init__(daemon=True)
        self.paths, self.reads, self.failures = RunPaths(run_dir), 0, list[Exception]()
        self._ended = threading.Event()

    def run(self) -> None:
        """Read every few milliseconds."""
        while not self._ended.wait(0.003):
            self.read()

    def read(self, tensors: bool = False) -> None:
        """Read what a page reads; with ``tensors`` the checkpoints too, if there are any."""
        if not self.paths.status.is_file():
            return
        try:
            open_run(self.paths.root)
            read_history(self.paths.metrics)
            for path in (self.paths.final_model, self.paths.last_state) if tensors else ():
                if path.is_file():
                    torch.load(path, weights_only=True)
            self.reads += 1
        except (CtbenchError, ValueError, RuntimeError, EOFError) as error:
            self.failures.append(error)

    def end(self) -> None:
        """Stop reading."""
        self._ended.set()
        self.join()


def stage(run_dir: Path, pid: int) -> str:
    """Return what a process was doing when it was killed."""
    if list(run_dir.rglob(".*.tmp")):
        return "writing"
    if not (run_dir / "status.json").is_file() or open_run(run_dir).status.pid != pid:
        return "start-up"
    if open_run(run_dir).status.state == "finished":
        return LAST
    done = len(read_history(run_dir / "metrics.jsonl"))
    return "end" if done == EPOCHS else "training" if done else "before the first epoch ended"


def strike(process: subprocess.Popen[bytes], run_dir: Path, after_s: float, in_a_write: bool) -> str | None:
    """Kill a process after some time, or in the first write after it; return the stage, None if it had ended."""
    try:
        process.wait(after_s)
        return None
    except subprocess.TimeoutExpired:
        pass
    while in_a_write and process.poll() is None and not any(run_dir.rglob(".*.tmp")):
        time.sleep(0.0005)
    ended = process.poll() is not None
    process.kill()
    process.wait()
    reached = None if ended else stage(run_dir, process.pid)
    for file in run_dir.rglob(".*.tmp"):  # a later write of the same file would not remove them
        file.unlink()
    return reached


def train(overrides: Sequence[str], run_dir: Path, *more: str) -> subprocess.Popen[bytes]:
    """Start a training."""
    command = [sys.executable, "-m", "ctbench_core", "train", *overrides, f"paths.run_dir={run_dir}", *more]
    one_thread = os.environ | {"OMP_NUM_THREADS": "1"}  # so that other work changes the duration less
    with run_dir.with_suffix(".log").open("w") as log:
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log, env=one_thread)


def main(kills: int = 50, seed: int = 0) -> None:
    """Run, kill, resume, compare."""
    with tempfile.TemporaryDirectory() as folder:
        demo = write_demo(f"{folder}/demo")
        overrides = [f"paths.data_root={demo['data_root']}", f"paths.manifest_dir={demo['manifest_dir']}",
                 f"paths.outputs_root={folder}/outputs", f"training.max_epochs={EPOCHS}", "utils.device=cpu",
                 "training.early_stopping_patience=100000", "data.standardise=zscore", "training.scheduler=cosine",
                 "evaluation.after_training=true"]  # fmt: skip
        outputs, draw, kinds, runs = Path(folder) / "outputs", random.Random(seed), Counter[str](), 0
        outputs.mkdir()
        started = time.monotonic()
        assert train(overrides, outputs / "whole").wait() == 0
        duration, whole = time.monotonic() - started, contents(outputs / "whole")
        print(f"never killed: {duration:.1f} s, {EPOCHS} epochs", flush=True)
        reads, failures = 0, list[Exception]()
        for number in itertools.count():
            run_dir, resumed = outputs / f"run-{number}", list[str]()
            reader = Reader(run_dir)
            reader.start()
            while True:
                after = draw.uniform(0, duration) if kinds.total() < kills else 10 * duration
                in_a_write = draw.random() < 0.5
                reached = strike(process := train(overrides, run_dir, *resumed), run_dir, after, in_a_write)
                reader.read(tensors=True)
                if reached is None:
                    break
                kinds[reached] += 1
                print(f"kill {kinds.total()}: {reached}", flush=True)
                if reached == LAST:
                    break
                resumed = ["training.resume.enabled=true"] if (run_dir / "status.json").is_file() else []
            reader.end()
            reads, runs, failures = reads + reader.reads, runs + 1, failures + reader.failures
            assert reached == LAST or process.returncode == 0, run_dir.with_suffix(".log").read_text()[-2000:]
            stored = contents(run_dir)
            differing = [name for name in whole | stored if whole.get(name) != stored.get(name)]
            assert not differing, f"run {number} differs in {differing}"
            print(f"run {number} bit-identical; {len(failures)} of {reads} reads failed", flush=True)
            if kinds.total() >= kills:
                break
        print(f"{kinds.total()} kills of {runs} runs: {dict(kinds)}; all bit-identical; "
              f"{len(failures)} of {reads} reads failed {failures[:3]}")  # fmt: skip


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
