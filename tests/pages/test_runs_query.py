"""The Runs page: the query and what writes it, order, columns, groups, saved views, and actions on many runs."""

from __future__ import annotations

import functools
import io
import json
import math
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from streamlit.elements.lib import policies
from streamlit.runtime.state import get_session_state
from streamlit.testing.v1 import AppTest

from ctbench_core import query
from ctbench_core.compare import compare_recipes
from ctbench_core.config import Config, set_keys
from ctbench_core.errors import HeldError
from ctbench_core.evaluate import evaluate_run
from ctbench_core.experiment import run_experiment
from ctbench_core.formatting import format_interval
from ctbench_core.runs import RunStore, annotate, open_run, read_views, run_fields, save_view
from ctbench_core.runs import bulk as core_bulk
from ctbench_ui.runs import bulk, filters, groups, page
from ctbench_ui.shared import cache, run_table

Open = Callable[..., AppTest]
Said = Callable[[AppTest], str]


@pytest.fixture(scope="module")
def originals(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Train one recipe with seeds 0, 1, 2 and another with seeds 0 and 1."""
    keys = {"paths.data_root": str(tiny_data / "features"), "paths.manifest_dir": str(tiny_data / "manifests")}
    keys |= {"paths.outputs_root": str(tmp_path_factory.mktemp("query") / "outputs")}
    size = {"training.max_epochs": 1, "training.batch_size": 16, "model.params.hidden_dims": [8]}
    changes: list[dict[str, Any]] = [{"utils.seed": seed} for seed in range(3)]
    changes += [{"utils.seed": seed, "training.learning_rate": 1e-2} for seed in range(2)]
    return [Path(run_experiment(set_keys(Config(), {**keys, **size, **one}))["run_dir"]) for one in changes]


@pytest.fixture
def trained(originals: list[Path], store: Path) -> list[Path]:
    """Return a copy of the runs in the store of the app."""
    return [Path(shutil.copytree(folder, store / "train" / folder.name)) for folder in originals]


def shown(app: AppTest) -> int:
    assert not app.exception
    return len(app.dataframe[0].value)


def filter_box(open_page: Open, text: str = "") -> AppTest:
    return open_page("runs", {"runs.filter": text, "runs-filter-box": True})


def test_a_control_keeps_its_place_below_what_comes_and_goes(trained: list[Path], open_page: Open) -> None:
    """One that moves is drawn twice for a moment, and the browser then drops it from the address."""

    def place_of_order(app: AppTest) -> int:
        blocks = app.main.children.items()
        return next(at for at, block in blocks if "runs.order" in [one.key for one in getattr(block, "selectbox", ())])

    app = open_page("runs")
    before = place_of_order(app)
    app.text_input(key="runs.filter").set_value("seed < 2").run()
    assert app.button(key="runs-chip-0")
    assert place_of_order(app) == before
    app.session_state["deleted"] = ("a run", [])
    assert place_of_order(app.run()) == before
    assert app.button(key="undo")


def test_what_is_clicked_is_written_into_the_query(trained: list[Path], open_page: Open) -> None:
    annotate(trained[0], tags=["paper", "table 2"])
    app = filter_box(open_page, "seed < 2")
    assert shown(app) == 4
    app.pills(key="runs-choice-tag").set_value(["table 2"]).run()
    assert app.text_input(key="runs.filter").value == 'seed < 2 and tag = "table 2"'
    assert shown(app) == 1
    chips = [button for button in app.button if str(button.key).startswith("runs-chip-")]
    assert [chip.label for chip in chips] == [r"Seed \< 2", 'Tags = "table 2"']
    app.button(key="runs-chip-0").click().run()
    assert app.text_input(key="runs.filter").value == 'tag = "table 2"'
    assert app.pills(key="runs-choice-tag").value == ["table 2"]
    app.selectbox(key="runs-field").set_value("training.learning_rate")
    app.selectbox(key="runs-sign").set_value(">")
    app.text_input(key="runs-value").set_value("1e-3").run()
    assert "Already in the query." not in [caption.value for caption in app.caption]
    app.button(key="runs-add").click().run()
    assert app.text_input(key="runs.filter").value == 'tag = "table 2" and training.learning_rate > 1e-3'
    assert app.button(key="runs-add").disabled
    assert "Already in the query." in [caption.value for caption in app.caption]
    assert "No runs match" in app.info[0].value
    app.button(key="runs.clear-all").click().run()
    assert shown(app) == 5


def test_numbers_to_click_are_in_their_order(
    trained: list[Path], open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {"budget": ["all", "60", "20", "120"], "head": ["mlp", "linear"]}  # the most frequent first
    monkeypatch.setattr(filters, "_values", lambda rows, name: values.get(name, []))
    app = filter_box(open_page, "budget = 40 or budget = all")
    assert not app.exception
    assert app.pills(key="runs-choice-budget").options == ["20", "60", "120", "all"]
    assert app.pills(key="runs-choice-head").options == ["mlp", "linear"]
    assert app.selectbox(key="runs-sign").label == "Operator"


def test_a_standard_deviation_has_the_digits_of_its_mean() -> None:
    table = run_table.with_val_texts(pd.DataFrame({"val_auprc": [0.5, 0.25], "val_auprc_sd": [0.01234, math.nan]}))
    assert table.to_numpy().tolist() == [[".500", ".012"], [".250", ""]]
    assert run_table.with_val_texts(pd.DataFrame({"val_auprc_sd": [0.0001]})).iloc[0, 0] == "< .001"


def test_the_choice_of_columns_says_why_one_may_not_be_in_sight(
    trained: list[Path], open_page: Open, said: Said
) -> None:
    assert "Some columns are hidden while they are empty, or beside a card." in said(open_page("runs"))


def test_of_too_many_runs_it_is_said_how_many_are_compared(
    trained: list[Path], open_page: Open, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "MOST", 2)
    assert "select 2 to 2" in said(open_page("runs", {"runs.chosen": [folder.name for folder in trained[:3]]}))


def test_a_run_is_found_by_its_name_as_shown_and_by_its_own(trained: list[Path], open_page: Open) -> None:
    for folder in trained:
        annotate(folder, name="probe")
    names = list(open_page("runs").dataframe[0].value["name"])
    assert len(set(names)) == 5 and "probe" not in names
    app = open_page("runs", query={"runs.filter": f'name = "{names[2]}"'})
    assert list(app.dataframe[0].value["name"]) == [names[2]]
    app.text_input(key="runs.filter").set_value("name = probe").run()
    assert list(app.dataframe[0].value["name"]) == names
    app.text_input(key="runs.filter").set_value(f'"{names[2]}"').run()
    assert list(app.dataframe[0].value["name"]) == [names[2]]


def test_a_wrong_query_names_the_word_and_offers_the_nearest(trained: list[Path], open_page: Open, said: Said) -> None:
    app = open_page("runs", query={"runs.filter": "sead = 0"})
    assert "Unknown field “sead”. Did you mean “seed”?" in said(app)
    assert not app.dataframe
    app.button(key="runs.suggestion").click().run()
    assert app.text_input(key="runs.filter").value == "seed = 0"
    assert shown(app) == 2


def test_an_address_from_before_the_query_becomes_one(trained: list[Path], open_page: Open, said: Said) -> None:
    annotate(trained[1], tags=["paper"])
    app = open_page("runs", query={"runs.tag": "paper", "runs.state": "finished", "runs.filter": "mlp"})
    assert app.text_input(key="runs.filter").value == "mlp and state = finished and tag = paper"
    assert shown(app) == 1
    assert set(app.query_params) & {"runs.tag", "runs.state"} == set()
    assert "has no" not in said(app)


def test_an_address_and_a_query_with_an_older_name_of_a_column_still_work(
    trained: list[Path], open_page: Open, said: Said
) -> None:
    address = {"runs.columns": ["Run", "N"], "runs.order": "n ↓", "runs.filter": "N > 1"}
    app = open_page("runs", query=address)
    assert list(app.dataframe[0].value) == ["name", "volumes"]
    assert app.selectbox(key="runs.order").value == "Volumes ↓"
    assert "is unknown" not in said(app)


def test_any_key_is_a_column_and_an_order(trained: list[Path], open_page: Open, said: Said) -> None:
    query = {"runs.columns": ["Run", "training.learning_rate", "Seed"], "runs.order": "training.learning_rate ↓"}
    app = open_page("runs", query=query)
    table = app.dataframe[0].value
    assert list(table) == ["name", "seed", "training.learning_rate"]
    assert table["training.learning_rate"].tolist() == [1e-2, 1e-2, 1e-4, 1e-4, 1e-4]
    app.selectbox(key="runs.order").set_value("Seed ↑").run()
    assert app.dataframe[0].value["seed"].tolist() == [0, 0, 1, 1, 2]
    dead = open_page("runs", query={"runs.order": "Colour ↑", "runs.view": "By moon"})
    assert shown(dead) == 5
    assert "runs.order=Colour ↑ is unknown" in said(dead)
    assert "runs.view=By moon is unknown" in said(dead)


def test_runs_without_a_value_come_last_in_either_direction(trained: list[Path], store: Path) -> None:
    annotate(trained[0], notes="b")
    annotate(trained[3], notes="a")
    rows = cache.run_rows(str(store))
    for arrow, first in (("↑", ["a", "b"]), ("↓", ["b", "a"])):
        ordered, _ = page._ordered(rows, f"Notes {arrow}")
        assert [row["notes"] for row in ordered] == [*first, "", "", ""]


def test_groups_are_means_over_runs_and_lead_to_them(trained: list[Path], store: Path, open_page: Open) -> None:
    annotate(trained[0], tags=["a", "b"])
    frame = pd.DataFrame(cache.run_rows(str(store)))
    table = groups.table(cache.run_rows(str(store)), "seed").set_index("value")
    expected = frame.groupby("seed")["val_auroc"].agg(["mean", "std", "size"])
    assert table["val_auroc"].tolist() == pytest.approx(expected["mean"].tolist())
    assert table["val_auroc_sd"].tolist() == pytest.approx(expected["std"].tolist(), nan_ok=True)
    assert table["runs"].tolist() == expected["size"].tolist() == [2, 2, 1]
    assert groups.table(cache.run_rows(str(store)), "tag")["value"].tolist() == ["a", "b", "–"]
    app = open_page("runs", {"runs.view": "By setting", "runs.group": "training.learning_rate"})
    assert app.dataframe[0].value["value"].tolist() == ["0.0001", "0.01"]


def test_metrics_of_several_validation_sets_are_not_averaged(trained: list[Path], store: Path, open_page: Open) -> None:
    rows = cache.run_rows(str(store))
    one = groups.table(rows, "state")
    assert (one["set"].tolist(), one["val_auprc_best"].tolist()) == ([""], [max(row["val_auprc"] for row in rows)])
    small = set_keys(open_run(trained[0]).config.copy(), {"data.budget": 12, "paths.outputs_root": str(store)})
    small = open_run(run_experiment(set_keys(small, {"paths.run_dir": None}))["run_dir"])
    table = groups.table(cache.run_rows(str(store)), "state")
    assert table[["value", "set", "runs"]].to_numpy().tolist() == [
        ["finished", "valid.csv", 5],
        ["finished", "valid.csv, budget 12", 1],
    ]
    expected = [np.mean([row["val_auprc"] for row in rows]), small.best()["val_metrics"]["auprc"]]
    assert table["val_auprc"].tolist() == pytest.approx(expected)
    text = query.write(
        functools.reduce(query.with_term, groups.terms("state", "finished", "valid.csv, budget 12")), run_fields()
    )
    app = open_page("runs", {"runs.filter": text})
    (name,) = app.dataframe[0].value["name"]
    assert name == "budget 12 · mlp"
    by_number = open_page("runs", {"runs.filter": 'val set = "valid.csv (2)"'})
    assert list(by_number.dataframe[0].value["name"]) == [name]
    assert run_fields().find("Val. set") is run_fields()["validation set"]


def test_a_recipe_has_the_interval_that_compare_gives(trained: list[Path], open_page: Open) -> None:
    for folder in trained:
        evaluate_run(folder, ["test.csv"])
    app = open_page("runs", {"runs.view": "By recipe", "intervals-of-recipes": True})
    assert not app.exception
    table = app.dataframe[0].value.set_index("n")["interval"]
    compared = compare_recipes(trained).metrics.query("metric == 'auprc' and finding == 'macro'").to_dict("records")
    by_seeds = {3: compared[0], 2: compared[1]}
    for seeds, row in by_seeds.items():
        assert table[seeds].startswith(format_interval(row["value"], [row["lo"], row["hi"]]))
    assert table[2].endswith("(no finding has 10 patients of each class)")


def test_many_runs_are_tagged_starred_deleted_and_restored(
    trained: list[Path], open_page: Open, store: Path, said: Said
) -> None:
    annotate(trained[0], tags=["old", "keep"])
    app = open_page("runs", query={"runs.filter": "learning_rate < 1e-3", "runs.all": "true"})
    app.session_state["bulk-tag-box"] = True
    app.multiselect(key="bulk-tags").set_value(["paper"])
    app.multiselect(key="bulk-untags").set_value(["old"]).run()
    app.button(key="bulk-tag").click().run()
    assert not app.exception
    tags = [open_run(folder).annotations().tags for folder in trained]
    assert tags == [["keep", "paper"], ["paper"], ["paper"], [], []]
    assert not app.session_state["bulk-tag-box"]  # its box closes, and is empty when it is next opened
    assert app.multiselect(key="bulk-tags").value == app.multiselect(key="bulk-untags").value == []
    app.button(key="bulk-star").click().run()
    assert [open_run(folder).annotations().pinned for folder in trained] == [True, True, True, False, False]
    app.button(key="bulk-delete").click().run()
    assert {run.run_id for run in RunStore(store).runs()} == {folder.name for folder in trained[3:]}
    assert "Deleted **3 runs**" in said(app)
    app.button(key="undo").click().run()
    assert not app.exception
    assert {run.run_id for run in RunStore(store).runs()} == {folder.name for folder in trained}
    assert shown(app) == 3


def test_a_run_that_refuses_is_named_and_the_others_are_done(
    trained: list[Path], open_page: Open, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = core_bulk.annotate

    def refuse(folder: Path, **changes: Any) -> Any:
        if folder == trained[2]:
            raise HeldError("annotations.json is open in another program")
        return real(folder, **changes)

    monkeypatch.setattr(core_bulk, "annotate", refuse)
    app = open_page("runs", query={"runs.all": "true"})
    app.button(key="bulk-star").click().run()
    assert not app.exception
    text = said(app)
    assert trained[2].name in text and "annotations.json is open in another program" in text
    assert [open_run(folder).annotations().pinned for folder in trained if folder != trained[2]] == [True] * 4


def test_the_zip_of_many_names_those_it_lacks(trained: list[Path]) -> None:
    (trained[1] / "config.yaml").unlink()
    with zipfile.ZipFile(io.BytesIO(bulk.zip_bytes(trained[:3]))) as archive:
        folders = {name.partition("/")[0] for name in archive.namelist()}
        text = archive.read("not_exported.txt").decode()
    assert folders == {trained[0].name, trained[2].name, "not_exported.txt"}
    assert trained[1].name in text and "config.yaml" in text


def test_many_runs_are_evaluated_on_test(trained: list[Path], open_page: Open) -> None:
    evaluate_run(trained[0], ["test.csv"])
    app = open_page("runs", query={"runs.filter": "seed < 2", "runs.all": "true"})
    app.button(key="bulk-evaluate").click().run()
    assert not app.exception
    assert [bool(open_run(folder).evaluations()) for folder in trained] == [True, True, False, True, True]


def test_a_view_is_saved_for_all_and_opened_again(trained: list[Path], open_page: Open, store: Path) -> None:
    app = open_page("runs", query={"runs.filter": "seed = 0", "runs.order": "Seed ↓", "runs.columns": ["Run", "Seed"]})
    app.text_input(key="runs-view-name").set_value("Table 2").run()
    app.button(key="view-save").click().run()
    assert not app.exception
    other = open_page("runs")
    assert shown(other) == 5
    other.button(key="view-Table 2").click().run()
    assert shown(other) == 2
    assert list(other.dataframe[0].value) == ["name", "seed"]
    assert other.selectbox(key="runs.order").value == "Seed ↓"
    other.button(key="view-delete-Table 2").click().run()
    assert read_views(store) == {}


def test_what_a_saved_view_asks_in_vain_is_said(trained: list[Path], open_page: Open, store: Path) -> None:
    save_view(
        store, "old", {"runs.filter": ["seed = 0"], "runs.order": ["Colour ↑"], "runs.columns": ["name", "colour"]}
    )
    app = open_page("runs")
    app.button(key="view-old").click().run()
    assert not app.exception
    assert shown(app) == 2
    assert "colour" in app.toast[0].value.lower()


def test_a_page_holds_so_many_runs_and_a_selection_reaches_over_pages(
    trained: list[Path], open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "PAGE", 2)
    order = [row["run_id"] for row in page._ordered(cache.run_rows(str(trained[0].parents[1])), "Best first")[0]]
    app = open_page("runs", query={"run": f"{order[0]},{order[4]}"})
    assert shown(app) == 2
    assert "**2 selected**" in [text.value for text in app.markdown]
    assert len(run_table.export_frame(pd.DataFrame(cache.run_rows(str(trained[0].parents[1]))))) == 5


def table_key(app: AppTest) -> str:
    return str(app.dataframe[0].proto.id.split("-", 2)[-1])


def ticked(app: AppTest) -> list[int]:
    """Return the rows that the table begins with as selected."""
    assert not app.exception
    return list(json.loads(app.dataframe[0].proto.selection_default)["selection"]["rows"])


def test_all_runs_are_ticked_in_the_table_and_one_can_be_left_out(
    trained: list[Path], open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "PAGE", 3)
    order = [row["run_id"] for row in page._ordered(cache.run_rows(str(trained[0].parents[1])), "Best first")[0]]
    app = open_page("runs", query={"run": order[1]})
    assert ticked(app) == [1]
    app.checkbox(key="runs.all").check().run()
    assert ticked(app) == [0, 1, 2]
    assert "**5 selected**" in [text.value for text in app.markdown]
    assert not app.query_params.get("run")
    app.session_state[table_key(app)] = {"selection": {"rows": [0, 2], "columns": [], "cells": []}}
    app.run()
    assert not app.exception
    assert not app.checkbox(key="runs.all").value
    assert "**4 selected**" in [text.value for text in app.markdown]
    assert app.session_state["runs.chosen"] == [order[3], order[4], order[0], order[2]]
    app.checkbox(key="runs.all").check().run()
    app.checkbox(key="runs.all").uncheck().run()
    assert ticked(app) == []
    assert "compare-selected" not in {button.key for button in app.button}


def test_the_address_names_the_page_until_another_list_is_shown(
    trained: list[Path], open_page: Open, monkeypatch: pytest.MonkeyPatch, said: Said
) -> None:
    monkeypatch.setattr(page, "PAGE", 2)
    assert shown(open_page("runs", query={"runs.page": "3"})) == 1
    app = open_page("runs", query={"runs.page": "2"})
    assert not app.exception
    app.text_input(key="runs.filter").set_value("learning_rate < 1e-3").run()
    assert not app.exception
    assert shown(app) == 2  # of three: the first page
    assert "runs.page=9 is unknown" in said(open_page("runs", query={"runs.page": "9"}))


@pytest.fixture
def doubled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the keys of widgets that get a default and a value at once, which Streamlit logs."""
    keys: list[str] = []
    original = policies.check_session_state_rules

    def check(default_value: Any, key: str | None, writes_allowed: bool = True) -> None:
        if key and default_value is not None and get_session_state().is_new_state_value(key):
            keys.append(key)
        original(default_value, key, writes_allowed)

    monkeypatch.setattr(policies, "check_session_state_rules", check)
    return keys


def test_the_runs_of_a_group_are_shown_without_a_warning_of_streamlit(
    trained: list[Path], open_page: Open, doubled: list[str]
) -> None:
    app = open_page("runs", query={"runs.view": "By setting", "runs.group": "seed"})
    values = tuple(app.dataframe[0].value["value"])
    app.session_state[f"groups-{hash(values) & 0xFFFFFFFF:x}"] = {
        "selection": {"rows": [1], "columns": [], "cells": []}
    }
    app.run()
    app.button(key="group-runs").click().run()
    assert not app.exception
    assert app.text_input(key="runs.filter").value == f"seed = {values[1]}"
    assert app.segmented_control(key="runs.view").value == "Runs"
    assert not doubled
    app.segmented_control(key="runs.view").set_value("By recipe").run()
    assert app.segmented_control(key="runs.view").value == "By recipe"


def test_a_saved_view_is_opened_without_a_warning_of_streamlit(
    trained: list[Path], open_page: Open, store: Path, doubled: list[str]
) -> None:
    save_view(store, "seeds", {"runs.view": ["By key"], "runs.group": ["seed"], "runs.columns": ["name", "auprc"]})
    app = open_page("runs")
    app.button(key="view-seeds").click().run()
    assert not app.exception
    assert app.segmented_control(key="runs.view").value == "By setting"  # as it is called since
    assert app.selectbox(key="runs.group").value == "seed"
    app.segmented_control(key="runs.view").set_value("Runs").run()
    assert list(app.dataframe[0].value) == ["auprc", "name"]
    assert not doubled
