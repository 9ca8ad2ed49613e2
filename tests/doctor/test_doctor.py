"""The doctor: in order on a good machine, and each thing that may be wrong is found when it is made wrong."""

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
from ctbench_core.doctor import CHECKS, Finding, examine, machine, places
from ctbench_core.experiment import run_experiment
from ctbench_core.runs import new_status, open_run, write_status

Make = Callable[..., Config]


@pytest.fixture
def own(data: Path, make_config: Make) -> Config:
    """Return the config of a small run on data that a test may spoil."""
    return make_config(data)


@pytest.fixture
def run_dir(own: Config) -> Path:
    """Train a small run in the store of ``own``."""
    return Path(run_experiment(own)["run_dir"])


def look(config: Config, name: str) -> Finding:
    """Return the finding of one check."""
    (check,) = (named[name] for named in CHECKS.values() if name in named)
    return check(config)


def tree(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.rglob("*"))


def test_a_good_machine_has_nothing_wrong_and_is_left_as_it_was(run_dir: Path, own: Config, tmp_path: Path) -> None:
    before = tree(tmp_path)
    told = []
    diagnosis = examine(own, lambda name, done, total: told.append((name, done, total)))
    assert diagnosis.of("error") == []
    assert diagnosis.code == 0
    assert tree(tmp_path) == before
    assert [finding.name for finding in diagnosis.findings] == [name for name, _, _ in told]
    found = {finding.name: finding.found for finding in diagnosis.findings}
    assert "train 60 volumes, val 28 volumes, test.csv 24 volumes; 3 findings" in found["Manifests"]
    assert found["Checkpoints"] == "2 checkpoints, none torn"
    assert json.loads(json.dumps(diagnosis.to_json()))["ok"] is True


def test_without_chosen_data_and_store_there_is_nothing_to_complain_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    diagnosis = examine(Config())
    assert diagnosis.of("error") == []
    assert tree(tmp_path) == []


def _project(folder: Path, monkeypatch: pytest.MonkeyPatch, python: str, asked: list[str], pins: str) -> None:
    text = f'[project]\nname = "ctbench"\nrequires-python = "{python}"\ndependencies = {json.dumps(asked)}\n'
    (folder / "pyproject.toml").write_text(text, encoding="utf-8")
    (folder / "requirements.txt").write_text(f"# pinned\n{pins}\n", encoding="utf-8")
    monkeypatch.setattr(machine, "PROJECT", folder)


@pytest.mark.parametrize(
    ("asked", "pins", "level", "said"),
    [
        (["numpy>=1", "no-such-package>=2"], "", "error", "no-such-package is missing"),
        (["numpy>=99"], "", "error", f"numpy {np.__version__} (expected >=99)"),
        (["numpy>=1"], "numpy==1.0.0", "warning", f"numpy {np.__version__} (tested with 1.0.0)"),
        (["numpy>=1"], f"numpy=={np.__version__}", "ok", "1 package of the tested versions"),
    ],
)
def test_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: list[str], pins: str, level: str, said: str
) -> None:
    _project(tmp_path, monkeypatch, ">=3.11", asked, pins)
    found = look(Config(), "Packages")
    assert (found.level, found.found) == (level, said)
    assert ("pip install" in found.advice) == (level != "ok")


def test_an_unfit_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _project(tmp_path, monkeypatch, "<3.0", [], "")
    assert look(Config(), "Python").level == "error"


def test_a_device_that_is_not_here_is_the_inputs_fault(own: Config) -> None:
    own.utils.device = "cuda:77"
    diagnosis = examine(own)
    (wrong,) = diagnosis.of("error")
    assert (wrong.name, diagnosis.code) == ("Device", 2)


def test_more_threads_than_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.get_num_threads", lambda: 64)
    monkeypatch.setattr(machine, "_processors", lambda: 4)
    found = look(Config(), "Threads")
    assert found.level == "warning"
    assert "OMP_NUM_THREADS=4" in found.advice


@pytest.mark.parametrize(("free", "level"), [(2**28, "error"), (2**31, "warning"), (2**40, "ok")])
def test_free_disk(own: Config, monkeypatch: pytest.MonkeyPatch, free: int, level: str) -> None:
    usage = namedtuple("usage", "total used free")(2**41, 0, free)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    assert look(own, "Disk").level == level


def test_a_store_that_cannot_be_written(own: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, text: str) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(places, "write_text", full)
    diagnosis = examine(own)
    (wrong,) = diagnosis.of("error")
    assert wrong.name == "Writing"
    assert "No space left" in wrong.found
    assert diagnosis.code == 1


def test_a_store_that_is_a_file(own: Config, tmp_path: Path) -> None:
    own.paths.outputs_root = str(tmp_path / "outputs")
    (tmp_path / "outputs").write_text("", encoding="utf-8")
    diagnosis = examine(own)
    assert {wrong.name for wrong in diagnosis.of("error")} == {"Disk", "Writing", "Locks", "Clock"}
    assert diagnosis.code == 2


def test_locks_that_keep_nobody_out(own: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "_OTHER", "pass")  # as where the other process gets the lock too
    found = look(own, "Locks")
    assert found.level == "warning"
    assert "two processes got the same file lock" in found.found


def test_locks_that_do_not_work(own: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(places, "FileLock", refuse)
    assert look(own, "Locks").level == "error"


def test_a_run_from_the_future(run_dir: Path, own: Config) -> None:
    path = run_dir / "status.json"
    content = json.loads(path.read_text(encoding="utf-8")) | {"heartbeat": "2190-01-01T00:00:00+00:00"}
    path.write_text(json.dumps(content), encoding="utf-8")
    found = look(own, "Clock")
    assert found.level == "warning"
    assert "days in the future" in found.found


def test_folders_outside_the_allowed_ones(own: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "allowed"
    other.mkdir()
    monkeypatch.setenv("CTBENCH_ROOTS", str(other))
    diagnosis = examine(own)
    assert "Allowed folders" in {wrong.name for wrong in diagnosis.of("error")}
    assert diagnosis.code == 2
    monkeypatch.setenv("CTBENCH_ROOTS", os.pathsep.join([str(tmp_path), str(tmp_path / "gone")]))
    found = look(own, "Allowed folders")
    assert (found.level, "gone" in found.found) == ("warning", True)


def test_missing_data(own: Config, tmp_path: Path) -> None:
    own.paths.data_root = str(tmp_path / "not mounted")
    diagnosis = examine(own)
    assert [wrong.name for wrong in diagnosis.of("error")] == ["Features"]
    assert diagnosis.code == 2
    own.paths.manifest_dir = str(tmp_path / "nowhere")
    assert {wrong.name for wrong in examine(own).of("error")} == {"Manifests", "Features"}


def test_an_unreadable_feature_file(own: Config) -> None:
    file = Path(own.paths.data_root) / "image" / "train_1_a.npz"
    file.write_bytes(b"not a zip")
    found = look(own, "Features")
    assert found.level == "error"
    assert "train_1_a" in found.found


def test_packed_features_that_no_longer_match(own: Config, make_config: Make, data: Path, tmp_path: Path) -> None:
    pack_features(own)
    assert look(own, "Packed features").level == "ok"
    np.savez(Path(own.paths.data_root) / "image" / "train_1_a.npz", np.ones((1, 16), np.float32))
    found = look(own, "Packed features")
    assert found.level == "warning"
    assert "1 of 56 files changed or gone" in found.found
    other = make_config(data, {"paths.data_root": str(tmp_path / "elsewhere")})
    found = look(other, "Packed features")
    assert (found.level, "2 that no run reads" in found.found) == ("ok", True)


def test_run_folders_that_cannot_be_read(run_dir: Path, own: Config) -> None:
    copy = shutil.copytree(run_dir, run_dir.with_name("torn"))
    (copy / "status.json").write_text("{", encoding="utf-8")
    bare = shutil.copytree(run_dir, run_dir.with_name("bare"))
    (bare / "status.json").unlink()
    found = look(own, "Run folders")
    assert found.level == "error"
    assert "2 of 3 run folders" in found.found
    assert {"torn", "bare"} <= set(found.found.replace("(", " ").replace(")", " ").replace(",", " ").split())


def _rewrite_status(run_dir: Path, **changes: Any) -> None:
    (run_dir / "status.json").write_text(
        json.dumps(dataclasses.asdict(dataclasses.replace(new_status("left"), **changes))), encoding="utf-8"
    )


def test_runs_that_were_left(run_dir: Path, own: Config) -> None:
    assert look(own, "Unfinished runs").level == "ok"
    _rewrite_status(run_dir, state="running", process_started=1.0)
    found = look(own, "Unfinished runs")
    assert (found.level, f"1 interrupted: {run_dir.name}" == found.found) == ("warning", True)
    _rewrite_status(run_dir, state="running", heartbeat="2020-01-01T00:00:00+00:00")
    assert "no heartbeat for over 2 minutes" in look(own, "Unfinished runs").found
    _rewrite_status(run_dir, state="running")
    assert look(own, "Unfinished runs").level == "ok"


def test_torn_checkpoints(run_dir: Path, own: Config) -> None:
    paths = open_run(run_dir).paths
    whole = paths.last_state.read_bytes()
    paths.last_state.write_bytes(whole[: len(whole) // 2])
    found = look(own, "Checkpoints")
    assert found.level == "error"
    assert found.found == f"1 of 2 checkpoints cannot be read: {run_dir.name}/last_state.pt"
    # A run that can go on has its state read whole: zip directory in order, a tensor's bytes damaged.
    at = whole.index(b"data.pkl") + 100
    paths.last_state.write_bytes(whole[:at] + bytes(200) + whole[at + 200 :])
    write_status(paths.status, open_run(run_dir).status, state="cancelled")
    assert look(own, "Checkpoints").level == "error"


def test_what_killed_writers_left(run_dir: Path, own: Config) -> None:
    left = run_dir / ".scores.parquet.0a1b2c3d.tmp"
    left.write_bytes(bytes(2**20))
    assert look(own, "Leftovers").level == "ok"  # its writer may be at work
    os.utime(left, (1.0, 1.0))
    found = look(own, "Leftovers")
    assert found.level == "warning"
    assert "1 temporary file of" in found.found
    assert "1.0 MiB" in found.found


def test_the_verb_tells_the_same(
    cli: Callable[..., Any], data: Path, make_overrides: Callable[[Path], list[str]]
) -> None:
    words = make_overrides(data)
    ended = cli("doctor", *words)
    assert ended.code == 0
    assert "0 errors" in ended.out
    shutil.rmtree(data / "features")
    ended = cli("doctor", *words)
    assert ended.code == 2
    assert ended.json["errors"] == 1
    (wrong,) = [one for one in ended.json["findings"] if one["level"] == "error"]
    assert (wrong["topic"], wrong["name"]) == ("data", "Features")
    assert wrong["advice"]
    assert list((Path(words[2].partition("=")[2])).glob("*")) == []
