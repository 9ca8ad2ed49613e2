"""The run table and its index: rows are those of the folders, whatever the index holds or however it is harmed."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ctbench_core.config import Config, set_key
from ctbench_core.evaluate import evaluate_run
from ctbench_core.experiment import run_experiment
from ctbench_core.runs import (
    annotate,
    delete_run,
    open_run,
    read_metrics,
    read_table,
    run_fields,
    run_row,
    table,
)
from ctbench_core.runs.index import FILE

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def original(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store of three runs; one was evaluated on test, one failed."""
    root = tmp_path_factory.mktemp("table") / "outputs"
    config = Config()
    keys: dict[str, Any] = {
        "paths.data_root": str(tiny_data / "features"),
        "paths.manifest_dir": str(tiny_data / "manifests"),
    }
    keys |= {
        "paths.outputs_root": str(root),
        "training.max_epochs": 2,
        "model.params.hidden_dims": [8],
        "training.batch_size": 16,
    }
    for name, value in keys.items():
        set_key(config, name, value)
    run = Path(run_experiment(config)["run_dir"])
    evaluate_run(run, ["test.csv"])
    for name in ("20260101T000000Z-000001", "20260101T000000Z-000002"):
        copy = shutil.copytree(run, run.with_name(name))
        status = json.loads((copy / "status.json").read_text(encoding="utf-8"))
        (copy / "status.json").write_text(
            json.dumps(status | {"label": name, "state": "failed", "error": "disk"}), encoding="utf-8"
        )
    return root


@pytest.fixture
def store(original: Path, tmp_path: Path) -> Iterator[Path]:
    """Return a copy of the store; no row of it is in memory."""
    table._stores.clear()
    yield Path(shutil.copytree(original, tmp_path / "outputs", ignore=shutil.ignore_patterns(FILE)))
    table._stores.clear()


NAMES = ("validation_name", "validation_number")  # which the table gives to its rows


def restarted(store: Path) -> dict[str, dict[str, Any]]:
    """Return the rows by run id as a new process reads them."""
    table._stores.clear()
    return {row["run_id"]: row for row in read_table(store).rows}


def folders(store: Path) -> list[Path]:
    return sorted(path.parent for path in store.glob("train/*/status.json"))


@pytest.fixture
def refuse_reading(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Return a function after which a row that is not in the index is an error."""

    def refuse() -> None:
        monkeypatch.setattr(table, "run_row", lambda run: pytest.fail(f"{run.run_id} was read again"))

    return refuse


def test_the_rows_of_the_index_are_those_of_the_folders(store: Path, refuse_reading: Callable[[], None]) -> None:
    fresh = {folder.name: run_row(open_run(folder)) | dict.fromkeys(NAMES, "valid.csv") for folder in folders(store)}
    assert restarted(store) == fresh
    refuse_reading()
    assert restarted(store) == fresh
    moved = store.rename(store.with_name("elsewhere"))
    for name, row in restarted(moved).items():
        assert row == fresh[name] | {"run_dir": str(moved / "train" / name)}


def test_a_changed_a_new_and_a_deleted_run_are_seen_by_another_process(store: Path) -> None:
    first, second, third = folders(store)
    restarted(store)
    annotate(first, tags=["paper"])
    delete_run(store, open_run(second))
    new = Path(shutil.copytree(third, third.with_name("20260101T000000Z-000003")))
    code = f"from ctbench_core.runs import read_table; print(sorted((r['run_id'], r['tags']) for r in read_table({str(store)!r}).rows))"
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True, timeout=120
    )
    assert ended.stdout.strip() == str(sorted([(first.name, ["paper"]), (third.name, []), (new.name, [])]))
    with sqlite3.connect(store / FILE) as base:
        stored = {name for (name,) in base.execute("SELECT folder FROM runs")}
    base.close()
    assert stored == {f"train{os.sep}{folder.name}" for folder in (first, third, new)}


HARM: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "cut": lambda content: content[: len(content) // 2],
    "text": lambda content: b"no database" * 1000,
    "a number": lambda content: content.replace(b"disk", b"dusk"),
    "another version": lambda content: content[:60] + b"\x00\x00\x00\x07" + content[64:],
}


@pytest.mark.parametrize("harm", HARM.values(), ids=HARM)
def test_a_harmed_index_changes_no_row_and_is_begun_again(
    harm: Callable[[bytes], bytes], store: Path, refuse_reading: Callable[[], None]
) -> None:
    before = restarted(store)
    file = store / FILE
    assert b"disk" in file.read_bytes()
    file.write_bytes(harm(file.read_bytes()))
    assert restarted(store) == before
    refuse_reading()
    assert restarted(store) == before


def test_an_index_that_cannot_be_written_costs_time_alone(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = restarted(store)
    annotate(folders(store)[0], notes="while it is locked")
    locked = sqlite3.connect(store / FILE, isolation_level=None)
    try:
        locked.execute("BEGIN EXCLUSIVE")
        assert restarted(store)[folders(store)[0].name]["notes"] == "while it is locked"
    finally:
        locked.close()
    (store / FILE).unlink()
    (store / FILE).mkdir()
    assert restarted(store).keys() == rows.keys()
    (store / FILE).rmdir()

    def full(*_: Any, **__: Any) -> Any:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(sqlite3, "connect", full)
    assert restarted(store).keys() == rows.keys()
    assert not (store / FILE).exists()


def test_the_order_is_kept_while_no_row_changes(store: Path) -> None:
    before = read_table(store).rows
    assert read_table(store).rows is before
    annotate(folders(store)[0], notes="changed")
    after = read_table(store).rows
    assert after is not before
    assert [row["run_id"] for row in after] == [row["run_id"] for row in before]
    delete_run(store, open_run(folders(store)[0]))
    assert len(read_table(store).rows) == len(after) - 1


def test_a_first_reading_that_is_stopped_keeps_what_it_has_read(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "_BATCH", 2)
    table._stores.clear()
    assert table.count_unread(store) == 3
    read, rows = table._row, []

    def stopped(*arguments: Any) -> Any:
        if len(rows) == 2:
            raise KeyboardInterrupt
        rows.extend([row] if (row := read(*arguments)) else [])
        return row

    monkeypatch.setattr(table, "_row", stopped)
    with pytest.raises(KeyboardInterrupt):
        read_table(store)
    monkeypatch.setattr(table, "_row", read)
    table._stores.clear()
    assert table.count_unread(store) == 1
    assert len(read_table(store).rows) == 3
    assert table.count_unread(store) == 0


def test_an_active_run_and_one_without_a_process_are_not_in_the_index(store: Path) -> None:
    folder = folders(store)[0]
    status = json.loads((folder / "status.json").read_text(encoding="utf-8"))
    gone = {"state": "running", "pid": 2**22 + 1, "process_started": 0.0, "process_token": ""}
    (folder / "status.json").write_text(json.dumps(status | gone), encoding="utf-8")
    assert restarted(store)[folder.name]["state"] == "interrupted"
    with sqlite3.connect(store / FILE) as base:
        stored = {Path(name).name for (name,) in base.execute("SELECT folder FROM runs")}
    base.close()
    assert stored == {one.name for one in folders(store)} - {folder.name}


def test_many_runs_are_compared_by_their_folders_and_then_by_their_files(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "MANY", 0)
    first, second, third = folders(store)
    before = restarted(store)
    threads: list[Callable[[], None]] = []

    class Later:
        def __init__(self, target: Callable[..., None], args: Any, **_: Any) -> None:
            threads.append(lambda: target(*args))

        def start(self) -> None:
            """Leave the work to the test."""

    monkeypatch.setattr(table, "threading", SimpleNamespace(Thread=Later, Lock=threading.Lock))
    annotate(first, notes="written as usual")
    evaluate_run(third, ["valid.csv"])
    best = second / "best_metrics.json"
    content = json.loads(best.read_text(encoding="utf-8"))
    best.write_text(json.dumps(content | {"epoch": 77}), encoding="utf-8")  # in place: the folder's time stays
    rows = {row["run_id"]: row for row in read_table(store).rows}
    assert rows[first.name]["notes"] == "written as usual"
    assert set(rows[third.name]["tests"]) == {"test", "valid"}
    assert rows[second.name] == before[second.name]
    threads.clear()
    checked = time.monotonic()
    for later, looks in ((1.0, 0), (10.0, 1)):  # seconds after a look at the files, and how many looks have followed
        table._stores[os.path.realpath(store)].checked_at = checked
        monkeypatch.setattr(table, "time", SimpleNamespace(monotonic=lambda later=later: checked + later))
        read_table(store)
        assert len(threads) == looks
    threads[-1]()
    assert {row["run_id"]: row for row in read_table(store).rows}[second.name]["best_epoch"] == 77


def test_every_field_reads_every_row(store: Path) -> None:
    rows = restarted(store)
    row = next(row for row in rows.values() if row["state"] == "finished")
    fields = run_fields()
    values = {name: fields[name].value(row) for name in fields}
    config = open_run(row["run_dir"]).config
    assert values["training.max_epochs"] == config.training.max_epochs == 2
    assert values["model.params.hidden_dims"] == 8
    assert values["training.optimizer"] == "adam"  # a default
    assert values["val auprc"] == row["val_auprc"]
    stored = read_metrics(open_run(row["run_dir"]).paths.evaluation("test").metrics)
    assert stored is not None
    assert values["test auroc"] == stored.macro["auroc"].value
