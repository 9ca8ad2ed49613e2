"""One damaged run is one row that says so; links to it say what to do; all other runs work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from benchmarks.damage import unpack
from ctbench_core.errors import HeldError
from ctbench_core.runs import damaged_in

Open = Callable[..., AppTest]
RUN = "train/20261128T075908Z-b34775"
OTHER = "train/20261128T075919Z-ff68d2"


@pytest.fixture
def damaged(store: Path, tmp_path: Path) -> Path:
    """Return a run store of an earlier release with one damaged run."""
    unpack(tmp_path)
    (store / RUN / "status.json").write_bytes(b'{"state": "done"}')
    return store


@pytest.mark.parametrize("name", ["home", "runs"])
def test_a_page_lists_the_damaged_run_in_one_row(damaged: Path, open_page: Open, name: str) -> None:
    app = open_page(name)
    assert not app.exception
    tables = [table.value for table in app.dataframe if "What is wrong" in table.value]
    assert [list(table["Run"]) for table in tables] == [[Path(RUN).name]]
    assert "status.json is damaged" in tables[0]["What is wrong"][0]


@pytest.mark.parametrize(("name", "parameter"), [("evaluate", "run"), ("compare", "runs"), ("runs", "run")])
def test_a_link_to_a_damaged_run_says_what_is_damaged_and_shows_nothing_else(
    damaged: Path, open_page: Open, name: str, parameter: str
) -> None:
    app = open_page(name, query={parameter: Path(RUN).name})
    assert not app.exception
    assert any("status.json is damaged" in error.value for error in app.error)
    assert not app.dataframe
    assert not app.metric


def test_train_says_that_the_run_of_its_link_is_damaged(damaged: Path, open_page: Open) -> None:
    app = open_page("train", query={"train_run": Path(RUN).name})
    assert not app.exception
    assert any("status.json is damaged" in error.value for error in app.error)


def test_other_runs_are_evaluated_beside_a_damaged_one(damaged: Path, open_page: Open) -> None:
    app = open_page("evaluate", query={"run": Path(OTHER).name})
    assert not app.exception
    assert not app.error
    assert app.metric


def test_the_system_page_sets_a_damaged_run_aside_and_back(damaged: Path, open_page: Open) -> None:
    app = open_page("system")
    button = next(button for button in app.button if button.label == "Set aside")
    app = button.click().run()
    assert not app.exception
    assert not (damaged / RUN).exists()
    assert not damaged_in(damaged)
    app = next(button for button in app.button if button.label == "Undo").click().run()
    assert not app.exception
    assert (damaged / RUN / "status.json").is_file()


def test_the_system_page_repairs_a_run_with_damaged_notes(damaged: Path, open_page: Open) -> None:
    (damaged / OTHER / "annotations.json").write_bytes(b"{")
    app = open_page("system")
    keys = {button.key: button for button in app.button if button.label == "Repair"}
    assert len(keys) == 2
    app = keys[f"repair-{damaged / OTHER}"].click().run()
    assert not app.exception
    assert [run.folder for run in damaged_in(damaged)] == [damaged / RUN]
    app = next(button for button in app.button if button.label == "Repair").click().run()
    assert not app.exception
    assert any("status.json is damaged" in error.value for error in app.error)


def test_notes_that_cannot_be_saved_are_an_error_on_the_page(
    damaged: Path, open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = open_page("runs", query={"run": Path(OTHER).name})

    def refuse(path: Path, content: object) -> None:
        raise HeldError(f"{path} is open in another program. Close it there.")

    monkeypatch.setattr("ctbench_core.runs.annotations.write_json", refuse)
    app = app.text_area(key=f"notes-{Path(OTHER).name}").input("kept").run()
    assert not app.exception
    assert any("is open in another program" in error.value for error in app.error)
