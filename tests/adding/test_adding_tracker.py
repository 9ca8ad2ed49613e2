"""A tracker is one declaration and its service: a run then sends it every epoch and the end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]

# A tracker of somebody: a line of JSON an epoch, in a file in the run directory.
SERVICE = """
import json
from ctbench_core.runs.trackers import Service, epoch_metrics, final_metrics

class LineService(Service):
    def open(self):
        self.path = self.paths.root / "lines.jsonl"

    def write(self, line):
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\\\\n")

    def epochs(self, lines):
        for line in lines:
            self.write({"epoch": line["epoch"], **epoch_metrics(line)})

    def end(self, result):
        self.write({"state": result["state"], **final_metrics(result)})
""".replace("\\\\n", "\\n")

SCRIPT = """
from ctbench_core.declared import TRACKERS, TrackerInfo

TRACKERS.add(TrackerInfo("lines", "Lines", "line_tracker:LineService"))

import json, sys
from ctbench_core.cli.main import main

assert main([*json.loads(sys.argv[1]), "--json"]) == 0
try:
    main(["train", "--help"])
except SystemExit:
    pass
"""


def test_a_registered_tracker_receives_the_run(tmp_path: Path, overrides: list[str]) -> None:
    (tmp_path / "line_tracker.py").write_text(SERVICE, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{PROJECT}", "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(["train", *overrides, "logging.logger_name=lines"])],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    (result,) = (json.loads(line) for line in ended.stdout.splitlines() if line.startswith("{"))
    lines = [json.loads(line) for line in (Path(result["run_dir"]) / "lines.jsonl").read_text().splitlines()]
    history = [json.loads(line) for line in (Path(result["run_dir"]) / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines[:-1]] == [line["epoch"] for line in history]
    assert [line["val/auprc"] for line in lines[:-1]] == [line["val_metrics"]["auprc"] for line in history]
    assert (lines[-1]["state"], lines[-1]["best_val_auprc"]) == ("finished", result["best_val"]["auprc"])
    assert ", lines." in ended.stdout, "the help of logging.logger_name lists it"
