"""Workers on the Studies page: how many a new study gets, and what each of them does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from ctbench_core.executors import ClusterOptions, Session, read_options
from ctbench_core.executors.session_file import Worker, write_session
from ctbench_core.jobs import get_runner
from ctbench_core.studies import StudyPaths
from ctbench_core.studies.workers import claim
from ctbench_ui.studies import workers

Open = Callable[..., AppTest]


@pytest.fixture
def queued(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, bool]]:
    """Keep what is started from being trained; return the folders, and whether workers do it."""
    folders: list[tuple[Path, bool]] = []
    monkeypatch.setattr(
        get_runner(), "submit_work", lambda folder, work, elsewhere: folders.append((folder, elsewhere))
    )
    return folders


@pytest.fixture
def with_dask(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the page find Dask installed."""
    monkeypatch.setattr(workers, "has_dask", lambda: True)


def _start(open_page: Open, fields: dict[str, Any], count: int) -> AppTest:
    app = open_page("studies", fields, {"study": "New study"})
    app.number_input(key="study.workers").set_value(count).run()
    app.button(key="study-start").click().run()
    assert not app.exception
    return app


@pytest.mark.usefixtures("with_dask")
def test_the_number_of_workers_goes_into_the_folder_of_the_study(
    open_page: Open, small_run: dict[str, Any], queued: list[tuple[Path, bool]], store: Path
) -> None:
    _start(open_page, small_run, 2)
    assert queued == [(store / "my-study", True)]
    assert read_options(store / "my-study") == ClusterOptions(2)
    _start(open_page, small_run, 1)
    assert read_options(store / "my-study").is_here


def test_without_dask_the_field_says_what_to_install(
    open_page: Open, small_run: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "has_dask", lambda: False)
    field = open_page("studies", small_run).number_input(key="study.workers")
    assert field.disabled
    assert "ctbench[cluster]" in field.help


@pytest.mark.usefixtures("queued", "with_dask")
def test_a_study_at_work_shows_its_workers(open_page: Open, small_run: dict[str, Any], store: Path) -> None:
    _start(open_page, small_run, 2)
    paths = StudyPaths(store / "my-study")
    at_work = Worker("0", "node-7", 4711, 2, "1", "bank 1 of 1")
    link = "http://127.0.0.1:8787/status"
    write_session(paths.root, Session("tls://x", link, 2, [at_work, Worker("1", "node-8", 5)], {"bank 1 of 1": 3}))
    with claim(paths.claim(0)):
        app = open_page("studies", small_run, {"study": "my-study"})
    assert not app.exception
    (box,) = [box for box in app.expander if "workers" in box.label]
    assert box.label == "2 workers of 2 · 3 banks begun again after a lost worker"
    table = app.dataframe[0].value
    assert table.iloc[0].tolist() == ["0", "node-7", "4711", 2, "1", "bank 1 of 1", 3]
    assert any(link in text.value for text in app.markdown)
