"""Read-only links: the figures are there, nothing that changes them is, and only an explicit step leads out."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from ctbench_core.alignment import run_alignment
from ctbench_core.config import Config
from ctbench_core.evaluate import evaluate_run
from ctbench_core.experiment import run_experiment
from ctbench_ui.pages import PAGES

Open = Callable[..., AppTest]
Said = Callable[[AppTest], str]
PROJECT = Path(__file__).resolve().parents[2]
READ = {"view": "read"}
SHOWN = [name for name, page in PAGES.items() if page.readonly]
# What may be pressed: the way out, and what only chooses what is shown.
HARMLESS = {"readonly-leave"}


@pytest.fixture
def run(store: Path, config: Config) -> Path:
    """Train a run in the store that the app works on, open its test, and measure an alignment beside it."""
    config.paths.outputs_root = str(store)
    run_dir = Path(run_experiment(config)["run_dir"])
    evaluate_run(run_dir)
    shutil.copytree(run_dir, run_dir.with_name("20260101T000000Z-abcdef"))
    other = config.copy()
    other.job_name, other.data.train_manifest = "align", "test.csv"
    run_alignment(other)
    return run_dir


@pytest.fixture
def follow(open_page: Open) -> Open:
    """Return a function that opens a read-only link in a new session; ``open_page`` looks at Home first."""

    def open_(name: str, **query: str) -> AppTest:
        app = AppTest.from_file(str(PROJECT / "ctbench_ui" / "main.py"), default_timeout=60)
        for key, value in {**READ, **query}.items():
            app.query_params[key] = value
        return app.switch_page(f"../pages/{name}.py").run()

    return open_


def tree(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def pressable(app: AppTest) -> set[str]:
    return {str(button.key) for button in app.button}


@pytest.mark.parametrize("name", SHOWN)
def test_a_page_shows_its_figures_and_nothing_that_changes_them(
    name: str, run: Path, store: Path, open_page: Open, follow: Open, said: Said
) -> None:
    whole = open_page(name)
    before = tree(store)
    app = follow(name)
    assert not app.exception
    assert pressable(app) <= HARMLESS
    assert "Read-only link" in said(app)
    assert [metric.value for metric in app.metric] == [metric.value for metric in whole.metric]
    assert len(app.dataframe) == len(whole.dataframe) > 0
    assert tree(store) == before
    assert not app.get("link_button")
    assert whole.get("link_button")


def test_turning_to_another_page_stays_read_only_until_one_leaves(run: Path, follow: Open, said: Said) -> None:
    app = follow("evaluate", run=run.name)
    app.query_params.clear()  # as the navigation does
    app.switch_page("../pages/alignment.py").run()
    assert app.query_params["view"] == "read"
    assert "measure" not in pressable(app)
    app.button(key="readonly-leave").click().run()
    assert "view" not in app.query_params
    assert "Read-only link" not in said(app)


@pytest.mark.parametrize("name", sorted(set(PAGES) - set(SHOWN)))
def test_pages_that_change_things_are_left_out(name: str, run: Path, store: Path, follow: Open, said: Said) -> None:
    before = tree(store)
    app = follow(name)
    assert not app.exception
    assert "not available in a read-only link" in said(app)
    assert pressable(app) <= HARMLESS
    assert tree(store) == before


def test_the_offered_address_names_what_is_shown(run: Path, open_page: Open) -> None:
    def offered(name: str, query: dict[str, Any]) -> str:
        (link,) = open_page(name, query=query).get("link_button")
        return str(link.proto.url)

    assert offered("evaluate", {"run": run.name}) == f"?run={run.name}&test=test&view=read"
    assert offered("compare", {}).endswith("&view=read")
    assert "result=" in offered("alignment", {})


def test_a_run_whose_test_was_not_opened_says_so(store: Path, config: Config, follow: Open, said: Said) -> None:
    config.paths.outputs_root = str(store)
    run_experiment(config)
    app = follow("evaluate")
    assert "not computed yet" in said(app)
    assert not (store / "evaluations.jsonl").exists()
    assert pressable(app) <= HARMLESS


def test_an_empty_store_offers_no_way_to_fill_it(follow: Open) -> None:
    for name in SHOWN:
        assert pressable(follow(name)) <= HARMLESS
