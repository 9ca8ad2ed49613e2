"""A recipe ignores the seed and where files are, and nothing that changes a result."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ctbench_core.config import Config
from ctbench_core.runs import recipe_of


@pytest.mark.parametrize(
    "change",
    [
        {"utils.seed": 9},
        {"data.kfold.fold": 1},
        {"paths.outputs_root": "elsewhere"},
        {"paths.run_dir": "here"},
        {"logging.run_name": "mine"},
        {"evaluation.after_training": True},
        {"data.test_manifests": ["other.csv"]},
    ],
)
def test_repeats_share_a_recipe(change: dict[str, Any], make_config: Callable[..., Config], tiny_data: Path) -> None:
    assert recipe_of(make_config(tiny_data, change)) == recipe_of(make_config(tiny_data))


@pytest.mark.parametrize(
    "change",
    [
        {"training.learning_rate": 0.5},
        {"model.params.hidden_dims": [4]},
        {"paths.data_root": "elsewhere"},
        {"data.train_manifest": "other.csv"},
        {"training.target_labels": ["Lung nodule"]},
        {"data.standardise": "zscore"},
        {"data.kfold.folds": 5},
    ],
)
def test_what_changes_the_result_changes_the_recipe(
    change: dict[str, Any], make_config: Callable[..., Config], tiny_data: Path
) -> None:
    assert recipe_of(make_config(tiny_data, change)) != recipe_of(make_config(tiny_data))
