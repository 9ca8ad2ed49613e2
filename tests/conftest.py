"""Shared fixtures: a tiny data set on disk, its configs and overrides, and the command line run in this process."""

from __future__ import annotations

import csv
import gc
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ctbench_core.cli.main import main
from ctbench_core.config import Config, set_key
from tests import windows_files

PROJECT = Path(__file__).resolve().parents[1]
LABELS = ["Lung nodule", "Lung opacity", "Emphysema"]
DIMENSIONS = 16
PATIENTS = {"train": 30, "valid": 14, "test": 12}  # one exam each, two reconstructions an exam
SMALL_RUN = {"training.max_epochs": 3, "training.batch_size": 16, "model.params.hidden_dims": [8]}

# Python looks for unreachable objects whenever there are 700 more, through all that torch and pandas have loaded.
gc.set_threshold(10_000, 20, 20)


# Left out of the fast lane (`-m "not slow"`): rooms whose tests start processes, train studies or draw pages, and files
# that take longer than five seconds.
SLOW_FOLDERS = {
    "adding",
    "alignment",
    "api",
    "browser",
    "cli",
    "faults",
    "jobs",
    "legacy",
    "pages",
    "studies",
    "train",
    "windows",
}
SLOW_FILES = {
    "test_bank_properties.py",
    "test_datasets.py",
    "test_malformed.py",
    "test_docs.py",
    "test_docs_site.py",
    "test_old_stores.py",
    "test_pack_processes.py",
    "test_recipes.py",
    "test_reference.py",
    "test_simulation.py",
    "test_subgroups.py",
    "test_wheel.py",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of slow rooms and files."""
    for item in items:
        if item.path.parent.name in SLOW_FOLDERS or item.path.name in SLOW_FILES:
            item.add_marker(pytest.mark.slow)


JOURNEYS = "tests/browser/test_journeys.py"  # a third of what browsers do


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Let two of the processes of `-n` drive all browsers, which share a server, and keep files together for their fixtures."""
    from xdist.scheduler import LoadScopeScheduling

    class TwoBrowsers(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return "browser" if file.startswith("tests/browser/") and file != JOURNEYS else file

    return TwoBrowsers(config, log)


@pytest.fixture(autouse=True)
def file_functions(request: pytest.FixtureRequest) -> Iterator[None]:
    """Refuse to move and remove open files, as Windows does, in the rooms that `windows_files` names."""
    with pytest.MonkeyPatch.context() as patch:
        if windows_files.is_wanted(request):
            windows_files.install(patch)
        yield


@pytest.fixture(scope="session")
def labels() -> list[str]:
    """Return the findings of the tiny data set."""
    return list(LABELS)


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write features/ and manifests/ of 60 + 28 + 24 volumes, 16 dimensions, 3 separable findings; read only."""
    folder = tmp_path_factory.mktemp("tiny")
    draw = np.random.default_rng(7)
    directions = draw.normal(size=(len(LABELS), DIMENSIONS))
    for split, patients in PATIENTS.items():
        rows = []
        for patient in range(1, patients + 1):
            image = draw.normal(size=DIMENSIONS).astype(np.float32)
            # Every finding has both classes in every split, whatever the draw.
            targets = [int(image @ d > 0) if patient > 2 else patient - 1 for d in directions]
            exam = f"{split}_{patient}_a"
            _write_vector(folder, f"image/{exam}.npz", image)
            _write_vector(folder, f"text/{exam}.npz", image + draw.normal(size=DIMENSIONS).astype(np.float32))
            rows += [[f"{exam}_{r}", f"image/{exam}.npz", f"text/{exam}.npz", *targets] for r in (1, 2)]
        _write_csv(folder / "manifests" / f"{split}.csv", rows)
    return folder


def _write_vector(folder: Path, name: str, vector: np.ndarray) -> None:
    path = folder / "features" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, vector[None])


def _write_csv(path: Path, rows: list[list[Any]]) -> None:
    path.parent.mkdir(exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["volumename", "visual_feature_path", "text_feature_path", *LABELS], *rows])


@pytest.fixture
def data(tiny_data: Path, tmp_path: Path) -> Path:
    """Return a copy of the tiny data set that a test may damage."""
    return Path(shutil.copytree(tiny_data, tmp_path / "data"))


@pytest.fixture
def make_config(tmp_path: Path) -> Callable[..., Config]:
    """Return a builder of configs of a small run on a data folder; changes are a mapping of dotted keys."""

    def build(folder: Path, changes: dict[str, Any] | None = None) -> Config:
        config = Config()
        for name, value in {**_path_keys(folder, tmp_path), **SMALL_RUN, **(changes or {})}.items():
            set_key(config, name, value)
        return config

    return build


def _path_keys(folder: Path, tmp_path: Path) -> dict[str, str]:
    return {
        "paths.data_root": str(folder / "features"),
        "paths.manifest_dir": str(folder / "manifests"),
        "paths.outputs_root": str(tmp_path / "outputs"),
    }


@pytest.fixture
def config(make_config: Callable[..., Config], tiny_data: Path) -> Config:
    """Return the config of a small run on the tiny data set."""
    return make_config(tiny_data)


@pytest.fixture
def evaluated_run(make_config: Callable[..., Config], tiny_data: Path) -> Callable[..., Path]:
    """Return a function that trains a run, evaluates it, and returns its folder; the changes are dotted keys."""

    from ctbench_core.evaluate import evaluate_run
    from ctbench_core.experiment import run_experiment

    def make(changes: dict[str, Any] | None = None, openings: int = 1) -> Path:
        folder = Path(run_experiment(make_config(tiny_data, changes or {}))["run_dir"])
        for _ in range(openings):
            evaluate_run(folder)
        return folder

    return make


@pytest.fixture
def make_overrides(tmp_path: Path) -> Callable[[Path], list[str]]:
    """Return a builder of the overrides of a small run on a data folder."""

    def build(folder: Path) -> list[str]:
        small = [f"{name}={value}" for name, value in SMALL_RUN.items()]
        return [f"{name}={value}" for name, value in _path_keys(folder, tmp_path).items()] + small

    return build


@pytest.fixture
def overrides(make_overrides: Callable[[Path], list[str]], tiny_data: Path) -> list[str]:
    """Return the overrides of a small run on the tiny data set."""
    return make_overrides(tiny_data)


@pytest.fixture
def make_old_run(tiny_data: Path, labels: list[str], tmp_path: Path) -> Callable[..., Path]:
    """Return a maker of old runs under <tmp>/project/outputs; their data lies beside them."""
    from tests.old_system import train_old_run

    project = tmp_path / "project"
    project.mkdir()
    shutil.copytree(tiny_data, project / "data")

    def make(name: str = "manual_budget/2025-11-03_10-20-30", **changes: Any) -> Path:
        return train_old_run(project / "outputs" / name, project / "data", changes.pop("labels", labels), **changes)

    return make


@dataclass(frozen=True)
class Ended:
    """Exit code and output of one call of the command line."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The last line of stdout as JSON."""
        return json.loads(self.out.splitlines()[-1])


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """Return a function that runs the command line here with ``--json``, in an empty working folder."""
    working = tmp_path / "working"
    working.mkdir(exist_ok=True)
    monkeypatch.chdir(working)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def call(*arguments: str) -> Ended:
        capsys.readouterr()
        try:
            code = main([*arguments, "--json"])
        except SystemExit as stop:
            code = int(stop.code or 0)
        captured = capsys.readouterr()
        return Ended(code, captured.out, captured.err)

    yield call
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture
def start_cli() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Return a starter of ``python -m ctbench_core`` in a process of its own; none outlives the test."""
    started: list[subprocess.Popen[str]] = []
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"}

    def start(*arguments: str, cwd: Path | None = None, **extra: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "ctbench_core", *arguments],
            cwd=cwd,
            env={**environment, **extra},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture(scope="session")
def real_data() -> Callable[[str], Path]:
    """Return a function that finds a part of the real test data, or skips."""
    root = Path(os.environ.get("CTBENCH_TEST_DATA", PROJECT.parent / "shared" / "data"))

    def find(part: str) -> Path:
        if not (root / part).exists():
            pytest.skip(f"no {part} in {root}: set CTBENCH_TEST_DATA to the folder of the real data")
        return root / part

    return find
