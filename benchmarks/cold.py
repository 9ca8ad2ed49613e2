"""Time whole commands from the start of their process to its end: processor seconds, wall seconds, peak memory.

Run from the project's root: ``python -m benchmarks.cold [runs [files]]`` (7 runs; 50,188 feature files for `pack` and
`train`, 0 leaves them out). It writes the demo and the files to a temporary folder. A row is the smallest of its runs,
since other work on the machine can only add; Python, pandas and torch alone stand beside the commands.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from ctbench_core.demo import write_demo

PROJECT = Path(__file__).resolve().parents[1]
WIDTH, FINDINGS = 512, 18
SPLITS = {"train.csv": 0.877, "valid.csv": 0.063, "test.csv": 0.06}


# A process of its own: a child begins with the peak memory of its parent.
_LAUNCH = """
import os, subprocess, sys, time
begin = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
usage = os.wait4(process.pid, 0)[2]
print(usage.ru_utime + usage.ru_stime, time.perf_counter() - begin, usage.ru_maxrss / 1024)
"""


def measure(command: list[str], folder: Path) -> tuple[float, ...]:
    """Run a command; return its processor and wall seconds and its peak memory in MiB (Linux)."""
    paths = os.pathsep.join([str(PROJECT), os.environ.get("PYTHONPATH", "")])
    launch = [sys.executable, "-c", _LAUNCH, *command]
    environment = os.environ | {"PYTHONPATH": paths}
    printed = subprocess.run(launch, cwd=folder, env=environment, capture_output=True, text=True, check=True).stdout
    return tuple(map(float, printed.split()))


def write_files(folder: Path, files: int) -> list[str]:
    """Write one .npz a volume and three manifests of 18 findings; return the overrides that name them."""
    draw = np.random.default_rng(0)
    (folder / "features").mkdir(parents=True)
    (folder / "manifests").mkdir()
    weights = draw.standard_normal((WIDTH, FINDINGS)) / WIDTH**0.5
    for name, share in SPLITS.items():
        count, split = round(files * share), name.removesuffix(".csv")
        volumes = [f"{split}_{i // 3}_a_{i % 3 + 1}" for i in range(count)]
        vectors = draw.standard_normal((count, WIDTH), dtype=np.float32)
        labels = (vectors @ weights + draw.standard_normal((count, FINDINGS)) > 1).astype(int)
        frame = pd.DataFrame({"volumename": volumes, "visual_feature_path": [f"{volume}.npz" for volume in volumes]})
        frame[[f"Finding {i + 1}" for i in range(FINDINGS)]] = labels
        frame.to_csv(folder / "manifests" / name, index=False)
        for volume, vector in zip(volumes, vectors):
            np.savez(folder / "features" / f"{volume}.npz", vector[None])
    tests = "data.test_manifests=[test.csv]"
    return [f"paths.data_root={folder / 'features'}", f"paths.manifest_dir={folder / 'manifests'}", tests]


def main() -> None:
    """Print a row a command."""
    runs, files = [*map(int, sys.argv[1:3]), *(7, 50_188)[len(sys.argv[1:3]) :]]
    program = [sys.executable, "-m", "ctbench_core"]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        demo = write_demo(folder / "demo")
        places = [f"paths.data_root={demo['data_root']}", f"paths.manifest_dir={demo['manifest_dir']}"]
        test = "evaluation.after_training=true"
        rows = {
            f"python, import {name}": [sys.executable, "-c", f"import {name}"] for name in ("sys", "pandas", "torch")
        }
        rows |= {"--help": [*program, "--help"], "check, wrong key": [*program, "check", "nosuch=1"]}
        rows |= {"check": [*program, "check", *places], "train": [*program, "train", *places]}
        rows |= {"train with its test": [*program, "train", *places, test]}
        if files:
            many = write_files(folder / "many", files)
            one_epoch = ["training.max_epochs=1", "model.params.hidden_dims=[1024]", test]
            rows |= {f"pack, {files:,} files": [*program, "pack", *many]}
            rows |= {f"train, one epoch, {files:,} files": [*program, "train", *many, *one_epoch]}
        for title, command in rows.items():
            figures = []
            for _ in range(runs):
                shutil.rmtree(folder / "outputs", ignore_errors=True)
                figures.append(measure(command, folder))
            cpu, wall, peak = map(min, zip(*figures))
            print(f"{title:36} {cpu:6.2f} s of processors {wall:6.2f} s {peak:6.0f} MiB", flush=True)


if __name__ == "__main__":
    main()
