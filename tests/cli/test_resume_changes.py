"""A stopped run continues as it was; other settings or data are refused, or recorded segment by segment."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ctbench_core.config import Config
from ctbench_core.experiment import run_experiment
from ctbench_core.runs import Run, RunPaths, new_status, open_run, record_segment, segment_start, write_status

Cli = Callable[..., Any]
STOPPED = 3


@pytest.fixture
def stopped(make_config: Callable[..., Config], data: Path) -> Run:
    """Return a run of 6 epochs that was stopped after 3."""
    cancel = threading.Event()

    def watch(phase: str, done: int, total: int) -> None:
        if phase.startswith("training") and done >= STOPPED:
            cancel.set()

    config = make_config(data, {"training.max_epochs": 6, "training.early_stopping_patience": 100})
    run = open_run(run_experiment(config, cancel=cancel, progress=watch)["run_dir"])
    assert run.status.state == "cancelled"
    return run


def resume(cli: Cli, run: Run, *overrides: str) -> Any:
    return cli("train", f"training.resume.state_path={run.paths.last_state}", *overrides)


def segments(run: Run) -> list[dict[str, Any]]:
    return json.loads(run.paths.provenance.read_text(encoding="utf-8")).get("segments", [])


def test_other_settings_are_refused_by_name(cli: Cli, stopped: Run) -> None:
    before = stopped.paths.config.read_bytes()
    ended = resume(cli, stopped, "training.learning_rate=.5", "utils.seed=9", "training.max_epochs=8")
    assert ended.code == 2
    for part in ("training.learning_rate (0.0001 there, 0.5 here)", "utils.seed (42 there, 9 here)", "allow_changes"):
        assert part in ended.json["error"]
    assert "max_epochs" not in ended.json["error"]
    assert open_run(stopped.paths.root).status.state == "cancelled"
    assert stopped.paths.config.read_bytes() == before


def test_what_extends_a_run_is_free(cli: Cli, stopped: Run) -> None:
    ended = resume(cli, stopped, "training.max_epochs=5", "utils.device=cpu", "logging.run_name=mine", "utils.seed=42")
    assert (ended.code, ended.json["epochs"], ended.json["warnings"]) == (0, 5, [])
    assert segments(stopped) == []
    assert not any("segment" in line for line in stopped.history())


def test_allowed_changes_are_recorded_where_they_begin(cli: Cli, stopped: Run) -> None:
    first = stopped.history()[-1]["epoch"]
    ended = resume(cli, stopped, "training.learning_rate=.5", "training.resume.allow_changes=true")
    assert (ended.code, ended.json["epochs"]) == (0, 6)
    assert any("training.learning_rate (0.0001 before, 0.5 now)" in text for text in ended.json["warnings"])
    marks = {line["epoch"]: line["segment"] for line in stopped.history() if "segment" in line}
    (start,) = marks
    assert marks[start] == 2
    assert 1 < start <= first + 1
    changes = {"training.learning_rate": [0.0001, 0.5]}
    assert next(line["changes"] for line in stopped.history() if line["epoch"] == start) == changes
    old, new = segments(stopped)
    assert (old["epoch"], old["changes"], new["epoch"], new["changes"]) == (1, {}, start, changes)
    assert old["digests"] == new["digests"] != {}
    config = open_run(stopped.paths.root).config
    assert (config.training.learning_rate, config.training.resume.allow_changes) == (0.5, False)
    losses = [line["val_loss"] for line in stopped.history()]
    assert (
        abs(losses[start - 1] - losses[start - 2]) > 0.05
    )  # the new rate had an effect: the old one moves it by 0.001


def test_other_data_are_refused_or_recorded(cli: Cli, stopped: Run, data: Path) -> None:
    manifest = data / "manifests" / "train.csv"
    text = manifest.read_text(encoding="utf-8")
    head, row, *rows = text.splitlines()
    manifest.write_text("\n".join([head, f"{row[:-1]}{1 - int(row[-1])}", *rows]), encoding="utf-8")
    refused = resume(cli, stopped)
    assert refused.code == 2
    assert "training labels changed since training: 1 of 60 volumes" in refused.json["error"]
    assert "allow_changes" in refused.json["error"]
    ended = resume(cli, stopped, "training.resume.allow_changes=true")
    assert ended.code == 0
    assert any("other data" in text for text in ended.json["warnings"])
    old, new = segments(stopped)
    assert "1 of 60 volumes" in new["changes"]["data"][0]
    assert old["digests"]["train.labels"] != new["digests"]["train.labels"]


def test_data_in_another_folder_is_the_same_data(cli: Cli, stopped: Run, data: Path, tmp_path: Path) -> None:
    moved = Path(shutil.move(data, tmp_path / "moved"))
    ended = resume(cli, stopped, f"paths.data_root={moved / 'features'}", f"paths.manifest_dir={moved / 'manifests'}")
    assert (ended.code, ended.json["epochs"], segments(stopped)) == (0, 6, [])


def test_without_digests_another_folder_is_another_setting(cli: Cli, stopped: Run, data: Path, tmp_path: Path) -> None:
    content = json.loads(stopped.paths.provenance.read_text(encoding="utf-8"))
    stopped.paths.provenance.write_text(json.dumps({k: v for k, v in content.items() if k != "inputs"}))
    moved = Path(shutil.copytree(data, tmp_path / "moved"))
    refused = resume(cli, stopped, f"paths.data_root={moved / 'features'}")
    assert (refused.code, "paths.data_root" in refused.json["error"]) == (2, True)
    ended = resume(cli, stopped)
    assert (ended.code, segments(stopped)) == (0, [])
    assert any("not verifiable" in text for text in ended.json["warnings"])


def test_changes_of_a_segment_whose_epochs_were_lost_begin_with_the_next(tmp_path: Path) -> None:
    paths = RunPaths(tmp_path)
    write_status(paths.status, new_status("a"))
    record_segment(paths, {"a": [1, 2]}, 5, {"x": "old"}, {"x": "new"})
    record_segment(paths, {"a": [2, 3], "b": [7, 8]}, 9, {}, {})
    kept = record_segment(paths, {"a": [3, 4]}, 9, {}, {"x": "last"})
    assert [(part["epoch"], part["changes"]) for part in kept] == [
        (1, {}),
        (5, {"a": [1, 2]}),
        (9, {"a": [2, 4], "b": [7, 8]}),
    ]
    assert (kept[0]["digests"], kept[2]["digests"]) == ({"x": "old"}, {"x": "last"})
    assert segment_start(kept, 9) == {"segment": 3, "changes": {"a": [2, 4], "b": [7, 8]}}
    assert segment_start(kept, 1) == segment_start(kept, 6) == {}
