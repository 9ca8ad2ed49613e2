"""Trackers receive the epochs and the end of a run; a tracker that fails does not stop the run.

The tests with the real libraries run where those are installed: pip install 'ctbench[wandb,mlflow,tensorboard]'.
"""

from __future__ import annotations

import json
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ctbench_core.config import Config, set_key
from ctbench_core.declared import TRACKERS, TrackerInfo
from ctbench_core.errors import RunError
from ctbench_core.experiment import run_experiment
from ctbench_core.runs import RunPaths, open_run, trackers
from ctbench_core.runs.trackers import Service, epoch_metrics

PROJECT = Path(__file__).resolve().parents[2]
UNREACHABLE = "http://127.0.0.1:9"  # the discard port: nothing answers


@pytest.fixture(autouse=True)
def _forget_failures() -> Iterator[None]:
    trackers._failures.clear()
    yield
    trackers._failures.clear()


class RecordingService(Service):
    """A service that records its calls."""

    calls: list[Any]

    def open(self) -> None:
        type(self).calls = [("open", self.name)]

    def epochs(self, lines: list[dict[str, Any]]) -> None:
        self.calls += [("epoch", line["epoch"], epoch_metrics(line)) for line in lines]

    def end(self, result: dict[str, Any]) -> None:
        self.calls.append(("end", result["state"], trackers.final_metrics(result)))


@pytest.fixture
def run(config: Config, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Return a function that trains a small run with a tracker: a service class under the name "test", or a name."""

    def train(tracker: type[Service] | str, changes: dict[str, Any] | None = None) -> dict[str, Any]:
        if not isinstance(tracker, str):
            monkeypatch.setitem(TRACKERS._items, "test", TrackerInfo("test", "Test", "here:service"))
            monkeypatch.setattr(trackers, "load", lambda reference: tracker)
        set_key(config, "logging.logger_name", tracker if isinstance(tracker, str) else "test")
        for key, value in (changes or {}).items():
            set_key(config, key, value)
        return run_experiment(config)

    return train


def test_every_epoch_and_the_end_arrive_in_order(run: Callable[..., Any]) -> None:
    result = run(RecordingService, {"evaluation.after_training": True})
    history = open_run(result["run_dir"]).history()
    assert result["warnings"] == []
    opened, *epochs, end = RecordingService.calls
    assert opened == ("open", Path(result["run_dir"]).name)
    assert [epoch for _, epoch, _ in epochs] == [1, 2, 3]
    for line, (_, _, metrics) in zip(history, epochs):
        assert metrics["val/auprc"] == line["val_metrics"]["auprc"]
        assert metrics["best/val_auprc"] == line["best_val_auprc"]
        assert metrics["val/Lung nodule/f1"] == line["val_metrics"]["per_class"]["Lung nodule"]["f1"]
    assert end[1] == "finished"
    assert end[2]["best_val_auprc"] == result["best_val"]["auprc"]
    assert end[2]["test/test.csv/auroc"] == result["test"]["test.csv"]["auroc"]


def test_without_a_tracker_no_thread_runs(run: Callable[..., Any]) -> None:
    assert run("none")["warnings"] == []
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ctbench-")]


def test_an_unknown_tracker_is_a_warning_that_lists_the_known_ones(run: Callable[..., Any]) -> None:
    result = run("neptune")
    assert result["state"] == "finished"
    assert f"Known: {', '.join(TRACKERS)}." in result["warnings"][-1]


@pytest.mark.parametrize("name", [info.name for info in TRACKERS.values() if info.install])
def test_a_missing_package_is_a_warning_with_the_install_command(
    run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for module in [
        name,
        *(module for module in sys.modules if module.startswith((f"{name}.", "torch.utils.tensorboard"))),
    ]:
        monkeypatch.setitem(sys.modules, module, None)
    result = run(name)
    assert result["state"] == "finished"
    assert f"pip install 'ctbench[{name}]'" in result["warnings"][-1]


def test_a_declared_tracker_that_cannot_be_imported_is_a_warning(
    run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TRACKERS._items, "lost", TrackerInfo("lost", "Lost", "no_such_module:Service"))
    result = run("lost")
    assert result["state"] == "finished"
    assert result["warnings"][-1].startswith("lost did not receive the run: No module named 'no_such_module'")


def test_the_docs_list_every_tracker_and_how_to_install_it() -> None:
    lines = (PROJECT / "docs" / "moving-in.md").read_text(encoding="utf-8").splitlines()
    for info in TRACKERS.values():
        (row,) = (line for line in lines if line.startswith(f"| `{info.name}` |"))
        assert f"| `{info.install}` |" in row if info.install else "| nothing |" in row
        assert info.usual_address.split(",")[0] in row


def test_a_silent_server_delays_no_run(run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    answered = threading.Event()

    class Silent(Service):
        def open(self) -> None:
            answered.wait()

    monkeypatch.setattr(trackers, "WAIT_S", 0.05)
    result = run(Silent)
    assert (result["state"], result["epochs"]) == ("finished", 3)
    assert "no answer within 0.05 s" in result["warnings"][-1]
    again = run(Silent)
    assert "failed less than 5 minutes ago: no answer" in again["warnings"][-1]
    answered.set()


def test_a_server_that_goes_away_is_one_warning(run: Callable[..., Any]) -> None:
    class Gone(Service):
        def epochs(self, lines: list[dict[str, Any]]) -> None:
            raise ConnectionError("connection reset")

    result = run(Gone)
    assert (result["state"], result["epochs"]) == ("finished", 3)
    assert [text for text in result["warnings"] if "connection reset" in text] == result["warnings"]


def test_a_failed_run_is_marked_failed_at_the_tracker(run: Callable[..., Any]) -> None:
    with pytest.raises(RunError):
        run(RecordingService, {"training.learning_rate": 1e30, "training.optimizer": "sgd", "training.monitor": "loss"})
    assert RecordingService.calls[-1][1] == "failed"


def finished_paths(result: dict[str, Any]) -> RunPaths:
    assert (result["state"], result["warnings"]) == ("finished", [])
    return open_run(result["run_dir"]).paths


@pytest.mark.filterwarnings("ignore")
def test_tensorboard_holds_epochs_config_and_final_metrics(run: Callable[..., Any]) -> None:
    pytest.importorskip("tensorboard", reason="pip install 'ctbench[tensorboard]'")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    result = run("tensorboard")
    paths = finished_paths(result)
    events_file = EventAccumulator(str(paths.root / "tensorboard"), size_guidance={"scalars": 0})
    events_file.Reload()
    history = open_run(paths.root).history()
    events = events_file.Scalars("val/auprc")
    assert [event.step for event in events] == [1, 2, 3]
    assert [event.value for event in events] == pytest.approx([line["val_metrics"]["auprc"] for line in history])
    assert events_file.Scalars("final/best_val_auroc")[0].value == pytest.approx(result["best_val"]["auroc"])
    text = events_file.Tensors("config/text_summary")[0].tensor_proto.string_val[0].decode()
    assert "training.max_epochs: 3" in text


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("place", ["default", "folder"])
def test_mlflow_holds_epochs_config_and_final_metrics(run: Callable[..., Any], tmp_path: Path, place: str) -> None:
    pytest.importorskip("mlflow", reason="pip install 'ctbench[mlflow]'")
    from mlflow.tracking import MlflowClient

    folder = (tmp_path / "mlruns").as_uri()
    changes = {"logging.project_name": "mine", "logging.log_model": True, "logging.tags": ["phase3"]}
    result = run("mlflow", changes | ({"logging.tracking_uri": folder} if place == "folder" else {}))
    finished_paths(result)
    address = folder if place == "folder" else f"sqlite:///{tmp_path}/outputs/.mlflow/mlflow.db"
    client = MlflowClient(address)
    (stored,) = client.search_runs([client.get_experiment_by_name("mine").experiment_id])
    assert (stored.info.status, stored.info.run_name) == ("FINISHED", Path(result["run_dir"]).name)
    assert stored.data.params["training.max_epochs"] == "3"
    assert "phase3" in stored.data.tags
    assert stored.data.metrics["best_val_auprc"] == pytest.approx(result["best_val"]["auprc"])
    history = open_run(result["run_dir"]).history()
    sent = sorted(client.get_metric_history(stored.info.run_id, "val/auprc"), key=lambda metric: metric.step)
    assert [(metric.step, metric.value) for metric in sent] == [
        (e["epoch"], e["val_metrics"]["auprc"]) for e in history
    ]
    assert [file.path for file in client.list_artifacts(stored.info.run_id)] == ["final_model.pt"]


def _records(content: bytes) -> Iterator[bytes]:
    """Yield the records of a LevelDB log: blocks of 32 KiB of fragments, after a header of 7 bytes."""
    at, record = 7, b""
    while at + 7 <= len(content):
        if 32768 - at % 32768 < 7:  # the rest of a block is padding
            at += 32768 - at % 32768
            continue
        length, kind = struct.unpack_from("<HB", content, at + 4)
        record += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # the whole record, or its last fragment
            yield record
            record = b""


def _read_wandb(file: Path) -> tuple[list[dict[str, Any]], dict[str, Any], Any]:
    """Return the history, the summary and the run record of an offline run."""
    from wandb.proto.wandb_internal_pb2 import Record

    def values(items: Any) -> dict[str, Any]:
        return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}

    history, summary, header = [], {}, None
    for content in _records(file.read_bytes()):
        record = Record.FromString(content)
        kind = record.WhichOneof("record_type")
        if kind == "history":
            history.append(values(record.history.item))
        elif kind == "summary":
            summary |= values(record.summary.update)
        elif kind == "run":
            header = record.run
    return history, summary, header


@pytest.mark.filterwarnings("ignore")
def test_wandb_offline_holds_epochs_config_and_final_metrics(
    run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb", reason="pip install 'ctbench[wandb]'")
    monkeypatch.setenv("WANDB_MODE", "offline")
    result = run("wandb", {"logging.project_name": "mine", "logging.tags": ["phase3"], "logging.job_type": "probe"})
    paths = finished_paths(result)
    (file,) = paths.root.glob("wandb/offline-run-*/*.wandb")
    history, summary, header = _read_wandb(file)
    assert header is not None
    assert (header.project, header.job_type, list(header.tags)) == ("mine", "probe", ["phase3"])
    config = {item.key: json.loads(item.value_json) for item in header.config.update}
    assert config["training"]["max_epochs"] == 3
    lines = open_run(paths.root).history()
    assert [entry["epoch"] for entry in history] == [1, 2, 3]
    assert [entry["val/auprc"] for entry in history] == [line["val_metrics"]["auprc"] for line in lines]
    assert summary["best_val_auprc"] == result["best_val"]["auprc"]
    assert summary["state"] == "finished"


@pytest.mark.filterwarnings("ignore")
def test_mlflow_without_its_server_lets_the_run_finish(run: Callable[..., Any]) -> None:
    pytest.importorskip("mlflow", reason="pip install 'ctbench[mlflow]'")
    result = run("mlflow", {"logging.tracking_uri": UNREACHABLE})
    assert (result["state"], result["epochs"]) == ("finished", 3)
    assert "mlflow did not receive the whole run" in result["warnings"][-1]


@pytest.mark.filterwarnings("ignore")
def test_wandb_without_its_server_lets_the_run_finish(run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = pytest.importorskip("wandb", reason="pip install 'ctbench[wandb]'")
    wandb.teardown()  # it remembers the mode of an earlier run
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("WANDB_BASE_URL", UNREACHABLE)
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setattr(trackers, "_OPEN_WITHIN_S", 2)
    result = run("wandb")
    assert (result["state"], result["epochs"]) == ("finished", 3)
    assert "wandb did not receive the whole run" in result["warnings"][-1]
