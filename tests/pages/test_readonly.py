"""Read-only links: the figures are there, nothing that changes them is, and only an explicit step leads out."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from ctbench_core.alignment import run_alignment
from ctbench_core.config import Config, set_key
from ctbench_core.evaluate import evaluate_run
from ctbench_core.experiment import run_experiment
from ctbench_core.runs import annotate
from ctbench_core.studies import parse_study, run_study, shared_keys
from ctbench_ui.pages import PAGES
from tests.conftest import SMALL_RUN

Open = Callable[..., AppTest]
Said = Callable[[AppTest], str]
PROJECT = Path(__file__).resolve().parents[2]
READ = {"view": "read"}
SHOWN = [name for name, page in PAGES.items() if page.readonly]
# What may be pressed: the way out, and what only chooses what is shown.
HARMLESS = {"readonly-leave", "card-evaluate", "compare-selected", "compare-recipes", "runs-chip-0"}
# What of each page an address names, so that it shows all that it can.
DETAILS = {"runs": {"runs.filter": "notes ~ table"}, "studies": {"study": "small"}}
CACHES = {".runs.sqlite", ".results.parquet", ".results.lock"}  # may be written and deleted at any time


@pytest.fixture(scope="module")
def filled(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store with a study, a run whose test is evaluated and its copy, and an alignment; read only."""
    store = tmp_path_factory.mktemp("filled")
    config = Config()
    places = {"data_root": tiny_data / "features", "manifest_dir": tiny_data / "manifests", "outputs_root": store}
    for name, value in {**{f"paths.{key}": str(path) for key, path in places.items()}, **SMALL_RUN}.items():
        set_key(config, name, value)
    run_study(parse_study({"name": "small", "base": shared_keys(config), "grid": {"utils.seed": [1, 2]}}))
    run_dir = Path(run_experiment(config)["run_dir"])
    evaluate_run(run_dir)
    shutil.copytree(run_dir, run_dir.with_name("20260101T000000Z-abcdef"))
    annotate(run_dir, notes="the run of table 2")
    config.job_name, config.data.train_manifest = "align", "test.csv"
    run_alignment(config)
    return store


@pytest.fixture
def run(filled: Path, store: Path) -> Path:
    """Return the newest run of a filled store, which the app works on."""
    shutil.copytree(filled, store)
    return next(path.parent for path in store.glob("train/*/annotations.json"))


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
    files = (path for path in folder.rglob("*") if path.is_file() and path.name not in CACHES)
    return {str(path): path.stat().st_mtime_ns for path in files}


def links(app: AppTest) -> list[Any]:
    return [one for one in app.get("bidi_component") if "Read-only link" in one.proto.json]


def pressable(app: AppTest) -> set[str]:
    return {str(button.key) for button in app.button}


@pytest.mark.parametrize("name", SHOWN)
def test_a_page_shows_its_figures_and_nothing_that_changes_them(
    name: str, run: Path, store: Path, open_page: Open, follow: Open, said: Said
) -> None:
    whole = open_page(name, query=DETAILS.get(name))
    before = tree(store)
    app = follow(name, **DETAILS.get(name, {}))
    assert not app.exception
    assert pressable(app) <= HARMLESS
    assert "Read-only link" in said(app)
    assert [metric.value for metric in app.metric] == [metric.value for metric in whole.metric]
    assert len(app.dataframe) == len(whole.dataframe) > 0
    assert tree(store) == before
    assert not links(app)
    assert links(whole)


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


def test_selected_runs_show_their_notes_and_cannot_be_changed(run: Path, follow: Open, said: Said) -> None:
    one = follow("runs", run=run.name)
    assert "the run of table 2" in "".join(part.value for part in one.text)
    assert not one.get("text_area")
    several = follow("runs", **{"runs.all": "true"})
    assert "4 selected" in said(several)
    for app in (one, several):
        assert not app.exception
        assert pressable(app) <= HARMLESS


def test_a_run_whose_test_was_not_opened_says_so(store: Path, config: Config, follow: Open, said: Said) -> None:
    config.paths.outputs_root = str(store)
    run_experiment(config)
    app = follow("evaluate")
    assert "No validation results by finding yet" in said(app)
    assert not (store / "evaluations.jsonl").exists()
    assert pressable(app) <= HARMLESS


def test_an_empty_store_offers_no_way_to_fill_it(follow: Open) -> None:
    for name in SHOWN:
        assert pressable(follow(name)) <= HARMLESS
