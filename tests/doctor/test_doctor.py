"""The doctor reports nothing on a healthy machine, and reports each problem that a test creates."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ctbench_core.config import Config
from ctbench_core.dataset import pack_features
from ctbench_core.doctor import CHECKS, CheckOutcome, examine, machine
from ctbench_core.experiment import run_experiment
from ctbench_core.runs import new_status, open_run, write_status
from ctbench_core.runs.status import run_lock

Make = Callable[..., Config]


@pytest.fixture
def own(data: Path, make_config: Make) -> Config:
    """Return the config of a small run on data that a test may damage."""
    return make_config(data)


@pytest.fixture
def run_dir(own: Config) -> Path:
    """Train a small run in the store of ``own``."""
    return Path(run_experiment(own)["run_dir"])


def outcome_of(config: Config, name: str) -> CheckOutcome:
    """Return the outcome of one check."""
    (check,) = (named[name] for named in CHECKS.values() if name in named)
    return check(config)


def tree(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.rglob("*"))


def test_a_healthy_machine_passes_and_nothing_changes(run_dir: Path, own: Config, tmp_path: Path) -> None:
    before = tree(tmp_path)
    calls = []
    diagnosis = examine(own, lambda name, done, total: calls.append((name, done, total)))
    assert diagnosis.of("error") == []
    assert diagnosis.code == 0
    assert tree(tmp_path) == before
    assert [outcome.name for outcome in diagnosis.outcomes] == [name for name, _, _ in calls]
    observations = {outcome.name: outcome.observation for outcome in diagnosis.outcomes}
    assert "train 60 volumes, val 28 volumes, test.csv 24 volumes; 3 findings" in observations["Manifests"]
    assert observations["Checkpoints"] == "2 checkpoints, all readable"
    assert json.loads(json.dumps(diagnosis.to_json()))["ok"] is True


def test_without_data_and_store_there_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    diagnosis = examine(Config())
    assert diagnosis.of("error") == []
    assert tree(tmp_path) == []


def _project(folder: Path, monkeypatch: pytest.MonkeyPatch, python: str, required: list[str], pins: str) -> None:
    text = f'[project]\nname = "ctbench"\nrequires-python = "{python}"\ndependencies = {json.dumps(required)}\n'
    (folder / "pyproject.toml").write_text(text, encoding="utf-8")
    (folder / "requirements.txt").write_text(f"# pinned\n{pins}\n", encoding="utf-8")
    monkeypatch.setattr(machine, "PROJECT", folder)


@pytest.mark.parametrize(
    ("required", "pins", "level", "observation"),
    [
        (["numpy>=1", "no-such-package>=2"], "", "error", "no-such-package is missing"),
        (["numpy>=99"], "", "error", f"numpy {np.__version__} (expected >=99)"),
        (["numpy>=1"], "numpy==1.0.0", "warning", f"numpy {np.__version__} (tested with 1.0.0)"),
        (["numpy>=1"], f"numpy=={np.__version__}", "ok", "1 package installed, tested versions"),
    ],
)
def test_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, required: list[str], pins: str, level: str, observation: str
) -> None:
    _project(tmp_path, monkeypatch, ">=3.11", required, pins)
    outcome = outcome_of(Config(), "Packages")
    assert (outcome.level, outcome.observation) == (level, observation)
    assert ("pip install" in outcome.advice) == (level != "ok")


def test_an_unsupported_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _project(tmp_path, monkeypatch, "<3.0", [], "")
    assert outcome_of(Config(), "Python").level == "error"


def test_an_absent_device_is_an_input_error(own: Config) -> None:
    own.utils.device = "cuda:77"
    diagnosis = examine(own)
    (error,) = diagnosis.of("error")
    assert (error.name, diagnosis.code) == ("Device", 2)


def test_more_threads_than_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.get_num_threads", lambda: 64)
    monkeypatch.setattr(machine, "_processors", lambda: 4)
    outcome = outcome_of(Config(), "Threads")
    assert outcome.level == "warning"
    assert "OMP_NUM_THREADS=4" in outcome.advice


@pytest.mark.parametrize(("free", "level"), [(2**28, "error"), (2**31, "warning"), (2**40, "ok")])
def test_free_disk(own: Config, monkeypatch: pytest.MonkeyPatch, free: int, level: str) -> None:
    usage = namedtuple("usage", "total used free")(2**41, 0, free)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    assert outcome_of(own, "Disk").level == level


def test_a_store_that_cannot_be_written(own: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, text: str) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(machine, "write_text", full)
    diagnosis = examine(own)
    (error,) = diagnosis.of("error")
    assert error.name == "Writing"
    assert "No space left" in error.observation
    assert diagnosis.code == 1


def test_a_store_that_is_a_file(own: Config, tmp_path: Path) -> None:
    own.paths.outputs_root = str(tmp_path / "outputs")
    (tmp_path / "outputs").write_text("", encoding="utf-8")
    diagnosis = examine(own)
    assert {error.name for error in diagnosis.of("error")} == {"Disk", "Writing", "Locks", "Clock"}
    assert diagnosis.code == 2


def test_locks_that_two_processes_get(own: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_TRY_LOCK", "pass")  # as where the other process gets the lock too
    outcome = outcome_of(own, "Locks")
    assert outcome.level == "warning"
    assert "two processes got the same file lock" in outcome.observation


def test_locks_that_do_not_work(own: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(machine, "file_lock", refuse)
    assert outcome_of(own, "Locks").level == "error"


def test_a_disk_without_locks(own: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "has_file_locks", lambda folder: False)
    outcome = outcome_of(own, "Locks")
    assert (outcome.level, "has no locks" in outcome.observation) == ("warning", True)


def test_a_run_from_the_future(run_dir: Path, own: Config) -> None:
    path = run_dir / "status.json"
    content = json.loads(path.read_text(encoding="utf-8")) | {"heartbeat": "2190-01-01T00:00:00+00:00"}
    path.write_text(json.dumps(content), encoding="utf-8")
    outcome = outcome_of(own, "Clock")
    assert outcome.level == "warning"
    assert "days in the future" in outcome.observation


def test_folders_outside_the_allowed_ones(own: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "allowed"
    other.mkdir()
    monkeypatch.setenv("CTBENCH_ROOTS", str(other))
    diagnosis = examine(own)
    assert "Allowed folders" in {error.name for error in diagnosis.of("error")}
    assert diagnosis.code == 2
    monkeypatch.setenv("CTBENCH_ROOTS", os.pathsep.join([str(tmp_path), str(tmp_path / "gone")]))
    outcome = outcome_of(own, "Allowed folders")
    assert (outcome.level, "gone" in outcome.observation) == ("warning", True)


def test_missing_data(own: Config, tmp_path: Path) -> None:
    own.paths.data_root = str(tmp_path / "not mounted")
    diagnosis = examine(own)
    assert [error.name for error in diagnosis.of("error")] == ["Features"]
    assert diagnosis.code == 2
    own.paths.manifest_dir = str(tmp_path / "nowhere")
    assert {error.name for error in examine(own).of("error")} == {"Manifests", "Features"}


def test_an_unreadable_feature_file(own: Config) -> None:
    file = Path(own.paths.data_root) / "image" / "train_1_a.npz"
    file.write_bytes(b"not a zip")
    outcome = outcome_of(own, "Features")
    assert outcome.level == "error"
    assert "train_1_a" in outcome.observation


def test_packed_features_that_no_longer_match(own: Config, make_config: Make, data: Path, tmp_path: Path) -> None:
    pack_features(own)
    assert outcome_of(own, "Packed features").level == "ok"
    np.savez(Path(own.paths.data_root) / "image" / "train_1_a.npz", np.ones((1, 16), np.float32))
    outcome = outcome_of(own, "Packed features")
    assert outcome.level == "warning"
    assert "1 of 56 files changed or missing" in outcome.observation
    other = make_config(data, {"paths.data_root": str(tmp_path / "elsewhere")})
    outcome = outcome_of(other, "Packed features")
    assert (outcome.level, "2 used by no run" in outcome.observation) == ("ok", True)


def test_run_folders_that_cannot_be_read(run_dir: Path, own: Config) -> None:
    copy = shutil.copytree(run_dir, run_dir.with_name("torn"))
    (copy / "status.json").write_text("{", encoding="utf-8")
    bare = shutil.copytree(run_dir, run_dir.with_name("bare"))
    (bare / "status.json").unlink()
    outcome = outcome_of(own, "Run folders")
    assert outcome.level == "error"
    assert "2 of 3 run folders" in outcome.observation
    assert {"torn", "bare"} <= set(outcome.observation.replace("(", " ").replace(")", " ").replace(",", " ").split())


def _rewrite_status(run_dir: Path, **changes: Any) -> None:
    (run_dir / "status.json").write_text(
        json.dumps(dataclasses.asdict(dataclasses.replace(new_status("left"), **changes))), encoding="utf-8"
    )


def test_unfinished_runs(run_dir: Path, own: Config) -> None:
    assert outcome_of(own, "Unfinished runs").level == "ok"
    _rewrite_status(run_dir, state="running", process_token="1")
    outcome = outcome_of(own, "Unfinished runs")
    assert (outcome.level, f"1 interrupted: {run_dir.name}" == outcome.observation) == ("warning", True)
    _rewrite_status(run_dir, state="running")
    os.utime(run_dir / "status.json", (0, 0))
    assert "1 interrupted" in outcome_of(own, "Unfinished runs").observation  # nobody trains in this folder
    with run_lock(run_dir):
        assert "no heartbeat for over 5 minutes" in outcome_of(own, "Unfinished runs").observation
    _rewrite_status(run_dir, state="running")
    assert outcome_of(own, "Unfinished runs").level == "ok"
    _rewrite_status(run_dir, state="failed")
    outcome = outcome_of(own, "Unfinished runs")
    assert outcome.level == "ok"
    assert outcome.observation == "no unfinished run; 1 failed run, each with its cause on the Runs page"


def test_damaged_checkpoints(run_dir: Path, own: Config) -> None:
    paths = open_run(run_dir).paths
    content = paths.last_state.read_bytes()
    paths.last_state.write_bytes(content[: len(content) // 2])
    outcome = outcome_of(own, "Checkpoints")
    assert outcome.level == "error"
    assert outcome.observation == f"1 of 2 checkpoints cannot be read: {run_dir.name}/last_state.pt"
    # A run that can resume has its state read completely: the zip directory is intact, a tensor's bytes damaged.
    at = content.index(b"data.pkl") + 100
    paths.last_state.write_bytes(content[:at] + bytes(200) + content[at + 200 :])
    write_status(paths.status, open_run(run_dir).status, state="cancelled")
    assert outcome_of(own, "Checkpoints").level == "error"


def test_temporary_files_of_killed_processes(run_dir: Path, own: Config) -> None:
    leftover = run_dir / ".scores.parquet.0a1b2c3d.tmp"
    leftover.write_bytes(bytes(2**20))
    assert outcome_of(own, "Leftovers").level == "ok"  # its writer may still run
    os.utime(leftover, (1.0, 1.0))
    outcome = outcome_of(own, "Leftovers")
    assert outcome.level == "warning"
    assert "1 temporary file of" in outcome.observation
    assert "1.0 MiB" in outcome.observation


@pytest.mark.parametrize(("limit", "level"), [(256, "warning"), (1_024, "ok"), (None, "ok")])
def test_few_open_files_are_a_warning(
    own: Config, monkeypatch: pytest.MonkeyPatch, limit: int | None, level: str
) -> None:
    monkeypatch.setattr(machine, "file_limit", lambda: limit)
    outcome = outcome_of(own, "Open files")
    assert outcome.level == level
    assert ("ulimit -n" in outcome.advice) == (level == "warning")


def test_the_verb_reports_the_same(
    cli: Callable[..., Any], data: Path, make_overrides: Callable[[Path], list[str]]
) -> None:
    overrides = make_overrides(data)
    ended = cli("doctor", *overrides)
    assert ended.code == 0
    assert "0 errors" in ended.out
    shutil.rmtree(data / "features")
    ended = cli("doctor", *overrides)
    assert ended.code == 2
    assert ended.json["errors"] == 1
    (error,) = [row for row in ended.json["findings"] if row["level"] == "error"]
    assert (error["topic"], error["name"]) == ("data", "Features")
    assert error["advice"]
    assert list((Path(overrides[2].partition("=")[2])).glob("*")) == []
