"""Kill a training 50 times at random moments, resume it each time, and compare with one never killed, bit by bit.

``python -m benchmarks.kills [kills]``; a reader opens the run directory all the while.
"""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import torch

from ctbench_core.demo import write_demo
from ctbench_core.errors import CtbenchError
from ctbench_core.runs import RunPaths, open_run, read_history


def bits(value: Any) -> Any:
    """Make nested tensors comparable."""
    if isinstance(value, torch.Tensor):
        return (str(value.dtype), tuple(value.shape), value.numpy().tobytes())
    if isinstance(value, dict):
        return {key: bits(item) for key, item in value.items()}
    return [bits(item) for item in value] if isinstance(value, list) else value


def contents(run_dir: Path) -> dict[str, Any]:
    """Return all that must be equal."""
    paths = RunPaths(run_dir)
    tensors = {p.name: bits(torch.load(p, weights_only=True)) for p in (paths.final_model, paths.last_state)}
    return {**tensors, "metrics": paths.metrics.read_bytes(), "best": paths.best_metrics.read_bytes()}


def main(kills: int = 50) -> None:
    """Run, kill, resume, compare."""
    with tempfile.TemporaryDirectory() as folder:
        demo = write_demo(f"{folder}/demo")
        words = [f"paths.data_root={demo['data_root']}", f"paths.manifest_dir={demo['manifest_dir']}",
                 f"paths.outputs_root={folder}/outputs", "training.max_epochs=4000", "utils.device=cpu",
                 "training.early_stopping_patience=100000", "data.standardise=zscore"]  # fmt: skip
        command = [sys.executable, "-m", "ctbench_core", "train", *words]
        parts, unreadable, done = Path(folder) / "outputs" / "parts", [], threading.Event()

        def watch() -> None:
            while not done.wait(0.002):
                if (parts / "status.json").is_file():
                    try:
                        open_run(parts)
                        read_history(RunPaths(parts).metrics)
                    except (CtbenchError, ValueError) as error:
                        unreadable.append(error)

        threading.Thread(target=watch, daemon=True).start()
        draw, resumed = random.Random(0), [f"paths.run_dir={parts}"]
        for kill in range(kills):
            process = subprocess.Popen([*command, *resumed], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            while process.poll() is None and (
                not (parts / "status.json").is_file() or open_run(parts).status.pid != process.pid
            ):
                time.sleep(0.01)
            time.sleep(draw.uniform(0, 2.0))
            process.kill()
            process.wait()
            resumed = [f"paths.run_dir={parts}", "training.resume.enabled=true"]
            print(kill + 1, "epochs", len(read_history(RunPaths(parts).metrics)), flush=True)
        epochs = len(read_history(RunPaths(parts).metrics)) + 5
        last = f"training.max_epochs={epochs}"
        subprocess.run([*command, *resumed, last], check=True, stdout=subprocess.DEVNULL)
        done.set()
        whole = Path(folder) / "outputs" / "whole"
        subprocess.run([*command, f"paths.run_dir={whole}", last], check=True, stdout=subprocess.DEVNULL)
        print("identical" if contents(parts) == contents(whole) else "DIFFERENT", f"after {epochs} epochs;", end=" ")
        print(f"{len(unreadable)} unreadable moments {unreadable[:3]}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 50)
