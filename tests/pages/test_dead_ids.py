"""An address with the id of something that is not in the store: it is reported, and nothing is shown in its place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from ctbench_core.alignment import run_alignment
from ctbench_core.config import Config

Open = Callable[..., AppTest]
GONE = "20200101T000000Z-000000"
FIGURES = ("metric", "dataframe", "plotly_chart", "tab")


@pytest.fixture
def run(store: Path, evaluated_run: Callable[..., Path], make_config: Callable[..., Config], tiny_data: Path) -> str:
    """Fill the store with an evaluated run and an alignment; return the run's id."""
    run_alignment(make_config(tiny_data, {"data.train_manifest": "test.csv", "job_name": "align"}))
    return evaluated_run().name


def figures(app: AppTest) -> list[str]:
    """Return the kinds of tables, charts, numbers and tabs that a page shows."""
    assert not app.exception
    return [kind for kind in FIGURES if len(app.get(kind))]


def test_a_dead_id_is_reported_and_nothing_else(run: str, open_page: Open) -> None:
    for page, dead, message in (
        ("evaluate", {"run": GONE}, "This run is not in the store"),
        ("evaluate", {"run": run, "test": "gone"}, "This run has no results on this test set"),
        ("compare", {"runs": f"{run},{GONE}"}, "This run is not in the store"),
        ("alignment", {"result": GONE}, "This result is not in the store"),
    ):
        for link in ({}, {"view": "read"}):
            app = open_page(page, query=dead | link)
            assert [error.proto.title for error in app.error] == [message], (page, link)
            assert figures(app) == [], (page, link)
            assert ("address-clear" in [button.key for button in app.button]) == (not link)


def test_what_the_store_has_is_shown(run: str, open_page: Open) -> None:
    shown = figures(open_page("evaluate", query={"run": run})) + figures(open_page("alignment"))
    assert set(shown) == set(FIGURES)
