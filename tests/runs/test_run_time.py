"""The one clock of a run: what has passed and what is left, and what early stopping does to it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ctbench_core.config import Config, set_keys
from ctbench_core.experiment import run_experiment
from ctbench_core.runs import (
    Status,
    describe_stopping,
    elapsed_seconds,
    new_status,
    open_run,
    recorder,
    remaining_seconds,
    try_status,
)

QUEUED = datetime(2026, 1, 1, tzinfo=UTC)


def moment(seconds: float) -> str:
    return (QUEUED + timedelta(seconds=seconds)).isoformat()


def status(**changes: Any) -> Status:
    """Return a run that waited for a minute, read features for 5 s and has trained 10 epochs of 100 in 20 s."""
    times = {
        "created": moment(0),
        "started": moment(65),
        "updated": moment(85),
        "seconds": {"load": 5.0, "train": 20.0},
    }
    known = {"state": "running", "epoch": 10, "max_epochs": 100, "host": "another"} | times
    return dataclasses.replace(new_status(""), **known | changes)


def test_the_clock_starts_with_the_reading_of_features_not_in_the_queue() -> None:
    assert elapsed_seconds(status()) == 5 + 20
    assert elapsed_seconds(status(state="queued", started="")) == 0
    assert elapsed_seconds(status(state="queued", started="", seconds={"total": 90.0})) == 0  # it waits to be resumed
    assert elapsed_seconds(status(state="failed")) == 5 + 20
    assert elapsed_seconds(status(state="finished", seconds={"load": 5.0, "train": 200.0, "total": 230.0})) == 230


def test_the_clock_of_a_run_of_this_host_goes_on_between_two_heartbeats() -> None:
    started = (datetime.now(UTC) - timedelta(seconds=40)).isoformat()
    run = status(host=new_status("").host, started=started, updated=started)
    assert elapsed_seconds(run) == pytest.approx(45, abs=5)
    assert elapsed_seconds(dataclasses.replace(run, state="interrupted")) == 5  # it ended with its last heartbeat


def test_what_is_left_is_the_epochs_to_come_at_the_pace_of_training_alone() -> None:
    assert remaining_seconds(status()) == 90 * 2
    assert remaining_seconds(status(updated=moment(500))) == 90 * 2  # a heartbeat in the eleventh epoch
    assert remaining_seconds(status(started_epoch=5)) == 90 * 4  # resumed after five
    assert remaining_seconds(status(seconds={})) == 90 * 2  # of an older version, or no training
    assert remaining_seconds(status(epoch=0)) is None
    assert remaining_seconds(status(state="finished")) is None


def test_a_training_run_keeps_its_seconds_while_it_trains(
    data: Path, make_config: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "WRITE_EVERY_S", 0.0)
    config, seen = make_config(data, {"training.max_epochs": 3, "training.batch_size": 16}), []

    def watch(phase: str, done: int, total: int) -> None:
        stored = [try_status(path) for path in Path(config.paths.outputs_root).rglob("status.json")]
        seen.extend((one.epoch, one.seconds) for one in stored if one and phase.startswith("training"))

    run = open_run(Path(run_experiment(config, progress=watch)["run_dir"]))
    assert [(epoch, set(seconds)) for epoch, seconds in seen] == [(n, {"load", "train"}) for n in (1, 2, 3)]
    assert 0 < seen[0][1]["train"] < seen[1][1]["train"] < run.status.seconds["train"]
    assert elapsed_seconds(run.status) == run.status.seconds["total"]


@pytest.mark.parametrize(
    ("changes", "keys", "text"),
    [
        ({}, {}, "4 of 15 epochs without gain"),
        ({"state": "finished"}, {}, "stopped early after epoch 1,027, best epoch 1,023"),
        ({"state": "finished", "max_epochs": 1027}, {}, ""),
        ({"state": "cancelled"}, {}, ""),
        ({}, {"training.early_stopping_patience": 2000}, ""),
        ({}, {"model._target_": "logistic"}, ""),
    ],
)
def test_early_stopping_says_how_far_it_is_and_that_it_ended_the_run(
    changes: dict[str, Any], keys: dict[str, Any], text: str
) -> None:
    config = set_keys(Config(), {"training.early_stopping_patience": 15} | keys)
    assert describe_stopping(config, status(**{"max_epochs": 2000} | changes), 1027, 1023) == text


def test_before_the_first_epoch_early_stopping_says_nothing() -> None:
    assert describe_stopping(Config(), status(epoch=0), 0, None) == ""
