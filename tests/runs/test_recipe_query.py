"""The query of a recipe matches its runs and no others, by as few settings as do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ctbench_core import query
from ctbench_core.config import Config, set_keys
from ctbench_core.runs import (
    new_status,
    open_run,
    recipe_query,
    run_fields,
    run_row,
    text_of,
    write_config,
    write_status,
)

LINEAR = {"model._target_": "linear", "model.model_name": "linear"}
MLP = {"model._target_": "mlp", "model.model_name": "mlp"}


def row(folder: Path, keys: dict[str, Any]) -> dict[str, Any]:
    write_config(folder / "config.yaml", set_keys(Config(), keys))
    write_status(folder / "status.json", new_status("same"), state="finished")
    return run_row(open_run(folder))


def rows_of(folder: Path, *recipes: dict[str, Any]) -> list[dict[str, Any]]:
    """Return two seeds of each recipe."""
    configs = [{**keys, "utils.seed": seed} for keys in recipes for seed in (1, 2)]
    return [row(folder / "train" / str(number), keys) for number, keys in enumerate(configs)]


def written(rows: list[dict[str, Any]]) -> list[str]:
    """Return the query of each recipe, which is checked to match its runs and no others."""
    texts = []
    for recipe in dict.fromkeys(one["recipe"] for one in rows):
        texts.append(query.write(recipe_query(rows, recipe), run_fields()))
        matching = query.matches(query.parse(texts[-1], run_fields()), rows, run_fields(), text_of)
        assert matching == [one["recipe"] == recipe for one in rows]
    return texts


def test_a_query_knows_the_words_of_names_and_titles(tmp_path: Path) -> None:
    keys = {"training.learning_rate": 0.01, "data.standardise": "zscore", "training.batch_size": 32}
    rows = [row(tmp_path / "train" / "1", MLP | keys), row(tmp_path / "train" / "2", MLP)]
    for text in ("lr = 0.01", "learning rate > .005", "batch = 32", "Scaling = zscore"):
        matching = query.matches(query.parse(text, run_fields()), rows, run_fields(), text_of)
        assert matching == [True, False], text


def test_a_word_that_several_keys_have_stands_for_none_of_them() -> None:
    assert run_fields().find("precision") is None  # of training and of analyses
    assert run_fields()["epochs"].name == run_fields().find("epochs").name == "epochs"  # those that were run
    assert run_fields().find("seed").name == "seed"


@pytest.mark.parametrize(
    ("recipes", "texts"),
    [
        ([LINEAR], [""]),
        ([LINEAR, MLP | {"training.learning_rate": 0.01}], ["head = linear", 'head = "mlp 1024"']),
        ([LINEAR, LINEAR | {"data.budget": 20}], ["budget = all", "budget = 20"]),
        ([LINEAR, LINEAR | {"data.auto_split.enabled": True}], None),
        ([LINEAR, LINEAR | {"training.target_labels": ["A", "B"]}, LINEAR | {"training.target_labels": ["A"]}], None),
        ([LINEAR, LINEAR | {"data.selection": "a \"b\" 'c'"}], None),
        ([LINEAR, LINEAR | {"training.learning_rate": 1e-5}, MLP, MLP | {"training.learning_rate": 1e-5}], None),
    ],
)
def test_a_query_matches_the_runs_of_its_recipe_alone(
    tmp_path: Path, recipes: list[dict[str, Any]], texts: list[str] | None
) -> None:
    queries = written(rows_of(tmp_path, *recipes))
    assert texts is None or queries == texts
