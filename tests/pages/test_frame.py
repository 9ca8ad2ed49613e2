"""Every page opens on an empty store, and an empty page offers one button."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from benchmarks.damage import unpack
from ctbench_core.errors import RunError
from ctbench_ui.frame.page_style import STYLE
from ctbench_ui.pages import PAGES


@pytest.mark.parametrize("name", list(PAGES))
def test_a_page_opens_on_an_empty_store(name: str, open_page: Callable[..., AppTest]) -> None:
    app = open_page(name)
    assert not app.exception
    assert not app.error
    assert len(app.title) == 1


@pytest.mark.parametrize("name", ("train", "runs", "evaluate", "alignment"))
def test_an_empty_page_has_one_button_that_leads_on(name: str, open_page: Callable[..., AppTest]) -> None:
    app = open_page(name)
    assert len(app.button) == 1
    app.button[0].click().run()
    assert not app.exception
    assert app.title[0].value in ("Data", "Train")


@pytest.mark.parametrize(
    ("name", "parameter"), [(name, parameter) for name, page in PAGES.items() for parameter in page.ids]
)
def test_an_id_that_leads_out_of_the_store_is_not_in_the_store(
    name: str, parameter: str, tmp_path: Path, open_page: Callable[..., AppTest]
) -> None:
    outside = unpack(tmp_path / "elsewhere")
    query = {"run": "20261128T075908Z-b34775"} | {parameter: "../elsewhere/outputs/train/20261128T075908Z-b34775"}
    unpack(tmp_path)
    before = {path: path.read_bytes() for path in outside.rglob("*") if path.is_file()}
    app = open_page(name, query={key: value for key, value in query.items() if key in PAGES[name].ids})
    assert not app.exception
    assert [error.value.splitlines()[1] for error in app.error] == [query[parameter]]
    assert {metric.label for metric in app.metric} <= {"Parameters"}  # of the form, not of a run
    assert {path: path.read_bytes() for path in outside.rglob("*") if path.is_file()} == before


def test_an_error_of_the_core_in_the_middle_of_a_page_is_text(
    tmp_path: Path, open_page: Callable[..., AppTest], monkeypatch: pytest.MonkeyPatch
) -> None:
    unpack(tmp_path)

    def lose(*_: object) -> None:
        raise RunError("outputs/run is no run any more.")

    monkeypatch.setattr("ctbench_ui.compare.page.common_sets", lose)
    app = open_page("compare")
    assert not app.exception
    assert "outputs/run is no run any more. Reload the page" in app.error[0].value


def test_no_style_asks_what_the_whole_page_holds() -> None:
    desktop = STYLE.partition("@media (max-width: 640px)")[0]
    rules = [line for line in desktop.splitlines() if ":has(" in line]
    assert len(rules) == 3
    assert all(line.startswith(("[data-testid=stHeader]:has(", "[data-testid=stLayoutWrapper]:has(")) for line in rules)
