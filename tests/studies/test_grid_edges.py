"""A best value on the edge of what was tried is said, unless the setting cannot go further."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ctbench_core.studies import Study, StudyPaths, edge_warnings, plan_study, read_plan, run_study, space_edges
from ctbench_core.studies.results import COLUMNS
from ctbench_core.studies.search import parse_space

MakeStudy = Callable[..., Study]


def results_of(paths: StudyPaths, score: Callable[[dict[str, str]], float]) -> pd.DataFrame:
    """Return a table of results whose validation AUPRC is a function of a run's labels."""
    rows = [(run.id, "validation", "", "auprc", score(run.labels)) for run in read_plan(paths).runs]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def test_the_best_value_of_a_numeric_axis_on_its_edge_is_said(make_study: MakeStudy) -> None:
    grid = {"training.learning_rate": [1e-4, 1e-3, 1e-2], "model": ["mlp_visual", "linear_probe"], "utils.seed": [1, 2]}
    paths = plan_study(make_study(grid))
    plan = read_plan(paths)
    rate = lambda labels: float(labels["training.learning_rate"])  # noqa: E731
    (text,) = edge_warnings(plan, results_of(paths, rate))
    assert text == (
        "training.learning_rate: the best value by validation AUPRC is the largest of its grid in 2 of 2 recipes. A "
        "better one may lie beyond: extend the grid."
    )
    inner = results_of(paths, lambda labels: -abs(rate(labels) - 1e-3))
    assert edge_warnings(plan, inner) == []
    one = results_of(
        paths, lambda labels: rate(labels) * (1 if labels["model"] == "mlp_visual" else -abs(rate(labels)))
    )
    (text,) = edge_warnings(plan, one)
    assert "the largest or smallest of its grid in 2 of 2" in text


def test_a_value_that_a_setting_cannot_exceed_is_no_edge(make_study: MakeStudy) -> None:
    paths = plan_study(make_study({"model.params.dropout": [0.0, 0.3], "utils.seed": [1]}))
    lower = results_of(paths, lambda labels: -float(labels["model.params.dropout"]))
    assert edge_warnings(read_plan(paths), lower) == []
    upper = results_of(paths, lambda labels: float(labels["model.params.dropout"]))
    assert len(edge_warnings(read_plan(paths), upper)) == 1


def test_budgets_seeds_and_names_have_no_edge(make_study: MakeStudy) -> None:
    grid = {"budget": [12, 24], "utils.seed": [1, 2], "model": ["mlp_visual", "linear_probe"]}
    paths = plan_study(make_study(grid))
    scored = results_of(paths, lambda labels: float(labels["budget"]) + float(labels["seed"]))
    assert edge_warnings(read_plan(paths), scored) == []


def test_the_summary_of_a_study_says_it(make_study: MakeStudy) -> None:
    study = make_study({"training.learning_rate": [1e-6, 3e-2], "utils.seed": [1, 2]})
    result = run_study(study, with_intervals=False)
    assert any(text.startswith("training.learning_rate: the best value") for text in result["warnings"])
    assert Path(result["study_dir"]).is_dir()


@pytest.mark.parametrize(
    ("values", "drawn", "side"),
    [
        ({"low": 1e-4, "high": 1e-2, "log": True}, 9.9e-3, "largest"),
        ({"low": 1e-4, "high": 1e-2, "log": True}, 1e-3, ""),
        ({"low": 1e-4, "high": 1e-2, "log": True}, 5e-3, ""),  # three quarters of the way on the log scale
        ({"low": 1e-4, "high": 1e-2}, 2e-4, "smallest"),
        ([1e-4, 1e-3, 1e-2], 1e-2, "largest"),
        ([1e-4, 1e-3, 1e-2], 1e-3, ""),
    ],
)
def test_the_best_trial_at_the_end_of_a_space(values: Any, drawn: float, side: str) -> None:
    texts = space_edges(parse_space({"training.learning_rate": values}), {"training.learning_rate": drawn})
    assert len(texts) == bool(side)
    assert all(f"{drawn:.4g}, at the {side} end" in text for text in texts)


def test_a_search_over_names_has_no_edge() -> None:
    space = parse_space({"model": ["mlp_visual", "linear_probe"], "depth": {"low": 0, "high": 2}})
    assert space_edges(space, {"model": "linear_probe", "depth": 0}) == []
    assert len(space_edges(space, {"model": "linear_probe", "depth": 2})) == 1
