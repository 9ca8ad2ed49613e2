"""A run killed at any moment and resumed equals one never killed; a signal stops a run with its state saved."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.works import contents
from ctbench_core.runs import open_run, read_history

Start = Callable[..., "subprocess.Popen[str]"]
LIMIT_S = 120.0
EPOCHS = 200


def run_overrides(overrides: list[str], run_dir: Path, epochs: int = EPOCHS) -> list[str]:
    """Return the overrides of a run that early stopping does not end."""
    long = [f"training.max_epochs={epochs}", "training.early_stopping_patience=100000", f"paths.run_dir={run_dir}"]
    return [*overrides, *long, "data.standardise=zscore", "training.scheduler=cosine", "utils.device=cpu"]


def wait_for_epochs(process: subprocess.Popen[str], run_dir: Path, count: int) -> None:
    """Watch ``metrics.jsonl`` until it holds some epochs."""
    deadline, pause = time.monotonic() + LIMIT_S, threading.Event()
    while len(read_history(run_dir / "metrics.jsonl")) < count:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        pause.wait(0.005)


def finished(process: subprocess.Popen[str]) -> dict[str, Any]:
    out, err = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0, err
    return json.loads(out.splitlines()[-1])


def test_killed_twice_and_resumed_equals_never_killed(start_cli: Start, overrides: list[str], tmp_path: Path) -> None:
    whole, parts = tmp_path / "outputs" / "whole", tmp_path / "outputs" / "parts"
    uninterrupted = start_cli("train", *run_overrides(overrides, whole), "--json")
    killed = start_cli("train", *run_overrides(overrides, parts))
    for _ in range(2):
        wait_for_epochs(killed, parts, 3)
        killed.kill()
        killed.wait(LIMIT_S)
        assert len(read_history(parts / "metrics.jsonl")) < EPOCHS
        assert open_run(parts).status.state == "interrupted"
        killed = start_cli("train", *run_overrides(overrides, parts), "training.resume.enabled=true", "--json")
    result = finished(killed)
    assert finished(uninterrupted)["best_epoch"] == result["best_epoch"]
    assert (result["state"], result["epochs"]) == ("finished", EPOCHS)
    assert contents(parts) == contents(whole)
    assert open_run(parts).config.training.resume.enabled is False


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for a single process")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_run_which_can_be_resumed(
    start_cli: Start, cli: Callable[..., Any], overrides: list[str], tmp_path: Path, number: signal.Signals
) -> None:
    run_dir = tmp_path / "outputs" / "train" / "stopped"
    process = start_cli("train", *run_overrides(overrides, run_dir, 100_000), "--json")
    wait_for_epochs(process, run_dir, 2)
    process.send_signal(number)
    out, err = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 130
    assert "Traceback" not in err
    result = json.loads(out.splitlines()[-1])
    assert result["state"] == open_run(run_dir).status.state == "cancelled"
    epochs = len(read_history(run_dir / "metrics.jsonl"))
    assert result["epochs"] == epochs
    assert torch.load(run_dir / "checkpoints" / "final_model.pt", weights_only=True)
    # The run is found by its job alone, and gets fewer epochs.
    again = cli("train", *overrides, "training.resume.enabled=true", f"training.max_epochs={epochs + 5}")
    assert again.code == 0, again.err
    assert (again.json["run_dir"], again.json["epochs"]) == (str(run_dir), epochs + 5)


def test_a_piped_result_is_one_json_line_at_the_end(start_cli: Start, overrides: list[str], tmp_path: Path) -> None:
    """In another process: progress on stderr, the table and then the JSON on stdout."""
    result = finished(start_cli("train", *overrides, "--json"))
    assert result["state"] == "finished"
    bad = start_cli("train", *overrides, "training.lr=1", "--json")
    out, err = bad.communicate(timeout=LIMIT_S)
    assert bad.returncode == 2
    assert "Traceback" not in err
    assert "training.lr" in json.loads(out.splitlines()[-1])["error"]
