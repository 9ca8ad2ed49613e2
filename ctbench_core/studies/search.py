"""A search: a base config, a space, and how many trials; validation alone judges, no test is opened.

MERGED: The space of a search: for each config key (or depth and width) the values that trials may take.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from ctbench_core.config import KEYS, Config, set_key
from ctbench_core.errors import ConfigError, unknown_name
from ctbench_core.studies.layout import StudyPaths, study_paths
from ctbench_core.studies.study import GROUP, Study, _flat, axis_name, expanded, slug

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


TRIALS, BATCH = 30, 3
_PARTS = ("name", "base", "space", "trials", "batch")


@dataclass(frozen=True)
class Search:
    """A named search.

    Attributes:
        base: config keys that every trial shares.
        space: as given; see `space`.
        batch: trials drawn together, before any of them has ended; those of one head shape train as one bank.
    """

    name: str = "search"
    base: dict[str, Any] = field(default_factory=dict)
    space: dict[str, Any] = field(default_factory=lambda: dict(DEFAULT_SPACE))
    trials: int = TRIALS
    batch: int = BATCH

    def config(self, drawn: Mapping[str, Any] | None = None) -> Config:
        """Return the config of drawn parameters; without any, the base alone."""
        config = Config()
        layers = [expanded(self.base), self.parsed_space().changes(drawn) if drawn else {}]
        for changes in layers:
            for key, value in changes.items():
                set_key(config, key, value)
        config.evaluation.after_training = False
        config.job_name = slug(self.name)
        return config

    def parsed_space(self) -> Space:
        """Return the space, checked."""
        return space_from(self.space)

    def paths(self) -> StudyPaths:
        """Return the search's folder."""
        return study_paths(self.config())

    def to_dict(self) -> dict[str, Any]:
        """Return the form that `search_from` reads."""
        return {name: getattr(self, name) for name in _PARTS}

    def again(self, drawn: Mapping[str, Any], seeds: int = 5) -> Study:
        """Return the study that trains drawn parameters on fresh seeds, its tests opened: winners flatter themselves."""
        base = {**expanded(self.base), **self.parsed_space().changes(drawn)}
        first = int(base.pop("utils.seed", Config().utils.seed)) + 1
        base.pop("evaluation.after_training", None)
        return Study(f"{self.name} best again", base, {"utils.seed": list(range(first, first + seeds))})

    def stability(self, ranked: list[Mapping[str, Any]], seeds: int = 3) -> Study:
        """Return the study that trains the best parameters on fresh seeds, tests closed: does their order hold?"""
        base = {**expanded(self.base), "evaluation.after_training": False}
        first = int(base.pop("utils.seed", Config().utils.seed)) + 1
        ranks = {str(rank): self.parsed_space().changes(drawn) for rank, drawn in enumerate(ranked, start=1)}
        grid = {"training.learning_rate": ranks, "utils.seed": list(range(first, first + seeds))}
        return Study(f"{self.name} top {len(ranked)} again", base, grid)


def search_from(content: Mapping[str, Any]) -> Search:
    """Build a search from its YAML content.

    Raises:
        ConfigError: a part is unknown or of the wrong kind.
    """
    for part in content:
        if part not in _PARTS:
            raise unknown_name("part of a search", str(part), _PARTS)
    base, space = content.get("base") or {}, content.get("space") or dict(DEFAULT_SPACE)
    if not isinstance(base, Mapping) or not isinstance(space, Mapping):
        raise ConfigError("base and space of a search are mappings of config keys.")
    name = str(content.get("name") or "search")
    search = Search(
        name,
        {str(key): value for key, value in _flat(base)},
        {str(key): value for key, value in space.items()},
        _count("trials", content.get("trials", TRIALS)),
        _count("batch", content.get("batch", BATCH)),
    )
    search.parsed_space()
    search.config()
    return search


def _count(name: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigError(f"{name} is {value!r}; expected a number from 1.")
    return value


def read_search(path: Path | str) -> Search:
    """Read a search from a YAML file.

    Raises:
        ConfigError: the file is missing or holds no search.
    """
    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"Search {path} cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(content, Mapping):
        raise ConfigError(f"Search {path} holds no mapping. It needs base, space and trials.")
    return search_from({"name": path.stem, **content})
