"""The app in this process, on a run store of its own."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from streamlit.components.v2 import manifest_scanner
from streamlit.testing.v1 import AppTest

from ctbench_core.config import Config
from ctbench_core.experiment import run_experiment
from ctbench_core.jobs import get_runner
from ctbench_ui.shared import bounded_cache

PROJECT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 60


@pytest.fixture(scope="session", autouse=True)
def _scan_components_once() -> Iterator[None]:
    """Look for components in the installed packages once: every run of an AppTest does, in a fifth of its time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifest_scanner, "scan_component_manifests", cache(manifest_scanner.scan_component_manifests))
        yield


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of an empty run store that the app works on."""

    monkeypatch.setenv("CTBENCH_OUTPUTS", str(tmp_path / "outputs"))
    monkeypatch.setenv("CTBENCH_DEMO", str(tmp_path / "demo"))
    monkeypatch.chdir(tmp_path)
    bounded_cache.kept.clear()
    return tmp_path / "outputs"


@pytest.fixture
def open_page(store: Path) -> Iterator[Callable[..., AppTest]]:
    """Return a function that opens a page in a new session; fields may be set as keys of the config."""

    def open_(name: str, fields: dict[str, Any] | None = None, query: dict[str, str] | None = None) -> AppTest:
        app = AppTest.from_file(str(PROJECT / "ctbench_ui" / "main.py"), default_timeout=TIMEOUT_S)
        if fields:
            app.run()  # a session begins with what this user set last, which would replace them
        for key, value in (fields or {}).items():
            app.session_state[key] = value
        for key, value in (query or {}).items():
            app.query_params[key] = value
        return app.switch_page(f"../pages/{name}.py").run()

    yield open_
    get_runner().stop()


@pytest.fixture
def places(data: Path) -> dict[str, str]:
    """Return the fields that choose the tiny data."""
    return {"paths.data_root": str(data / "features"), "paths.manifest_dir": str(data / "manifests")}


@pytest.fixture
def small_run(places: dict[str, str]) -> dict[str, Any]:
    """Return the fields of a run that takes a second."""
    return places | {
        "training.max_epochs": 3,
        "training.batch_size": 16,
        "model.params.hidden_dims": "8",
        "training.learning_rate": 1e-2,
    }


@pytest.fixture(scope="session")
def copy_store() -> Callable[[Path, Path], Path]:
    """Return a function that copies a run store to a folder, with runs as if they had been trained there."""

    def copy(store: Path, folder: Path) -> Path:
        shutil.copytree(store, folder)
        for path in folder.glob("*/*/config.yaml"):
            text = path.read_text(encoding="utf-8").replace(str(store), str(folder))
            path.write_text(text, encoding="utf-8")
        return folder

    return copy


@pytest.fixture(scope="session")
def trained_before() -> dict[str, tuple[list[str], Path]]:
    """Return the names of the runs that `train_once` has trained, and a copy of their store, by their changes."""
    return {}


@pytest.fixture
def train_once(
    trained_before: dict[str, tuple[list[str], Path]],
    copy_store: Callable[[Path, Path], Path],
    store: Path,
    make_config: Callable[..., Config],
    tiny_data: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[list[dict[str, Any]]], list[Path]]:
    """Return a function that fills the store with small runs: trained for the first test, copied for the others."""

    def fill(changes: list[dict[str, Any]]) -> list[Path]:
        assert not store.exists(), "the store would be copied with what is in it"
        if (key := repr(changes)) in trained_before:
            copy_store(trained_before[key][1], store)
        else:
            runs = [Path(run_experiment(make_config(tiny_data, change))["run_dir"]) for change in changes]
            trained_before[key] = (
                [run.name for run in runs],
                copy_store(store, tmp_path_factory.mktemp("runs") / "outputs"),
            )
        return [store / "train" / name for name in trained_before[key][0]]

    return fill


@pytest.fixture
def said() -> Callable[[AppTest], str]:
    """Return a function that gives all that a page says as one text."""

    def gather(app: AppTest) -> str:
        kinds = ("error", "warning", "info", "success", "markdown", "caption", "code", "header")
        return "\n".join(str(part.value) for kind in kinds for part in getattr(app, kind))

    return gather


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> Callable[[], dict[str, bytes]]:
    """Return a function that gives every file the page offered since, by its button's key, as a press would write it."""
    import streamlit as st

    offered: dict[str, Any] = {}

    def offer(label: str, data: Any = None, **rest: Any) -> bool:
        offered[str(rest.get("key"))] = data
        return False

    monkeypatch.setattr(st, "download_button", offer)
    return lambda: {key: data() if callable(data) else data for key, data in offered.items()}


@pytest.fixture
def train(store: Path) -> Callable[[AppTest], Path]:
    """Return a function that presses Start, waits for the run to end, and gives its directory."""

    def run(app: AppTest) -> Path:
        before = set(store.glob("train/*/status.json"))
        app.button(key="start").click().run()
        assert not app.exception
        (status,) = set(store.glob("train/*/status.json")) - before
        assert get_runner().wait(status.parent, TIMEOUT_S)
        app.run()
        return status.parent

    return run


@pytest.fixture
def align(store: Path) -> Callable[[AppTest], AppTest]:
    """Return a function that presses Measure on the Alignment page, and waits for the result."""

    def run(app: AppTest) -> AppTest:
        before = set(store.glob("align/*/status.json"))
        app.button(key="measure").click().run()
        (status,) = set(store.glob("align/*/status.json")) - before
        assert get_runner().wait(status.parent, TIMEOUT_S)
        app.run()
        assert not app.exception
        return app

    return run


@pytest.fixture
def rewrite() -> Callable[[Path, Callable[[list[list[str]]], None]], None]:
    """Return a function that changes the rows of a CSV file in place; row 0 is its header."""

    def change_rows(path: Path, change: Callable[[list[list[str]]], None]) -> None:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))
        change(rows)
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(rows)

    return change_rows
