"""The expected time of a run: the pace of earlier runs of this machine, for as many epochs as it may train."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from ctbench_core.config import Config, set_key
from ctbench_core.runs import Status, expected_time, new_status, write_status
from ctbench_core.runs.expected_time import at_pace_of


def status(epoch: int, max_epochs: int, train: float, **changes: Any) -> Status:
    seconds = {"load": 1.0, "train": train, "total": train + 1.0}
    return dataclasses.replace(
        new_status(""), **{"epoch": epoch, "max_epochs": max_epochs, "seconds": seconds} | changes
    )


@pytest.fixture
def make_row(tmp_path: Path) -> Any:
    """Return a writer of a finished run's status, which gives its row of the run table."""

    def make(name: str, stored: Status, **cells: Any) -> dict[str, Any]:
        folder = tmp_path / name
        folder.mkdir()
        write_status(folder / "status.json", dataclasses.replace(stored, state="finished"))
        row = {"run_dir": str(folder), "encoder": "ct", "state": "finished", "study": ""}
        return row | {"head": "mlp 1024", "inputs": "visual"} | cells

    return make


@pytest.fixture
def config() -> Config:
    made = Config()
    set_key(made, "data.encoder.name", "ct")
    set_key(made, "training.max_epochs", 1000)
    return made


def test_the_limit_is_max_epochs_at_the_pace_of_earlier_runs() -> None:
    earlier = [status(30, 500, 60.0), status(40, 500, 40.0), status(50, 500, 150.0)]  # 2, 1 and 3 s an epoch
    expected = at_pace_of(earlier, 1000)
    assert (expected.longest, expected.seconds, expected.epochs) == (1 + 2 * 1000, 1 + 2 * 40, 40)
    shorter = at_pace_of(earlier, 10)  # they stopped after it
    assert (shorter.longest, shorter.seconds, shorter.epochs) == (21.0, 21.0, 10)


def test_runs_that_reached_their_max_epochs_say_nothing_of_where_others_stop() -> None:
    full = [status(60, 60, 60.0)] * 4
    assert at_pace_of(full, 1000).seconds == at_pace_of(full, 1000).longest == 1001.0
    assert at_pace_of([*full, status(20, 60, 20.0)], 1000).epochs == 20


def test_a_resumed_run_gives_the_pace_of_the_epochs_that_its_seconds_cover() -> None:
    assert at_pace_of([status(60, 100, 20.0, started_epoch=50)], 10).longest == 1 + 2 * 10


def test_a_head_that_is_fitted_whole_takes_as_many_steps_as_before() -> None:
    expected = at_pace_of([status(3, 3, 6.0), status(5, 5, 10.0)], None)
    assert (expected.longest, expected.seconds) == (1 + 2 * 4, 1 + 2 * 4)


def test_runs_of_this_machine_on_the_same_features_count(make_row: Any, config: Config) -> None:
    slow = status(10, 500, 1000.0)
    rows = [
        make_row("host", dataclasses.replace(slow, host="another")),
        make_row("encoder", slow, encoder="other"),
        make_row("study", slow, study="budgets"),
        make_row("failed", slow, state="failed"),
        make_row("none", status(0, 500, 0.0)),
        make_row("head", slow, head="linear"),
        make_row("own", status(10, 500, 20.0)),
    ]
    expected = expected_time(config, rows)
    assert expected is not None
    assert (expected.longest, expected.epochs, expected.runs, expected.is_of_head) == (2001.0, 10, 1, True)
    assert expected_time(config, rows[:5]) is None
    other = expected_time(config, rows[:6])
    assert other is not None and not other.is_of_head


def test_the_newest_runs_count(make_row: Any, config: Config) -> None:
    rows = [make_row(f"new{i}", status(10, 500, 20.0)) for i in range(5)]
    rows += [make_row(f"old{i}", status(10, 500, 9000.0)) for i in range(9)]
    expected = expected_time(config, rows)
    assert expected is not None
    assert (expected.longest, expected.runs) == (2001.0, 5)


def test_a_head_that_is_fitted_whole_is_not_timed_by_another(make_row: Any, config: Config) -> None:
    set_key(config, "model._target_", "knn")
    rows = [make_row("mlp", status(10, 500, 20.0))]
    assert expected_time(config, rows) is None
    expected = expected_time(config, [*rows, make_row("knn", status(3, 3, 3.0), head="knn")])
    assert expected is not None
    assert expected.longest == 1 + 3
