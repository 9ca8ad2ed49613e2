"""Axes and values of a study have the names that people use."""

from __future__ import annotations

import pytest

from ctbench_core.studies import axis_title, cell_title, label_title, titled_sentences


@pytest.mark.parametrize(
    ("axis", "title"),
    [
        ("model", "Head"),
        ("source", "Label source"),
        ("budget", "Budget"),
        ("encoder", "Encoder"),
        ("training.learning_rate", "Learning rate"),
        ("training.loss._target_", "Loss"),
    ],
)
def test_an_axis_has_a_title(axis: str, title: str) -> None:
    assert axis_title(axis) == title


@pytest.mark.parametrize(
    ("axis", "label", "title"),
    [
        ("model", "mlp_visual", "MLP"),
        ("model", "linear_probe", "Linear"),
        ("model", "of_a_plugin_that_is_gone", "of_a_plugin_that_is_gone"),
        ("budget", "all", "all"),
        ("encoder", "ct_clip", "ct_clip"),
        ("training.learning_rate", "0.01", "0.01"),
        ("training.monitor", "f1_macro", "F1"),
    ],
)
def test_a_value_has_the_title_of_what_is_registered(axis: str, label: str, title: str) -> None:
    assert label_title(axis, label) == title


def test_a_cell_names_the_settings_that_their_value_does_not_say() -> None:
    labels = {"budget": "20", "model": "mlp_visual", "model.params.dropout": "0.2"}
    assert cell_title(labels) == "20 · MLP · dropout 0.2"
    assert cell_title({}) == ""


def test_sentences_begin_with_the_title_of_their_axis() -> None:
    assert titled_sentences(["training.learning_rate: the best: a"]) == ["Learning rate: the best: a"]
