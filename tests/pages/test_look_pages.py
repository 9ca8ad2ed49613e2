"""Evaluate, Alignment, Runs and Home: figures on the page are those of the files, and a test set opens on request only."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from ctbench_core.jobs import get_runner
from ctbench_core.runs import open_run

Open = Callable[..., AppTest]
Said = Callable[[AppTest], str]


@pytest.fixture
def trained(small_run: dict[str, Any], open_page: Open, train: Callable[[AppTest], Path]) -> Path:
    """Return the directory of a finished run."""
    return train(open_page("train", small_run))


def _evaluated(open_page: Open, run: Path) -> AppTest:
    app = open_page("evaluate", query={"run": run.name})
    app.button(key="evaluate").click().run()
    assert not app.exception
    return app


def _cards(app: AppTest) -> dict[str, str]:
    return {metric.label: metric.value for metric in app.metric}


def test_looking_at_a_run_opens_no_test_set(trained: Path, open_page: Open, store: Path) -> None:
    app = open_page("evaluate", query={"run": trained.name})
    assert not app.exception
    assert not (store / "evaluations.jsonl").exists()
    assert not app.metric


def test_an_opened_test_set_shows_the_stored_figures(trained: Path, open_page: Open, store: Path) -> None:
    app = _evaluated(open_page, trained)
    assert len((store / "evaluations.jsonl").read_text().splitlines()) == 1
    folder = trained / "evaluation" / "test"
    metrics = json.loads((folder / "metrics.json").read_text())
    cards = _cards(app)
    assert float(cards["Macro AUPRC"]) == pytest.approx(metrics["auprc"], abs=5e-4)
    assert float(cards["Macro AUROC"]) == pytest.approx(metrics["auroc"], abs=5e-4)
    shown = app.dataframe[0].value.set_index("finding")
    stored = pd.read_csv(folder / "per_class.csv").set_index("finding")
    for name in ("auprc", "auroc", "precision", "recall", "f1", "support", "prevalence"):
        pd.testing.assert_series_equal(shown[name], stored[name])


def test_the_curves_are_the_stored_ones(trained: Path, open_page: Open, labels: list[str]) -> None:
    app = _evaluated(open_page, trained)
    app.session_state["evaluate-tabs"] = "Curves"
    app.run()
    assert not app.exception
    charts = [json.loads(chart.proto.spec) for chart in app.get("plotly_chart")]
    names = {trace.get("name", "").rsplit(" ", 1)[0] for chart in charts for trace in chart["data"]}
    assert set(labels) <= names


def test_the_volumes_are_sorted_by_how_wrong(trained: Path, open_page: Open) -> None:
    app = _evaluated(open_page, trained)
    app.session_state["evaluate-tabs"] = "Volumes"
    app.run()
    assert not app.exception
    errors = app.dataframe[0].value["error"].astype(float)
    assert errors.is_monotonic_decreasing
    assert len(errors) == 24


def test_figures_of_a_leaking_test_set_carry_a_mark(
    small_run: dict[str, Any],
    data: Path,
    rewrite: Callable[..., None],
    open_page: Open,
    train: Callable[[AppTest], Path],
    said: Said,
) -> None:
    rewrite(data / "manifests" / "test.csv", lambda rows: rows[1].__setitem__(0, "train_3_a_1"))
    run = train(open_page("train", small_run))
    assert open_run(run).status.state == "finished"
    app = _evaluated(open_page, run)
    assert "leak: 1 patient]" in said(app)
    listed = open_page("runs").dataframe[0].value
    assert "⚠" in listed.loc[0, "test"]


def test_a_missing_test_manifest_is_named(trained: Path, data: Path, open_page: Open, said: Said) -> None:
    app = open_page("evaluate", query={"run": trained.name})
    (data / "manifests" / "test.csv").unlink()
    app.button(key="evaluate").click().run()
    assert not app.exception
    assert "test.csv does not exist" in said(app)


def test_alignment_shows_the_stored_figures(places: dict[str, str], open_page: Open, store: Path) -> None:
    app = open_page("alignment", places)
    app.button(key="measure").click().run()
    assert not app.exception
    (path,) = store.glob("align/*/alignment/test/metrics.json")
    metrics = json.loads(path.read_text())
    assert app.metric[0].label == "Recall@1"
    assert float(app.metric[0].value) == pytest.approx(metrics["v_to_t_recall_at_1"], abs=5e-4)
    assert float(app.metric[4].value) == pytest.approx(metrics["t_to_v_recall_at_1"], abs=5e-4)
    assert len(app.get("plotly_chart")) == 2


def test_alignment_without_reports_names_the_column(
    places: dict[str, str], data: Path, rewrite: Callable[..., None], open_page: Open, said: Said, store: Path
) -> None:
    rewrite(data / "manifests" / "test.csv", lambda rows: rows[0].__setitem__(2, "note_path"))
    app = open_page("alignment", places)
    app.button(key="measure").click().run()
    assert not app.exception
    assert "text_feature_path" in said(app)
    assert not list(store.glob("align/*"))


def test_runs_can_be_filtered(trained: Path, open_page: Open) -> None:
    app = open_page("runs")
    assert len(app.dataframe[0].value) == 1
    app.text_input(key="runs.filter").set_value("no such run").run()
    assert not app.exception
    assert app.dataframe[0].value.empty


def test_home_lists_the_runs(trained: Path, open_page: Open) -> None:
    app = open_page("home")
    assert not app.exception
    assert app.dataframe[0].value.loc[0, "AUPRC"] == open_run(trained).best()["val_metrics"]["auprc"]


def _select_first(app: AppTest, run: Path) -> AppTest:
    app.session_state[f"runs-{abs(hash((run.name,)))}"] = {"selection": {"rows": [0], "columns": [], "cells": []}}
    return app.run()


def test_a_selected_run_shows_its_settings_and_can_be_cloned(trained: Path, open_page: Open) -> None:
    app = _select_first(open_page("runs"), trained)
    assert not app.exception
    settings = app.dataframe[1].value.set_index("key")["value"]
    assert settings["model.params.hidden_dims"] == "[8]"
    assert "training.monitor" not in settings
    app.session_state["training.max_epochs"] = 99
    app.button(key="card-clone").click().run()
    assert app.title[0].value == "Train"
    assert app.number_input(key="training.max_epochs").value == 3


def test_an_interrupted_run_can_be_resumed_from_its_card(
    small_run: dict[str, Any], open_page: Open, store: Path
) -> None:
    app = open_page("train", small_run | {"training.max_epochs": 100_000, "training.early_stopping_patience": 100_000})
    app.button(key="start").click().run()
    (run,) = (status.parent for status in store.glob("train/*/status.json"))
    app.button(key="stop").click().run()
    assert get_runner().wait(run, 30)
    assert open_run(run).status.state == "cancelled"
    app = _select_first(open_page("runs"), run)
    app.button(key="card-resume").click().run()
    assert not app.exception
    assert get_runner().cancel(run)
    assert get_runner().wait(run, 30)
