"""A validation set has the same short name in every list; runs are ranked within one set, that of most runs first."""

from __future__ import annotations

import re

import pandas as pd

from ctbench_ui.shared import run_table

SETS = ["set of 2024", "set of 2025", "set of 2025", "set of 2026"]
CREATED = ["1", "2", "3", "4"]


def test_the_name_of_a_set_lasts_whatever_else_is_listed() -> None:
    ranks, names = run_table.set_names(SETS, CREATED)
    assert ranks == [2, 0, 0, 1]  # most runs first, then the newest
    assert all(re.fullmatch("[0-9a-f]{4}", name) for name in names)
    assert len(set(names)) == 3
    _, fewer = run_table.set_names(SETS[:2], CREATED[:2])
    assert fewer == names[:2]
    _, turned = run_table.set_names(SETS[::-1], CREATED)
    assert turned == names[::-1]


def test_a_single_set_has_no_name() -> None:
    assert run_table.set_names(SETS[1:3], CREATED[1:3]) == ([0, 0], ["", ""])
    assert run_table.set_names([*SETS[1:3], ""], CREATED[:3]) == ([0, 0, 1], ["", "", ""])  # a run that failed


def test_a_run_without_a_validation_set_has_no_name_of_one() -> None:
    assert run_table.set_names([*SETS, ""], [*CREATED, "5"])[1][-1] == ""


def test_runs_are_ranked_within_their_set() -> None:
    rows = pd.DataFrame({"validation_set": SETS, "created": CREATED, "val_auprc": [0.9, 0.2, 0.3, None]})
    best = run_table.best_first(rows)
    assert best.index.tolist() == [2, 1, 3, 0]
    assert best["set"].iloc[0] == best["set"].iloc[1] != best["set"].iloc[3]
