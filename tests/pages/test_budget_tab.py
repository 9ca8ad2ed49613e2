"""The Data page writes budget and K-fold manifests, and repeats one draw for another label source."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

Open = Callable[..., AppTest]
Said = Callable[[AppTest], str]


@pytest.fixture
def tab(open_page: Open, places: dict[str, str]) -> AppTest:
    return open_page("data", {**places, "data.tab": "Budget files"})


def write(app: AppTest, **fields: str) -> AppTest:
    for name, value in fields.items():
        app.text_input(key=f"budget-files.{name}").set_value(value)
    app.button(key="write-budgets").click().run()
    assert not app.exception
    return app


def test_budgets_are_written_and_drawn_again_for_another_source(tab: AppTest, data: Path) -> None:
    app = write(tab, budgets="8, 16", seeds="1 2")
    assert not app.error
    folder = data / "manifests" / "budget_splits"
    index = app.dataframe[0].value
    pd.testing.assert_frame_equal(
        index, pd.read_csv(folder / "manifest_index.csv", keep_default_na=False), check_dtype=False
    )
    headings = {
        name: one["label"] for name, one in json.loads(app.dataframe[0].proto.columns).items() if "label" in one
    }
    titles = [headings[name] for name in app.dataframe[0].proto.column_order]
    assert titles[:6] == ["Budget", "Seed", "Unit", "Patients", "Training rows", "Validation rows"]
    assert titles[6:] == ["Training manifest", "Validation manifest"]
    assert list(zip(index["budget"], index["seed"])) == [(8, 1), (16, 1), (8, 2), (16, 2)]
    drawn = {name: set(pd.read_csv(folder / name)["volumename"]) for name in index["train_manifest"]}
    assert drawn["train_n8_s2.csv"] < drawn["train_n16_s2.csv"]
    app.button(key="budget-same").click().run()
    assert app.text_input(key="budget-files.selection").value == str(folder / "selection_index.csv")
    other = Path(shutil.copytree(data / "manifests", data / "gpt"))
    app.session_state["paths.manifest_dir"] = str(other)
    app = write(app, folder=str(data / "gpt_splits"), budgets="16", seeds="2")
    assert not app.error
    assert set(pd.read_csv(data / "gpt_splits" / "train_n16_s2.csv")["volumename"]) == drawn["train_n16_s2.csv"]


def test_folds_are_held_out_and_a_large_budget_takes_all(tab: AppTest, data: Path, said: Said) -> None:
    tab.number_input(key="budget-files.folds").set_value(3)
    app = write(tab, budgets="8, 1000", seeds="52", prefix="manual_kfold", folder=str(data / "folds"))
    index = app.dataframe[0].value
    assert list(index["fold"]) == [1, 1, 2, 2, 3, 3]
    assert {"fold", "test_rows", "test_manifest"} <= set(app.dataframe[0].proto.column_order)
    assert "Budget 1000: only" in said(app)
    tests = [set(pd.read_csv(data / "folds" / f"manual_kfold_f{fold}_test.csv")["volumename"]) for fold in (1, 2, 3)]
    assert sum(map(len, tests)) == len(set().union(*tests)) == 88
    assert "budget-same" not in {button.key for button in app.button}  # the selection of a fold is its own test


@pytest.mark.parametrize(
    ("fields", "answer"),
    [
        ({"budgets": "few"}, "whole numbers separated by commas"),
        ({"budgets": ""}, "at least one budget"),
        ({"budgets": "1"}, "Budget 1 is not possible"),
        ({"selection": "nowhere.csv"}, "nowhere.csv"),
    ],
)
def test_an_invalid_field_is_shown_and_nothing_is_written(
    tab: AppTest, data: Path, said: Said, fields: dict[str, str], answer: str
) -> None:
    app = write(tab, **fields)
    assert answer in said(app)
    assert not (data / "manifests" / "budget_splits").exists()
