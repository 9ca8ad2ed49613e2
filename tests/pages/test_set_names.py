"""Runs are ranked within one validation set, that of most runs first; sets are named only where there are several."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
from streamlit.testing.v1 import AppTest

from ctbench_core.config import Config
from ctbench_core.experiment import run_experiment
from ctbench_core.runs import set_ranks
from ctbench_ui.shared import run_table

SETS = ["set of 2024", "set of 2025", "set of 2025", "set of 2026"]
NAMES = ["valid.csv", "valid.csv (2)", "valid.csv (2)", "other.csv"]
CREATED = ["1", "2", "3", "4"]


def test_the_set_of_most_runs_comes_first_then_the_newest() -> None:
    assert set_ranks(SETS, CREATED) == [2, 0, 0, 1]


def test_a_single_set_has_no_name() -> None:
    assert run_table.where_several(NAMES) == NAMES
    assert run_table.where_several(NAMES[1:3]) == ["", ""]
    assert run_table.where_several([*NAMES[1:3], ""]) == ["", "", ""]  # a run that failed


def test_runs_are_ranked_within_their_set() -> None:
    cells = {"validation_set": SETS, "validation_name": NAMES, "created": CREATED, "val_auprc": [0.9, 0.2, 0.3, None]}
    best = run_table.best_first(pd.DataFrame(cells))
    assert best.index.tolist() == [2, 1, 0, 3]
    assert best["set"].tolist() == [NAMES[place] for place in best.index]


def test_an_order_within_each_set_is_said(
    make_config: Callable[..., Config],
    tiny_data: Path,
    open_page: Callable[..., AppTest],
    said: Callable[[AppTest], str],
) -> None:
    for changes in ({}, {"data.budget": 12}):
        run_experiment(make_config(tiny_data, changes))
    app = open_page("runs")
    assert "Best first within each validation set. Select one" in said(app)
    newest = open_page("runs", query={"runs.order": "Newest first"})
    assert not newest.exception
    assert "within each validation set" not in said(newest)
