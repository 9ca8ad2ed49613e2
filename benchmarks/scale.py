"""Measure packing, an epoch and the test of many volumes, each as a process of its own.

``python -m benchmarks.scale [VOLUMES] [--folder F] [--workers 2] [--steps pack,linear,mlp,evaluate]`` writes
VOLUMES x 512 vectors as float16 files of 1,000 rows and Parquet manifests (a tenth of the volumes is the test, a
fiftieth validation), runs each step through the command line, and prints a row a step: seconds, the largest anonymous
memory of any of its processes, and the resident memory beside it, which includes the pages of the mapped store. With
``--times 3`` it prints the quickest of three: a virtual machine may take several times as long for memory that it has
not used for some minutes. ``linear`` and ``mlp`` train one epoch, ``linear-3`` and ``mlp-3`` three: half the
difference of their ``train`` seconds is an epoch without what a run does once. A folder is used again; without one, a temporary folder is removed at the end. Linux only: it
reads /proc.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

WIDTH, ROWS, FINDINGS = 512, 1000, 18
STEPS = ("pack", "repack", "linear", "linear-3", "mlp", "mlp-3", "evaluate")
_WATCH_S = 0.05


def make_data(folder: Path, volumes: int) -> None:
    """Write files of vectors in which each finding shows along one direction, and the manifests."""
    files = folder / "features"
    files.mkdir(parents=True)
    rng = np.random.default_rng(0)
    directions = rng.standard_normal((FINDINGS, WIDTH), dtype=np.float32) / np.sqrt(WIDTH) * 4
    labels = np.empty((volumes, FINDINGS), np.int8)
    for start in range(0, volumes, ROWS):
        count = min(ROWS, volumes - start)
        own = rng.random((count, FINDINGS)) < np.linspace(0.05, 0.5, FINDINGS)
        vectors = rng.standard_normal((count, WIDTH), dtype=np.float32) + own.astype(np.float32) @ directions
        ids = np.array([f"train_{start + i}_a_1" for i in range(count)])
        np.savez(files / f"part_{start // ROWS}.npz", ids=ids, features=vectors.astype(np.float16))
        labels[start : start + count] = own
    ends = [volumes - volumes // 10 - volumes // 50, volumes - volumes // 10, volumes]
    for name, first, last in zip(("train", "valid", "test"), [0, *ends], ends):
        rows = range(first, last)
        paths = pa.array([f"part_{i // ROWS}.npz" for i in rows]).dictionary_encode()
        columns = {"volumename": [f"train_{i}_a_1" for i in rows], "visual_feature_path": paths}
        columns |= {f"finding {c}": labels[first:last, c] for c in range(FINDINGS)}
        pq.write_table(pa.table(columns), folder / f"{name}.parquet")


@dataclass(frozen=True)
class Step:
    """What one verb took: seconds from start to end, GiB at most, its own account of its seconds, and its run."""

    name: str
    seconds: float
    anonymous: float
    resident: float
    parts: dict[str, float]
    run_dir: str


def measure(name: str, arguments: list[str], folder: Path) -> Step:
    """Run one verb of the command line as a process of its own."""
    started = time.perf_counter()
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    command = [sys.executable, "-m", "ctbench_core", *arguments, "--json"]
    output = folder / "output.json"
    with output.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.PIPE, env=environment)
        peaks = {"anonymous": 0.0, "resident": 0.0}
        watcher = threading.Thread(target=_watch, args=(process, peaks))
        watcher.start()
        _, errors = process.communicate()
        watcher.join()
    seconds = time.perf_counter() - started
    if process.returncode:
        print(errors.decode()[-3000:], output.read_text()[-3000:], file=sys.stderr)
        raise SystemExit(f"{' '.join(arguments[:2])} ended with {process.returncode}")
    result: dict[str, Any] = json.loads(output.read_text().splitlines()[-1])
    parts = result.get("seconds")
    parts = parts if isinstance(parts, dict) else {}
    return Step(name, seconds, **peaks, parts=parts, run_dir=str(result.get("run_dir", "")))


def _watch(process: subprocess.Popen[bytes], peaks: dict[str, float]) -> None:
    while process.poll() is None:
        try:
            parent = psutil.Process(process.pid)
            for one in (parent, *parent.children(recursive=True)):
                lines = Path(f"/proc/{one.pid}/status").read_text().splitlines()
                for name, key in (("RssAnon", "anonymous"), ("VmRSS", "resident")):
                    size = next((int(line.split()[1]) for line in lines if line.startswith(name + ":")), 0)
                    peaks[key] = max(peaks[key], size / 2**20)
        except (OSError, psutil.Error):
            pass
        time.sleep(_WATCH_S)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("volumes", nargs="?", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--times", type=int, default=1)
    parser.add_argument("--steps", default=",".join(STEPS))
    given = parser.parse_args()
    folder = given.folder or Path(tempfile.mkdtemp(prefix="scale-"))
    try:
        if not (folder / "test.parquet").exists():
            make_data(folder, given.volumes)
        for step in run_steps(folder, given.workers, given.steps.split(","), given.times):
            each = 1e6 * step.seconds / given.volumes
            print(
                f"| {step.name} | {given.volumes:,} | {step.seconds:.1f} s | {step.anonymous:.2f} | "
                f"{step.resident:.2f} GiB | {each:.1f} us | {json.dumps(step.parts)}",
                flush=True,
            )
    finally:
        if given.folder is None:
            shutil.rmtree(folder)


def run_steps(folder: Path, workers: int, steps: list[str], times: int = 1) -> Iterator[Step]:
    """Run the steps in order; yield the quickest time of each."""
    data = [
        f"paths.data_root={folder / 'features'}",
        f"paths.manifest_dir={folder}",
        f"paths.outputs_root={folder / 'outputs'}",
        "data.train_manifest=train.parquet",
        "data.val_manifest=valid.parquet",
        "data.test_manifests=[test.parquet]",
    ]
    train = [*data, "training.batch_size=256", "evaluation.after_training=false", "training.early_stopping_patience=9"]
    one, three = "training.max_epochs=1", "training.max_epochs=3"
    runs: dict[str, str] = {}
    for step in steps:
        flags = ["--workers", str(workers)] if step == "pack" and workers else []
        arguments = {
            "pack": ["pack", *data, *flags],
            "repack": ["pack", *data],
            "linear": ["train", "model=linear_probe", one, *train],
            "linear-3": ["train", "model=linear_probe", three, *train],
            "mlp": ["train", "model.params.hidden_dims=[256]", one, *train],
            "mlp-3": ["train", "model.params.hidden_dims=[256]", three, *train],
            "evaluate": ["evaluate", f"run={runs.get('mlp', '')}"],
        }[step]
        outcomes = []
        for _ in range(times):
            if step == "pack":
                shutil.rmtree(folder / "outputs", ignore_errors=True)
            outcomes.append(measure(step, arguments, folder))
        runs[step] = outcomes[-1].run_dir
        yield min(outcomes, key=lambda outcome: outcome.seconds)


if __name__ == "__main__":
    main()
