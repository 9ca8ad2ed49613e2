"""Kill a study at random moments and resume it, and kill one of three processes that share a study.

Both must end with the table of the same study without kills (six decimals, no times), with no run lost and no
finished run trained again.

    python -m benchmarks.killed_study <feature root> <manifest folder> [--kills 10]
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

GRID = {"budget": [20, 100, 300], "utils.seed": [1, 2, 3], "model": ["mlp_visual", "linear_probe"]}


def command(study: Path, outputs: Path, *more: str) -> list[str]:
    """Return the command that runs a study in a run store."""
    return [sys.executable, "-m", "ctbench_core", "study", str(study), f"paths.outputs_root={outputs}", *more]


def start(*arguments: str) -> subprocess.Popen[bytes]:
    """Start a command without output."""
    return subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def finished(folder: Path) -> dict[str, int]:
    """Return when each finished run wrote its last checkpoint."""
    folders = [p.parent for p in folder.glob("*/status.json") if '"finished"' in p.read_text(encoding="utf-8")]
    return {run.name: (run / "checkpoints" / "final_model.pt").stat().st_mtime_ns for run in folders}


def killed(study: Path, outputs: Path, kills: int, span: float) -> tuple[str, int]:
    """Kill and resume; return the table, and how many finished runs were trained again."""
    repeated, folder = 0, outputs / "killed"
    last: dict[str, int] = {}
    for _ in range(kills):
        process = start(*command(study, outputs))
        time.sleep(random.uniform(1.0, span))
        process.kill()
        process.wait()
        before = finished(folder)
        repeated += sum(stamp != before.get(name) for name, stamp in last.items())
        last = before
        print(f"  killed with {len(before)} runs finished", flush=True)
    before = finished(folder)
    subprocess.run(command(study, outputs), check=True, capture_output=True)
    repeated += sum(stamp != finished(folder).get(name) for name, stamp in before.items())
    return (folder / "table.csv").read_text(encoding="utf-8"), repeated


def shards(study: Path, outputs: Path, delay: float) -> str:
    """Run a study in three processes, kill one of them, and return the table."""
    workers = [start(*command(study, outputs, "--shard", f"{i}/3")) for i in (1, 2, 3)]
    time.sleep(delay)
    workers[0].kill()
    for worker in workers:
        worker.wait()
    subprocess.run(command(study, outputs), check=True, capture_output=True)
    return (outputs / "killed" / "table.csv").read_text(encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path)
    parser.add_argument("manifests", type=Path)
    parser.add_argument("--kills", type=int, default=10)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        base = {
            "paths.data_root": str(options.root), "paths.manifest_dir": str(options.manifests), "data.test_manifests": ["test.csv"],
            "model.params.hidden_dims": [256], "training.learning_rate": 1e-3, "training.max_epochs": 60,
            "training.early_stopping_patience": 20,
        }  # fmt: skip
        study = folder / "killed.yaml"
        study.write_text(yaml.safe_dump({"name": "killed", "base": base, "grid": GRID}), encoding="utf-8")
        started = time.perf_counter()
        subprocess.run(command(study, folder / "whole"), check=True, capture_output=True)
        span = time.perf_counter() - started
        whole = (folder / "whole" / "killed" / "table.csv").read_text(encoding="utf-8")
        print(f"never killed: {whole.count(chr(10)) - 1} runs in {span:.1f} s", flush=True)
        table, repeated = killed(study, folder / "kills", options.kills, max(2.5, span / 4))
        print(
            f"killed {options.kills} times: table equal {table == whole}, finished runs trained again {repeated}",
            flush=True,
        )
        print(f"three shards, one killed: table equal {shards(study, folder / 'shards', span * 0.4) == whole}")


if __name__ == "__main__":
    main()
