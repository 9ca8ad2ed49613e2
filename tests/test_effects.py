"""A setting has an effect where the head, the loss and its companion use it."""

from __future__ import annotations

from typing import Any

import pytest

from ctbench_core.config import KEYS, effective_settings, has_effect

LINEAR, LOGISTIC = {"model._target_": "linear_probe"}, {"model._target_": "logistic"}
WIDTHS, DROPOUT, GAMMA = "model.params.hidden_dims", "model.params.dropout", "training.loss.gamma"


@pytest.mark.parametrize(
    ("settings", "name", "expected"),
    [
        ({}, WIDTHS, True),
        ({}, DROPOUT, True),
        ({WIDTHS: []}, DROPOUT, False),
        ({WIDTHS: []}, WIDTHS, True),
        (LINEAR, WIDTHS, False),
        (LINEAR, DROPOUT, False),
        (LINEAR, "training.learning_rate", True),
        (LOGISTIC, "training.learning_rate", False),
        (LOGISTIC, "training.monitor", True),
        (LOGISTIC, "model.params.c", True),
        (LINEAR, "model.params.c", False),
        (LINEAR, "data.budget", True),
        ({}, "model.params.gate", False),
        ({"model.inputs": "gated"}, "model.params.gate", True),
        ({}, GAMMA, False),
        ({"training.loss._target_": "focal"}, GAMMA, True),
        ({"training.loss._target_": "focal"}, "training.loss.smoothing", False),
        ({}, "data.budget_draw", False),
        ({"data.budget": 40}, "data.budget_draw", True),
    ],
)
def test_which_settings_have_an_effect(settings: dict[str, Any], name: str, expected: bool) -> None:
    assert has_effect(settings, name) is expected


def test_an_unknown_head_uses_every_setting() -> None:
    assert all(has_effect({"model._target_": "lab.Head"}, name) for name in KEYS if name.startswith("model."))


def test_effective_settings_are_resolved_and_without_defaults() -> None:
    changed = {"training.loss._target_": "bce", "model._target_": "linear_probe", WIDTHS: [8], "job_name": "mine"}
    assert effective_settings(changed | {"data.budget": 40}) == {"model._target_": "linear", "data.budget": 40}
