"""The space of a search: for each config key (or depth and width) the values that trials may take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ctbench_core.config import KEYS
from ctbench_core.errors import ConfigError
from ctbench_core.studies.study import GROUP, axis_name, expanded

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

DEPTH, WIDTH = "depth", "width"  # together they spell model.params.hidden_dims; depth 0 is a linear probe
# What a search looks at unless told otherwise.
DEFAULT_SPACE: dict[str, Any] = {
    DEPTH: {"low": 0, "high": 2},
    WIDTH: [128, 256, 512, 1024],
    "model.params.dropout": {"low": 0.0, "high": 0.6},
    "training.learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
    "training.weight_decay": {"low": 1e-6, "high": 1e-2, "log": True},
    "training.loss._target_": ["torch.nn.BCEWithLogitsLoss", "focal"],
}
_RANGE = {"low", "high", "log", "step"}


@dataclass(frozen=True)
class Space:
    """What trials choose from, by parameter: a list of values, or low and high with log or step."""

    parameters: dict[str, Any]

    def distributions(self) -> dict[str, BaseDistribution]:
        """Return what Optuna draws from, by parameter."""
        return {name: _distribution(name, given) for name, given in self.parameters.items()}

    def changes(self, drawn: Mapping[str, Any]) -> dict[str, Any]:
        """Return the config keys that drawn parameters set."""
        values = {name: _value(self.parameters[name], drawn[name]) for name in self.parameters}
        changes = expanded({name: value for name, value in values.items() if name not in (DEPTH, WIDTH)})
        if DEPTH in values or WIDTH in values:
            changes["model.params.hidden_dims"] = [int(values.get(WIDTH, 1024))] * int(values.get(DEPTH, 1))
        return changes


def space_from(given: Mapping[str, Any] | None) -> Space:
    """Build a space from a mapping; without one, the default.

    Raises:
        ConfigError: a parameter is unknown or its values are none.
    """
    parameters = dict(given or DEFAULT_SPACE)
    for name, values in parameters.items():
        if name not in (DEPTH, WIDTH) and axis_name(name) != GROUP and name not in KEYS:
            raise ConfigError(f"Unknown parameter {name!r} of the space.")
        _distribution(name, values)
    return Space(parameters)


def _distribution(name: str, given: Any) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(given, Sequence) and not isinstance(given, str) and given:
        return CategoricalDistribution([_choice(value) for value in given])
    if not isinstance(given, Mapping) or not {"low", "high"} <= set(given) or set(given) - _RANGE:
        raise ConfigError(
            f"The space gives {name} as {given!r}; expected a list of values, or low and high (with log: true or step)."
        )
    low, high, step = (_number(name, given.get(part)) for part in ("low", "high", "step"))
    assert low is not None and high is not None
    try:
        whole = all(isinstance(number, int) for number in (low, high, step or 1))
        log = bool(given.get("log"))
        if whole and (name not in KEYS or KEYS[name].annotation is not float):
            return IntDistribution(int(low), int(high), log=log, step=int(step or 1))
        return FloatDistribution(float(low), float(high), log=log, step=step)
    except ValueError as error:
        raise ConfigError(f"The space of {name} cannot be drawn from: {error}") from error


def _number(name: str, value: Any) -> int | float | None:
    if value is None or (isinstance(value, (int, float)) and not isinstance(value, bool)):
        return value
    try:
        return float(value)  # YAML reads 1e-4 as text
    except (TypeError, ValueError):
        raise ConfigError(f"The space of {name} holds {value!r}; expected a number.") from None


def _choice(value: Any) -> Any:
    """Write a list as text: Optuna's choices are plain values."""
    return str(list(value)) if isinstance(value, (list, tuple)) else value


def _value(given: Any, drawn: Any) -> Any:
    """Return the value behind a choice that was written as text."""
    if isinstance(given, Mapping):
        return drawn
    return next((value for value in given if _choice(value) == drawn), drawn)
