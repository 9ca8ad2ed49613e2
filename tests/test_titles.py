"""Settings are written in words: by the label of their key, and the title of a registered value."""

from __future__ import annotations

from typing import Any

import pytest

from ctbench_core.config import differing_settings, key_title, setting_text, setting_texts


@pytest.mark.parametrize(
    ("key", "title"),
    [
        ("training.learning_rate", "Learning rate"),
        ("model.params.hidden_dims", "Hidden widths"),
        ("training.loss._target_", "Loss"),
        ("model._target_", "Head"),
        ("encoder", "Encoder"),
        ("budget_unit", "Budget unit"),
        ("other.part._target_", "Part"),
    ],
)
def test_a_key_has_the_title_of_its_field(key: str, title: str) -> None:
    assert key_title(key) == title


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("training.learning_rate", 0.01, "lr 0.01"),
        ("model._target_", "linear", "Linear"),
        ("model.params.hidden_dims", [8, 4], "widths 8-4"),
        ("model.params.hidden_dims", [], "hidden widths none"),
        ("paths.data_root", "/far/away/encoder", "encoder"),
        ("data.budget", None, "budget all"),
        ("data.standardise", "none", "scaling none"),
        ("training.weight_decay", 0.000123456, "weight decay 0.000123"),
        ("data.standardise", "zscore", "zscore"),
        ("data.auto_split.enabled", True, "split training yes"),
    ],
)
def test_a_setting_is_written_with_the_words_of_the_form(key: str, value: Any, text: str) -> None:
    assert setting_text(key, value) == text


def test_configs_are_told_apart_by_no_more_settings_than_needed() -> None:
    settings = [{"data.budget": budget, "training.learning_rate": 0.1, "utils.seed": 1} for budget in (20, 40)]
    assert differing_settings(settings) == ["budget 20", "budget 40"]


@pytest.mark.parametrize(
    ("key", "values", "texts"),
    [
        ("training.learning_rate", [0.0012345, 0.0012349, 0.01], ["lr 0.001234", "lr 0.001235", "lr 0.01"]),
        ("training.learning_rate", [0.0012345, 0.00125, 0.0012345], ["lr 0.00123", "lr 0.00125", "lr 0.00123"]),
        ("paths.data_root", ["/a/features", "/b/features"], ["/a/features", "/b/features"]),
    ],
)
def test_values_of_one_setting_are_as_short_as_tells_them_apart(key: str, values: list[Any], texts: list[str]) -> None:
    assert setting_texts(key, values) == texts
