"""Home shows the state of each step, the best runs first, and the runs that ended since the last visit."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from ctbench_core.config import Config
from ctbench_core.evaluate import evaluate_run
from ctbench_core.experiment import run_experiment
from ctbench_core.formatting import format_metric
from ctbench_core.runs import annotate, delete_run, new_status, open_run, write_config, write_status
from ctbench_ui.home import recent_runs
from ctbench_ui.runs import recipes
from ctbench_ui.shared import cache, run_table

Open = Callable[..., AppTest]
Said = Callable[[AppTest], str]
TRAINED = ["mlp", "lr 1e-5 · mlp"]  # what the runs of `trained` are called
MOMENT = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def trained(
    train_once: Callable[..., list[Path]], store: Path, make_config: Callable[..., Config], tiny_data: Path
) -> list[Path]:
    """Train two small runs, and add a failed one."""
    folders = train_once([{"utils.seed": 1}, {"utils.seed": 2, "training.learning_rate": 1e-5}])
    bad = store / "train" / "bad"
    write_config(bad / "config.yaml", make_config(tiny_data, {"training.learning_rate": 1.0}))
    write_status(bad / "status.json", new_status("the bad one"), state="failed", error="disk full\nmore")
    return [*folders, bad]


def test_best_runs_come_by_validation_and_those_without_a_metric_are_left_out(
    trained: list[Path], open_page: Open, places: dict[str, str]
) -> None:
    values = [open_run(folder).best()["val_metrics"]["auprc"] for folder in trained[:2]]
    runs = dict(zip(TRAINED, values))
    best, other = sorted(runs, key=lambda name: -runs[name])
    names = list(open_page("home", places).dataframe[0].value["name"])
    assert names == [best, other]
    annotate(trained[TRAINED.index(other)], pinned=True)
    app = open_page("home", places)
    table = app.dataframe[0].value
    assert list(table["name"]) == [best, other]
    assert list(table["star"]) == ["", "★"]
    assert list(table["auprc"]) == [format_metric(runs[best]), format_metric(runs[other])]
    app.segmented_control(key="home.best").set_value("Recipes").run()
    assert list(app.dataframe[0].value["n"]) == [1, 1]


def test_a_starred_run_is_listed_beside_the_best_of_its_recipe(
    trained: list[Path],
    open_page: Open,
    places: dict[str, str],
    make_config: Callable[..., Config],
    tiny_data: Path,
    said: Said,
) -> None:
    again = Path(run_experiment(make_config(tiny_data, {"utils.seed": 3}))["run_dir"])
    values = {folder: open_run(folder).best()["val_metrics"]["auprc"] for folder in (trained[0], again)}
    annotate(min(values, key=values.__getitem__), pinned=True)
    app = open_page("home", places)
    assert "The best run of each recipe: 2 recipes, and starred runs." in said(app)
    table = app.dataframe[0].value
    assert len(table) == 3
    assert list(table["auprc"]) == sorted(table["auprc"], reverse=True)


def test_without_a_metric_home_ranks_nothing(
    trained: list[Path], open_page: Open, places: dict[str, str], store: Path, said: Said
) -> None:
    for folder in trained[:2]:
        delete_run(store, open_run(folder))
    app = open_page("home", places)
    assert not app.exception
    assert not app.dataframe
    assert "No run has a validation AUPRC yet." in said(app)


def test_recipes_of_which_no_run_has_finished_are_not_ranked(
    trained: list[Path], open_page: Open, places: dict[str, str], said: Said
) -> None:
    for folder in trained[:2]:
        write_status(open_run(folder).paths.status, open_run(folder).status, state="cancelled")
    app = open_page("home", places | {"home.best": "Recipes"})
    assert not app.exception
    assert not app.dataframe
    assert "No recipe has a finished run yet." in said(app)


def test_recipes_are_told_apart_from_those_that_are_listed(
    trained: list[Path], open_page: Open, make_config: Callable[..., Config], tiny_data: Path
) -> None:
    for rate in (0.02, 0.03):
        run_experiment(make_config(tiny_data, {"training.learning_rate": rate}))
    before = open_page("home", {"home.best": "Recipes"}).dataframe[0].value
    failed = run_experiment(make_config(tiny_data, {"training.optimizer": "sgd"}))
    run = open_run(failed["run_dir"])
    write_status(run.paths.status, run.status, state="failed")
    after = open_page("home", {"home.best": "Recipes"}).dataframe[0].value
    assert after["differs"].tolist() == before["differs"].tolist()
    assert not any("SGD" in text or "Adam" in text for text in after["differs"])


def test_the_table_of_home_begins_with_results_and_gives_the_day_of_a_run(
    trained: list[Path], open_page: Open, places: dict[str, str]
) -> None:
    evaluate_run(trained[0])
    table = open_page("home", places).dataframe[0]
    names = [name for name in table.value if name != "star"]
    assert names[:4] == ["auprc", "name", "test", "bar"]
    created = json.loads(table.proto.columns)["when"]
    assert (created["type_config"]["format"], created["width"]) == ("D MMM", 68)  # "a few seconds ago" was cut


def test_runs_of_one_name_say_what_differs(
    store: Path, open_page: Open, places: dict[str, str], make_config: Callable[..., Config], tiny_data: Path
) -> None:
    for rate in (1e-3, 1e-5):
        run_experiment(make_config(tiny_data, {"training.learning_rate": rate}))
    app = open_page("home", places)
    names = set(app.dataframe[0].value["name"])
    assert names == {"lr 0.001 · mlp", "lr 1e-5 · mlp"}
    assert names <= {link.label for link in app.get("page_link")}
    filtered = open_page("runs", places, {"runs.filter": "learning_rate < 1e-4"})
    assert list(filtered.dataframe[0].value["name"]) == ["lr 1e-5 · mlp"]


def test_only_runs_of_the_chosen_validation_set_are_ranked_and_recipes_too(
    trained: list[Path], open_page: Open, places: dict[str, str], make_config: Callable[..., Config], tiny_data: Path
) -> None:
    small = open_run(Path(run_experiment(make_config(tiny_data, {"data.budget": 12}))["run_dir"]))
    app = open_page("home", places)
    picked = app.selectbox(key="home.set")
    names, counts = zip(*(option.split(" · ")[:2] for option in picked.options))
    assert counts == ("2 runs", "1 run")
    assert names == ("Validation set valid.csv", "Validation set valid.csv, budget 12")
    assert len(app.dataframe[0].value) == 2
    picked.select_index(1).run()
    assert not app.exception
    values = app.dataframe[0].value
    assert [text for text in values["auprc"] if text] == [format_metric(small.best()["val_metrics"]["auprc"])]
    app.segmented_control(key="home.best").set_value("Recipes").run()
    assert not app.exception
    assert list(app.dataframe[0].value["n"]) == [1]
    query = {"set": app.query_params["set"], "home.best": "Recipes"}
    app.switch_page("../pages/runs.py").run()
    assert app.switch_page("../pages/home.py").run().segmented_control(key="home.best").value == "Recipes"
    linked = open_page("home", query=query)
    assert linked.selectbox(key="home.set").value == query["set"]
    assert list(linked.dataframe[0].value["n"]) == [1]
    lost = open_page("home", query={"set": "gone"})
    assert not lost.exception and "gone" in lost.error[0].value and lost.button(key="address-clear")


def test_the_runs_of_a_recipe_are_shown_by_a_query_and_not_selected(
    trained: list[Path], open_page: Open, places: dict[str, str], store: Path
) -> None:
    app = _show_runs_of_recipe(open_page, places, store, trained[1])
    assert app.title[0].value == "Runs"
    assert app.text_input(key="runs.filter").value == "training.learning_rate = 1e-05"
    assert app.dataframe[0].value["name"].tolist() == [TRAINED[1]]
    assert app.query_params["runs.filter"] == "training.learning_rate = 1e-05"
    assert "run" not in app.query_params


def test_the_runs_of_the_only_recipe_are_shown_without_the_query_before(
    trained: list[Path], open_page: Open, places: dict[str, str], store: Path
) -> None:
    for folder in (trained[0], trained[2]):
        delete_run(store, open_run(folder))
    app = _show_runs_of_recipe(open_page, places, store, trained[1])
    assert app.text_input(key="runs.filter").value == ""
    assert len(app.dataframe[0].value) == 1
    assert "runs.filter" not in app.query_params


def _show_runs_of_recipe(open_page: Open, places: dict[str, str], store: Path, folder: Path) -> AppTest:
    """Open the runs of the recipe of a run from Home, after another query on Runs."""
    app = open_page("runs", places, {"runs.filter": "linear"})
    app = app.switch_page("../pages/home.py").run()
    app.segmented_control(key="home.best").set_value("Recipes").run()
    rows = [row for row in cache.run_rows(str(store)) if row["validation_name"]]
    recipe = next(row["recipe"] for row in rows if row["run_dir"] == str(folder))
    ids = list(recipes.table(pd.DataFrame(rows))["recipe"])
    key = f"recipes-{hash(tuple(ids)) & 0xFFFFFFFF:x}"
    app.session_state[key] = {"selection": {"rows": [ids.index(recipe)], "columns": [], "cells": []}}
    app.run()
    app.button(key="best-recipe-runs").click().run()
    assert not app.exception
    return app


def test_a_run_of_another_validation_set_is_not_listed_without_a_metric_either(
    trained: list[Path], open_page: Open, places: dict[str, str], make_config: Callable[..., Config], tiny_data: Path
) -> None:
    changes = [{"data.budget": 12}, {"data.budget": 12, "model.params.dropout": 0.0}]
    small = [Path(run_experiment(make_config(tiny_data, change))["run_dir"]) for change in changes]
    open_run(small[1]).paths.best_metrics.unlink()
    app = open_page("home", places)
    assert len(app.dataframe[0].value) == 2
    app.selectbox(key="home.set").select_index(1).run()
    assert not app.exception
    assert len(app.dataframe[0].value) == 1
    assert [option.split(" · ")[1] for option in app.selectbox(key="home.set").options] == ["2 runs", "1 run"]


def test_a_first_visit_of_data_names_no_runs(
    trained: list[Path], open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    named: list[Any] = []

    def note(rows: Any) -> list[Any]:
        named.append(rows)
        return list(rows)

    monkeypatch.setattr(cache, "named", note)
    app = open_page("data")
    assert not app.exception and not named  # names of thousands of runs take their time
    app.button(key="use-newest-data").click().run()
    assert not app.exception and named


def test_a_first_visit_of_home_reads_the_run_table_once(
    trained: list[Path], open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Any] = []
    real = cache.read_table

    def note(outputs_root: Any) -> Any:
        read.append(outputs_root)
        return real(outputs_root)

    monkeypatch.setattr(cache, "read_table", note)
    app = open_page("home")
    assert not app.exception and app.button(key="use-newest-data")
    assert len(read) == 1  # of thousands of runs it takes its time


@pytest.mark.parametrize("name", ["home", "data", "train", "studies"])
def test_a_first_visit_says_which_data_the_newest_run_used_and_offers_them(
    trained: list[Path], open_page: Open, tiny_data: Path, said: Said, name: str
) -> None:
    app = open_page(name)
    assert not app.exception
    text = said(app).replace("\\", "")
    assert "No data set chosen" in text
    assert f"The newest run used {tiny_data.name} with {(tiny_data / 'manifests').as_posix()}/train.csv" in text
    app.button(key="use-newest-data").click().run()
    assert not app.exception
    text = said(app)
    assert "No data set chosen" not in text
    assert "60 volumes / 30 exams / 30 patients" in text
    assert app.session_state["paths.data_root"] == str(tiny_data / "features")


def test_an_interrupted_run_is_resumed_from_home(trained: list[Path], open_page: Open, places: dict[str, str]) -> None:
    run = open_run(trained[1])
    write_status(run.paths.status, run.status, state="cancelled", max_epochs=3)
    app = open_page("home", places)
    assert f"recent-{trained[1].name}-resume" in {button.key for button in app.button}
    assert not [button for button in app.button if button.key == f"recent-{trained[0].name}-resume"]


def test_the_steps_and_recent_activity_are_shown(
    trained: list[Path], open_page: Open, places: dict[str, str], said: Said
) -> None:
    text = said(open_page("home", places))
    assert "60 volumes / 30 exams / 30 patients" in text
    assert "3 runs so far" in text
    assert "No test results yet" in text
    assert "disk full" in text
    assert "more" not in text.split("disk full")[1].splitlines()[0]


def test_a_refresh_is_the_same_visit_and_a_later_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / ".visits.json"
    assert recent_runs.note_visit(path, MOMENT) == ""
    assert recent_runs.note_visit(path, MOMENT + timedelta(minutes=5)) == ""
    later = MOMENT + timedelta(hours=3)
    assert recent_runs.note_visit(path, later) == (MOMENT + timedelta(minutes=5)).isoformat()
    assert recent_runs.note_visit(path, later + timedelta(minutes=1)) == (MOMENT + timedelta(minutes=5)).isoformat()


def test_a_damaged_record_of_visits_is_ignored(tmp_path: Path) -> None:
    path = tmp_path / ".visits.json"
    path.write_text("[torn")
    assert recent_runs.note_visit(path, MOMENT) == ""


def test_runs_are_ranked_within_one_validation_set() -> None:
    created = [f"2026-01-0{day}T00:00:00+00:00" for day in range(1, 6)]
    frame = pd.DataFrame(
        {
            "run_id": list("abcde"),
            "validation_set": ["large", "small", "large", "small", "large"],
            "validation_name": ["valid.csv", "small.csv", "valid.csv", "small.csv", "valid.csv"],
            "val_auprc": [0.3, 0.9, 0.4, 0.8, None],
            "created": created,
        }
    )
    ranked = run_table.best_first(frame)
    assert "".join(ranked["run_id"]) == "cabde"
    large, small = "valid.csv", "small.csv"
    assert list(ranked["set"]) == [large, large, small, small, large]
    few = run_table.best_first(frame[frame["run_id"].isin(list("bcd"))])  # now small has most runs
    assert dict(zip(few["run_id"], few["set"])) == {"b": small, "c": large, "d": small}
    alone = run_table.best_first(frame[frame["validation_set"] == "large"])
    assert set(alone["set"]) == {""}


def test_a_parameter_of_another_page_is_passed_over_and_one_of_none_is_named(open_page: Open, said: Said) -> None:
    assert "has no" not in said(open_page("home", query={"run": "20260101T000000Z-000000"}))
    assert "The page Home has no colour" in said(open_page("home", query={"colour": "blue"}))
