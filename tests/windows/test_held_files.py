"""A store whose files other programs hold open for a while, or for good: nothing is lost, and the message says so."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ctbench_core import atomic
from ctbench_core.config import Config
from ctbench_core.errors import HeldError
from ctbench_core.evaluate import evaluate_run, run_evaluation
from ctbench_core.experiment import run_experiment
from ctbench_core.runs import (
    Ledger,
    Recorder,
    RunStore,
    delete_run,
    latest_run,
    new_status,
    open_run,
    read_status,
    restore_run,
)

PROJECT = Path(__file__).resolve().parents[2]
MakeRun = Callable[..., Path]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the pauses between tries of writing, which take no time here."""
    pauses: list[float] = []
    monkeypatch.setattr(atomic, "time", type("Clock", (), {"sleep": staticmethod(pauses.append)}))
    return pauses


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_run_with_an_open_file_is_not_deleted_by_half(
    evaluated_run: MakeRun, tmp_path: Path, clock: list[float]
) -> None:
    folder, store = evaluated_run(), tmp_path / "outputs"
    before = files(folder)
    with (folder / "evaluation" / "test" / "per_class.csv").open("rb"), pytest.raises(HeldError, match="shell"):
        delete_run(store, open_run(folder))
    assert files(folder) == before and len(RunStore(store).runs()) == 1
    trashed = delete_run(store, open_run(folder))
    assert not RunStore(store).runs() and files(trashed) == before
    with (trashed / "status.json").open("rb"), pytest.raises(HeldError):
        restore_run(store, trashed)
    assert files(restore_run(store, trashed).paths.root) == before


def test_a_run_deleted_twice_under_one_name_is_kept_twice(evaluated_run: MakeRun, tmp_path: Path) -> None:
    folder, store = evaluated_run(), tmp_path / "outputs"
    (folder / "mark").write_text("first")
    first = delete_run(store, open_run(folder))
    restored = files(first)
    for name, content in restored.items():  # the same run comes again, from a copy
        atomic.write_bytes(folder / name, content)
    (folder / "mark").write_text("second")
    second = delete_run(store, open_run(folder))
    assert [(place / "mark").read_text() for place in (first, second)] == ["first", "second"]
    assert restore_run(store, second).paths.root == folder
    assert (folder / "mark").read_text() == "second" and (first / "mark").read_text() == "first"


def test_every_file_of_a_run_may_be_held_for_three_seconds(
    config: Config, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    first_tried: dict[str, float] = {}
    real = os.replace

    def replace(source: Path, target: Path) -> None:
        since = first_tried.setdefault(str(target), sum(clock))
        if sum(clock) - since < 3:
            raise PermissionError(13, "held open")
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    config.evaluation.after_training = True
    result = run_experiment(config)
    run = open_run(result["run_dir"])
    assert (run.status.state, result["state"], run.status.epoch) == ("finished", "finished", 3)
    assert run.evaluations() == ["test"] and len(first_tried) >= 15
    written = set(first_tried) - {str(run.paths.root.parent / "latest_run.json")}
    assert all(Path(path).is_file() for path in written)


def test_heartbeats_never_end_a_run_and_its_last_state_is_tried_again(
    tmp_path: Path, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    from ctbench_core.runs import RunPaths, write_status

    paths = RunPaths(tmp_path)
    status = write_status(paths.status, new_status("run", max_epochs=9))
    real, until = os.replace, [0.0]

    def replace(source: Path, target: Path) -> None:
        if sum(clock) < until[0]:
            raise PermissionError(13, "held open")
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    monkeypatch.setattr("ctbench_core.runs.recorder.WRITE_EVERY_S", 0.0)
    with Recorder(paths, status) as recorder:
        until[0] = sum(clock) + 20
        recorder.epoch(4)
        assert recorder.stop_check(lambda: True)()  # cancelling
        assert sum(clock) < 5  # a heartbeat does not hold up the training
        assert read_status(paths.status).state == "running"
        recorder.end("cancelled")
    assert (read_status(paths.status).state, read_status(paths.status).epoch) == ("cancelled", 4)


def test_a_table_open_in_excel_is_named_and_a_retry_counts_no_opening(
    cli: Callable[..., Any], evaluated_run: MakeRun, tmp_path: Path, clock: list[float]
) -> None:
    folder = evaluated_run()
    before, ledger = files(folder), Ledger(tmp_path / "outputs")
    openings = len(ledger.openings())
    with (folder / "evaluation" / "test" / "calibration.csv").open("rb"):
        for _ in range(2):
            ended = cli("evaluate", f"run={folder}")
            assert ended.code == 1 and "Traceback" not in ended.err
            assert "calibration.csv is open in another program" in ended.json["error"]
            assert "Close it there" in ended.json["error"]
    assert files(folder) == before and len(ledger.openings()) == openings
    assert cli("evaluate", f"run={folder}").code == 0
    assert len(ledger.openings()) == openings + 1


def test_metrics_are_new_where_a_table_is_opened_in_between(
    evaluated_run: MakeRun, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = evaluated_run()
    bundle = open_run(folder).paths.evaluation("test")
    monkeypatch.setattr(run_evaluation, "require_free", lambda paths: None)
    with bundle.per_class.open("rb"), pytest.raises(HeldError, match=r"per_class\.csv"):
        evaluate_run(folder)
    assert json.loads(bundle.metrics.read_text(encoding="utf-8"))["openings"] == 2


def test_other_verbs_name_the_file_that_is_open(
    cli: Callable[..., Any], evaluated_run: MakeRun, tmp_path: Path, clock: list[float]
) -> None:
    folder, tables = evaluated_run(), tmp_path / "tables"
    calls = {
        "aggregate": (["aggregate", str(folder.parent), f"output_dir={tables}"], tables / "train_per_run.csv"),
        "export": (["export", str(folder)], folder.with_name(f"{folder.name}.zip")),
    }
    for arguments, written in calls.values():
        assert cli(*arguments).code == 0
        with written.open("rb"):
            ended = cli(*arguments)
        assert ended.code == 1 and f"{written.name} is open in another program" in ended.json["error"]
        assert "Traceback" not in ended.err


# Eight processes that append as Windows does: seek to the end, then write, with others in between.
APPENDERS = """
import os, sys, time
from pathlib import Path
from ctbench_core.runs import Ledger

class Seeking:
    def __init__(self, path):
        self.file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT), "r+b", buffering=0)
    def __enter__(self): return self
    def __exit__(self, *error): self.file.close()
    def seek(self, *to): return self.file.seek(*to)
    def read(self, size): return self.file.read(size)
    def write(self, data):
        self.file.seek(0, os.SEEK_END)
        time.sleep(0.0005)
        return self.file.write(data)

real = Path.open
Path.open = lambda path, mode="r", *rest, **more: Seeking(path) if mode == "a+b" else real(path, mode, *rest, **more)
number = next((n for n in range(1, 8) if os.fork() == 0), 0)
for line in range(25):
    Ledger(sys.argv[1]).record(Path(f"run-{number}-{line}"), "train", "test.csv", "id")
if number:
    os._exit(0)
for _ in range(7):
    assert os.wait()[1] == 0
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="emulated by processes of Linux or macOS")
def test_eight_processes_lose_no_line(tmp_path: Path) -> None:
    command = [sys.executable, "-c", APPENDERS, str(tmp_path)]
    subprocess.run(command, check=True, cwd=PROJECT, timeout=60)
    openings = Ledger(tmp_path).openings()
    assert len({opening.run for opening in openings}) == len(openings) == 8 * 25


def test_a_store_written_on_windows_keeps_its_marks(evaluated_run: MakeRun, tmp_path: Path) -> None:
    folder, ledger = evaluated_run(openings=2), Ledger(tmp_path / "outputs")
    lines = [json.loads(line) for line in ledger.path.read_text(encoding="utf-8").splitlines()]
    for line in lines:
        line["run"] = "C:\\store\\train\\" + folder.name
    atomic.write_text(ledger.path, "".join(json.dumps(line) + "\n" for line in lines))
    config = folder / "config.yaml"
    text = config.read_text(encoding="utf-8")
    before = open_run(folder).config
    atomic.write_text(config, text.replace("/manifests", "\\manifests").replace("/features", "\\features"))
    assert "\\manifests" in config.read_text(encoding="utf-8")
    assert open_run(folder).config == before
    atomic.write_json(folder.parent / "latest_run.json", {"run_dir": "C:\\store\\train\\" + folder.name})
    assert latest_run(before) == folder
    assert evaluate_run(folder)["test"]["test.csv"]["openings"] == 3
    metrics = json.loads(open_run(folder).paths.evaluation("test").metrics.read_text(encoding="utf-8"))
    assert (metrics["openings"], metrics["opened_by_runs"]) == (3, 1)


def test_the_emulation_refuses_what_is_open(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "file"
    path.parent.mkdir()
    path.write_text("old")
    (tmp_path / "new").write_text("new")
    with path.open("rb"):
        for refused in (
            path.unlink,
            lambda: path.parent.rename(tmp_path / "x"),
            lambda: (tmp_path / "new").replace(path),
        ):
            with pytest.raises(PermissionError, match="emulated"):
                refused()
    path.unlink()
    assert not path.exists()
