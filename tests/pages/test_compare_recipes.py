"""Two recipes are selected on Home or Runs and compared, by runs that have test results."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from ctbench_core.compare import run_choice
from ctbench_core.config import Config
from ctbench_core.evaluate import evaluate_run
from ctbench_core.experiment import run_experiment
from ctbench_core.formatting import format_metric
from ctbench_core.runs import annotate, open_run, run_names
from ctbench_ui.runs import recipes
from ctbench_ui.shared import as_text, cache, compare_recipes

Open = Callable[..., AppTest]
Said = Callable[[AppTest], str]
TABLES = [("home", {"home.best": "Recipes"}, "compare-best"), ("runs", {"runs.view": "By recipe"}, "compare-recipes")]


@pytest.fixture
def trained(train_once: Callable[..., list[Path]]) -> list[Path]:
    """Train two seeds of one recipe, the better first, and one of another."""
    *repeats, other = train_once(
        [{"utils.seed": 1}, {"utils.seed": 2}, {"utils.seed": 1, "training.learning_rate": 1e-5}]
    )
    return [*sorted(repeats, key=lambda folder: -open_run(folder).best()["val_metrics"]["auprc"]), other]


def select(app: AppTest, store: Path, count: int) -> list[str]:
    """Select the first recipes of the table, which AppTest cannot click; return them."""
    ids = list(recipes.table(pd.DataFrame(cache.run_rows(str(store))))["recipe"])
    select_rows(app, "recipes", ids, count)
    return ids[:count]


def select_rows(app: AppTest, table: str, ids: list[str], count: int) -> None:
    key = f"{table}-{hash(tuple(ids)) & 0xFFFFFFFF:x}"
    app.session_state[key] = {"selection": {"rows": list(range(count)), "columns": [], "cells": []}}
    app.run()
    assert not app.exception


def notes(app: AppTest, key: str, said: Said) -> str:
    """Return what a page says of runs without results: Home in a text, Runs in the help of the button."""
    return f"{said(app)}\n{app.button(key=key).help}"


@pytest.mark.parametrize(("page", "fields", "key"), TABLES)
def test_two_recipes_are_compared_by_runs_with_test_results(
    page: str, fields: dict[str, str], key: str, trained: list[Path], store: Path, open_page: Open, said: Said
) -> None:
    _, repeat, other = trained
    for folder, name in zip(trained, ("the best", "its repeat", "the other")):
        annotate(folder, name=name)
    evaluate_run(repeat, ["test.csv"])
    app = open_page(page, fields)
    assert key not in {button.key for button in app.button}
    select(app, store, 2)
    assert app.button(key=key).disabled
    assert "the other has no test results: evaluate it, or a repeat of it, first." in notes(app, key, said)
    assert ("0 of 2 have results" in said(app)) == (page == "runs")
    evaluate_run(other, ["test.csv"])
    app = open_page(page, fields)
    chosen = select(app, store, 2)
    assert "the best has no test results: Compare takes its repeat of its recipe." in notes(app, key, said)
    app.button(key=key).click().run()
    assert not app.exception
    assert app.title[0].value == "Compare"
    compared = _compared(app)
    assert set(compared) == {repeat.name, other.name}
    recipe_of = {row["run_id"]: row["recipe"] for row in cache.run_rows(str(store))}
    assert [recipe_of[run_id] for run_id in compared] == chosen  # the uppermost is the baseline


def test_compare_begins_with_two_recipes_and_says_where_there_is_one(
    trained: list[Path], open_page: Open, said: Said
) -> None:
    best, repeat, other = trained
    evaluate_run(best, ["test.csv"])
    evaluate_run(repeat, ["test.csv"])
    app = open_page("compare")
    assert _compared(app) == [best.name, repeat.name]
    assert "Both runs are of one recipe" in said(app)
    evaluate_run(other, ["test.csv"])
    app = open_page("compare")
    seeds = {folder.name: open_run(folder).config.utils.seed for folder in trained}
    assert other.name in _compared(app)
    assert [seeds[run_id] for run_id in _compared(app)] == [seeds[other.name]] * 2
    assert "of one recipe" not in said(app)
    (table,) = [one.value for one in app.dataframe if "Mean over" in one.value]
    assert {text.partition(", ")[2] for text in table["Mean over"]} == {"1 common seed"}
    assert list(table["Other"] - table["Baseline"]) == pytest.approx(list(table["Difference"]))


def test_compare_says_over_which_seeds_each_recipe_is_averaged(trained: list[Path], open_page: Open) -> None:
    best, repeat, other = trained
    for folder in trained:
        evaluate_run(folder, ["test.csv"])
    app = open_page("compare", query={"runs": f"{repeat.name},{other.name}"})
    values = [open_run(folder).best()["val_metrics"]["auprc"] for folder in (best, repeat)]
    shown = _shown(app)
    assert "mlp, seeds 1, 2 · val. AUPRC" in shown[0]
    assert shown[0].endswith(f"val. AUPRC {format_metric(sum(values) / 2)}")
    assert "mlp, seed 1 · val. AUPRC" in shown[1]
    assert app.toggle(key="compare.by-recipe").label == "Average over seeds (2 and 1 run)"
    app.toggle(key="compare.by-recipe").set_value(False).run()
    assert _compared(app) == [repeat.name, other.name]
    assert not any("seeds 1, 2" in text for text in _shown(app))


def test_compare_says_which_repeats_have_no_results(
    trained: list[Path], store: Path, open_page: Open, said: Said
) -> None:
    _, repeat, other = trained
    annotate(trained[0], name="without results")
    for folder in (repeat, other):
        evaluate_run(folder, ["test.csv"])
    app = open_page("compare", query={"runs": f"{repeat.name},{other.name}"})
    assert "Not compared, without results on test: without results." in said(app)
    evaluate_run(trained[0], ["test.csv"])
    assert "Not compared" not in said(open_page("compare", query={"runs": f"{repeat.name},{other.name}"}))


def test_a_run_has_one_name_on_every_tab(
    trained: list[Path], store: Path, open_page: Open, make_config: Callable[..., Config], tiny_data: Path
) -> None:
    run_experiment(make_config(tiny_data, {"utils.seed": 1, "training.batch_size": 8}))
    _, repeat, other = trained
    for folder in trained:
        evaluate_run(folder, ["test.csv"])
    names = {row["run_id"]: row["name"] for row in cache.named(cache.run_rows(str(store)))}
    alone = run_names([open_run(repeat), open_run(other)])
    assert alone != [names[repeat.name], names[other.name]]  # else this shows nothing
    query = {"runs": f"{repeat.name},{other.name}", "compare.by-recipe": "False", "compare-tabs": "settings"}
    app = open_page("compare", query=query)
    assert not app.exception
    assert not app.toggle(key="compare.by-recipe").value
    assert list(app.table[0].value)[1:] == [as_text(names[one.name]) for one in (repeat, other)]
    assert [text.split(" · val.")[0] for text in _shown(app)] == [names[one.name] for one in (repeat, other)]
    app = open_page("compare", query=query | {"compare-tabs": "label noise"})
    assert app.selectbox(key="compare-labels-run").options == [names[one.name] for one in (repeat, other)]


def test_where_recipes_are_compared_one_run_of_each_is_drawn_under_its_own_name(
    trained: list[Path], store: Path, open_page: Open
) -> None:
    _, repeat, other = trained
    for folder in trained:
        evaluate_run(folder, ["test.csv"])
    names = {row["run_id"]: row["name"] for row in cache.named(cache.run_rows(str(store)))}
    query = {"runs": f"{repeat.name},{other.name}"}
    app = open_page("compare", query=query | {"compare-tabs": "label noise"})
    assert app.toggle(key="compare.by-recipe").value
    assert app.selectbox(key="compare-labels-run").options == [names[one.name] for one in (repeat, other)]
    app = open_page("compare", query=query | {"compare-tabs": "curves"})
    lines = [trace["name"] for trace in json.loads(app.get("plotly_chart")[0].proto.spec)["data"] if trace.get("name")]
    assert {names[one.name] for one in (repeat, other)} <= set(lines)


def _shown(app: AppTest) -> list[str]:
    """Return the texts of the chosen runs."""
    assert not app.exception
    fields = (app.selectbox(key="compare.baseline"), app.multiselect(key="compare.others"))
    return [fields[0].format_func(fields[0].value), *map(fields[1].format_func, fields[1].value)]


def _compared(app: AppTest) -> list[str]:
    assert not app.exception
    return [app.selectbox(key="compare.baseline").value, *app.multiselect(key="compare.others").value]


def test_two_repeats_of_which_one_has_test_results_are_not_compared(trained: list[Path], open_page: Open) -> None:
    best, repeat, _ = trained
    for folder in (best, repeat):
        annotate(folder, pinned=True)
    evaluate_run(repeat, ["test.csv"])
    app = open_page("home")
    select_rows(app, "best-runs", [folder.name for folder in trained], 2)
    assert app.button(key="compare-best").disabled


def test_the_selected_recipes_are_in_the_address_in_their_view(
    trained: list[Path], store: Path, open_page: Open, said: Said
) -> None:
    app = open_page("runs", {"runs.view": "By recipe"})
    chosen = select(app, store, 1)
    assert not app.exception
    link = app.query_params["recipe"]
    app = open_page("runs", query={"runs.view": "By recipe", "recipe": link})
    assert len(app.dataframe) == 2  # the recipes, and the runs of the selected one
    recipe_of = {row["run_id"]: row["recipe"] for row in cache.run_rows(str(store))}
    assert recipe_of["".join(link)] == chosen[0]
    assert app.query_params["recipe"] in (link, ["".join(link)])
    app.segmented_control(key="runs.view").set_value("Runs").run()
    assert "recipe" not in app.query_params
    gone = open_page("runs", query={"runs.view": "By recipe", "recipe": "20200101T000000Z-000000"})
    assert "It was deleted or moved" in said(gone)


def test_one_recipe_shows_its_runs_and_two_do_not(trained: list[Path], store: Path, open_page: Open) -> None:
    app = open_page("runs", {"runs.view": "By recipe"})
    table = app.dataframe[0].proto
    assert table.MULTI_ROW in table.selection_mode
    select(app, store, 1)
    assert len(app.dataframe) == 2
    select(app, store, 2)
    assert len(app.dataframe) == 1


def test_a_read_only_link_gives_no_advice_to_evaluate(
    trained: list[Path], store: Path, open_page: Open, said: Said
) -> None:
    app = open_page("runs", {"runs.view": "By recipe"}, query={"view": "read"})
    select(app, store, 2)
    text = notes(app, "compare-recipes", said)
    assert "has no test results." in text
    assert "evaluate it" not in text


def test_a_run_that_compare_replaces_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_choice, "open_run", str)
    monkeypatch.setattr(run_choice, "common_sets", lambda runs: {})  # no scores on validation
    ranked = pd.DataFrame(
        {
            "run_id": ["a1", "a2", "b1", "c1"],
            "name": ["a seed 1", "a seed 2", "b seed 1", "c seed 1"],
            "recipe": ["a", "a", "b", "c"],
            "tests": [{}, {"test": 0.5}, {"test": 0.6}, {}],
            "kind": "train",
            "run_dir": "",
        }
    )
    assert compare_recipes.replaced(["a1", "b1", "c1"], ranked) == [
        "a seed 1 has no test results: Compare takes a seed 2 of its recipe.",
        "c seed 1 has no test results: evaluate it, or a repeat of it, first.",
    ]
