"""Kill trainings at random moments of their whole life, resume them each time, and compare with one never killed.

``python -m benchmarks.kills [kills] [seed]``. A life is start-up, training, checkpoints, the end and its test: each
kill falls anywhere in the time that a life takes, every second one waits for a write to begin and strikes within it.
A run that comes to its end is compared bit by bit, and the next one begins. A reader opens the run all the while.
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
    """Make nested tensors comparable."""
    if isinstance(value, torch.Tensor):
        return (str(value.dtype), tuple(value.shape), value.numpy().tobytes())
    if isinstance(value, dict):
        return {key: bits(item) for key, item in value.items()}
    return [bits(item) for item in value] if isinstance(value, list) else value


def contents(run_dir: Path) -> dict[str, Any]:
    """Return all that must be equal: weights, optimiser, metrics, and the scores on the test."""
    paths = RunPaths(run_dir)
    tensors = {p.name: bits(torch.load(p, weights_only=True)) for p in (paths.final_model, paths.last_state)}
    texts = [paths.metrics, paths.best_metrics, *sorted(run_dir.glob("evaluation/*/scores.parquet"))]
    return tensors | {str(path.relative_to(run_dir)): path.read_bytes() for path in texts}


class Reader(threading.Thread):
    """Opens a run directory again and again, and notes when that fails."""

    def __init__(self, run_dir: Path) -> None:
        super().__init__(daemon=True)
        self.paths, self.looks, self.failures = RunPaths(run_dir), 0, list[Exception]()
        self._ended = threading.Event()

    def run(self) -> None:
        """Look every few milliseconds."""
        while not self._ended.wait(0.003):
            self.look()

    def look(self, tensors: bool = False) -> None:
        """Read all that a page reads; with ``tensors`` the checkpoints too, if there are any."""
        if not self.paths.status.is_file():
            return
        try:
            open_run(self.paths.root)
            read_history(self.paths.metrics)
            for path in (self.paths.final_model, self.paths.last_state) if tensors else ():
                if path.is_file():
                    torch.load(path, weights_only=True)
            self.looks += 1
        except (CtbenchError, ValueError, RuntimeError, EOFError) as error:
            self.failures.append(error)

    def end(self) -> None:
        """Stop looking."""
        self._ended.set()
        self.join()


def stage(run_dir: Path, pid: int) -> str:
    """Say what a process was about when it was killed."""
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
    found = None if ended else stage(run_dir, process.pid)
    for left in run_dir.rglob(".*.tmp"):  # a later write of the same file would not take them away
        left.unlink()
    return found


def train(words: Sequence[str], run_dir: Path, *more: str) -> subprocess.Popen[bytes]:
    """Start a training."""
    command = [sys.executable, "-m", "ctbench_core", "train", *words, f"paths.run_dir={run_dir}", *more]
    one_thread = os.environ | {"OMP_NUM_THREADS": "1"}  # a life then lasts about as long beside other work
    with run_dir.with_suffix(".log").open("w") as log:
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log, env=one_thread)


def main(kills: int = 50, seed: int = 0) -> None:
    """Run, kill, resume, compare."""
    with tempfile.TemporaryDirectory() as folder:
        demo = write_demo(f"{folder}/demo")
        words = [f"paths.data_root={demo['data_root']}", f"paths.manifest_dir={demo['manifest_dir']}",
                 f"paths.outputs_root={folder}/outputs", f"training.max_epochs={EPOCHS}", "utils.device=cpu",
                 "training.early_stopping_patience=100000", "data.standardise=zscore", "training.scheduler=cosine",
                 "evaluation.after_training=true"]  # fmt: skip
        outputs, draw, struck, runs = Path(folder) / "outputs", random.Random(seed), Counter[str](), 0
        outputs.mkdir()
        started = time.monotonic()
        assert train(words, outputs / "whole").wait() == 0
        life, whole = time.monotonic() - started, contents(outputs / "whole")
        print(f"never killed: {life:.1f} s, {EPOCHS} epochs", flush=True)
        looks, failures = 0, list[Exception]()
        for number in itertools.count():
            run_dir, resumed = outputs / f"run-{number}", list[str]()
            reader = Reader(run_dir)
            reader.start()
            while True:
                after = draw.uniform(0, life) if struck.total() < kills else 10 * life
                aimed = draw.random() < 0.5
                found = strike(process := train(words, run_dir, *resumed), run_dir, after, aimed)
                reader.look(tensors=True)
                if found is None:
                    break
                struck[found] += 1
                print(f"kill {struck.total()}: {found}", flush=True)
                if found == LAST:
                    break
                resumed = ["training.resume.enabled=true"] if (run_dir / "status.json").is_file() else []
            reader.end()
            looks, runs, failures = looks + reader.looks, runs + 1, failures + reader.failures
            assert found == LAST or process.returncode == 0, run_dir.with_suffix(".log").read_text()[-2000:]
            ended = contents(run_dir)
            differing = [name for name in whole | ended if whole.get(name) != ended.get(name)]
            assert not differing, f"run {number} differs in {differing}"
            print(f"run {number} bit-identical; {len(failures)} of {looks} looks failed", flush=True)
            if struck.total() >= kills:
                break
        print(f"{struck.total()} kills of {runs} runs: {dict(struck)}; all bit-identical; "
              f"{len(failures)} of {looks} looks failed {failures[:3]}")  # fmt: skip


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
