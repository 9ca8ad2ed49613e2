"""Which settings have an effect: parameters of the head and loss at hand, and keys whose companion is set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ctbench_core.config.keys import KEYS, resolved
from ctbench_core.declared import HEADS, LOSSES

_HEAD, _LOSS = "model._target_", "training.loss._target_"
_WIDTHS, _INPUTS = "model.params.hidden_dims", "model.inputs"
_GATE, _DROPOUT, _WEIGHT = "model.params.gate", "model.params.dropout", "training.loss.pos_weight"
_FITTED = ("training.monitor", "training.precision", "training.target_labels")  # what a head that is fitted whole uses


def has_effect(settings: Mapping[str, Any], name: str) -> bool:
    """Whether a key changes anything beside the other settings of a run.

    Args:
        settings: values by config key; a key that it lacks has its default.
    """
    if (companion := KEYS[name].only_with) and _value(settings, companion) is None:
        return False
    if name.startswith("training.loss.") and name not in (_LOSS, _WEIGHT) and not _is_of_loss(settings, name):
        return False
    return _is_of_head(settings, name)


def effective_settings(changed: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of `changed_keys` that count for a run's identity and have an effect, in the order of the keys."""
    resolved_values = {
        name: resolved(KEYS[name], value)
        for name, value in changed.items()
        if name in KEYS and KEYS[name].counts_for("identity") and has_effect(changed, name)
    }
    return {name: value for name, value in resolved_values.items() if value != default_of(name)}


def default_of(name: str) -> Any:
    """Return the default of a key, a registered one under its registered name."""
    return resolved(KEYS[name], KEYS[name].default)


def _value(settings: Mapping[str, Any], name: str) -> Any:
    return settings.get(name, KEYS[name].default)


def _is_of_loss(settings: Mapping[str, Any], name: str) -> bool:
    loss = LOSSES.get(LOSSES.canonical(_value(settings, _LOSS)))
    return loss is None or name.rpartition(".")[2] in loss.parameters


def _is_of_head(settings: Mapping[str, Any], name: str) -> bool:
    head = HEADS.get(HEADS.canonical(_value(settings, _HEAD)))
    if head is None or name in (_HEAD, _INPUTS):
        return True
    if name == _GATE:
        return bool(_value(settings, _INPUTS) == "gated")
    if name in head.own_keys:
        is_linear = _WIDTHS in head.own_keys and not _value(settings, _WIDTHS)
        return not (is_linear and name == _DROPOUT)
    if name.startswith("model."):
        return False
    return head.stepwise or not name.startswith("training.") or name in _FITTED
