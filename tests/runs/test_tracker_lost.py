"""A tracker's server that is lost during a run, with the real libraries: the run finishes, with a warning.

They run where the libraries are installed: pip install 'ctbench[wandb,mlflow]'.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ctbench_core.config import Config, set_key
from ctbench_core.experiment import run_experiment
from ctbench_core.runs import open_run, trackers

START_S = 90
EPOCHS = 6


@pytest.fixture(autouse=True)
def _forget_failures() -> Iterator[None]:
    trackers._failures.clear()
    yield
    trackers._failures.clear()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def mlflow_server(folder: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Serve MLflow on a free port, in a process group of its own; yield its address."""
    address = f"http://127.0.0.1:{(port := free_port())}"
    store = ["--backend-store-uri", f"sqlite:///{folder / 'server.db'}", "--artifacts-destination", str(folder / "art")]
    command = [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1", *store]
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline and server.poll() is None:
            with contextlib.suppress(urllib.error.URLError, OSError), urllib.request.urlopen(f"{address}/health"):
                break
            time.sleep(0.1)
        else:
            pytest.fail((folder / "server.log").read_text())
        yield address, server
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


@pytest.mark.skipif(os.name == "nt", reason="the server is ended by its process group")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("how", ["killed", "silent"])
def test_an_mlflow_server_lost_during_a_run_is_a_warning(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    pytest.importorskip("mlflow", reason="pip install 'ctbench[mlflow]'")
    from mlflow.tracking import MlflowClient

    monkeypatch.setattr(trackers, "WAIT_S", 5.0)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    seen: list[int] = []
    with mlflow_server(tmp_path) as (address, server):
        client = MlflowClient(address)

        def lose(epochs: int) -> None:
            """Wait until the server has some epochs, then kill or suspend it."""
            deadline = time.monotonic() + START_S
            while not seen and time.monotonic() < deadline:
                experiment = client.get_experiment_by_name("ctbench")
                runs = client.search_runs([experiment.experiment_id]) if experiment else []
                seen.extend(
                    metric.step for run in runs for metric in client.get_metric_history(run.info.run_id, "val/auprc")
                )
                time.sleep(0.05)
            os.killpg(server.pid, signal.SIGKILL if how == "killed" else signal.SIGSTOP)

        result = _train(config, {"logging.logger_name": "mlflow", "logging.tracking_uri": address}, lose)
    assert seen and max(seen) < EPOCHS
    assert (result["state"], result["epochs"]) == ("finished", EPOCHS)
    assert [text for text in result["warnings"] if "mlflow did not receive the whole run" in text]
    assert [line["epoch"] for line in open_run(result["run_dir"]).history()] == list(range(1, EPOCHS + 1))


@pytest.mark.filterwarnings("ignore")
def test_a_wandb_server_lost_during_a_run_is_a_warning(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library is the real one; the server accepts the run and is then killed."""
    wandb = pytest.importorskip("wandb", reason="pip install 'ctbench[wandb]'")
    wandb.teardown()  # it keeps the address of an earlier run
    port, log = free_port(), tmp_path / "server.log"
    with log.open("wb") as file:
        command = [sys.executable, str(Path(__file__).with_name("wandb_server.py")), str(port)]
        server = subprocess.Popen(command, stdout=file, stderr=file)
    for name, value in {"MODE": "online", "BASE_URL": f"http://127.0.0.1:{port}", "API_KEY": "0" * 40}.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    monkeypatch.setattr(trackers, "WAIT_S", 3.0)

    def lose(epochs: int) -> None:
        deadline = time.monotonic() + START_S
        while "UpsertBucket" not in log.read_text() and time.monotonic() < deadline:
            time.sleep(0.05)
        server.kill()
        server.wait()

    try:
        result = _train(config, {"logging.logger_name": "wandb"}, lose)
    finally:
        server.kill()
        server.wait()
    assert "UpsertBucket" in log.read_text()
    assert (result["state"], result["epochs"]) == ("finished", EPOCHS)
    assert [text for text in result["warnings"] if "wandb did not receive the whole run" in text]


def _train(config: Config, changes: dict[str, Any], lose: Callable[[int], None]) -> dict[str, Any]:
    """Train a small run, and call ``lose`` after its second epoch."""
    for key, value in {**changes, "training.max_epochs": EPOCHS}.items():
        set_key(config, key, value)
    lost = False

    def watch(phase: str, done: int, total: int) -> None:
        nonlocal lost
        if not lost and phase.startswith("training") and done == 2:
            lost = True
            lose(done)

    return run_experiment(config, progress=watch)
