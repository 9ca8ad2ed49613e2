"""Define a search: a base config, the space that trials draw from, and the number of trials.

Trials are compared on validation alone; no test set is evaluated. The best trials can be trained again on fresh seeds:
as studies of their own, to estimate how good the winner is and whether the order of the best holds.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ctbench_core.config import KEYS, Config, flatten, set_keys
from ctbench_core.errors import ConfigError, InputError
from ctbench_core.runs import VALIDATION
from ctbench_core.schema import parse_options
from ctbench_core.studies.layout import StudyPaths, study_paths
from ctbench_core.studies.plan import Plan, read_plan
from ctbench_core.studies.results import read_results
from ctbench_core.studies.study import (
    AXES,
    GROUP,
    Study,
    axis_name,
    expand_keys,
    read_definition,
    require_identity_key,
    slug,
)

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

DEPTH, WIDTH = "depth", "width"  # together they make model.params.hidden_dims; depth 0 is a linear probe
DEFAULT_SPACE: dict[str, Any] = {
    DEPTH: {"low": 0, "high": 2},
    WIDTH: [128, 256, 512, 1024],
    "model.params.dropout": {"low": 0.0, "high": 0.6},
    "training.learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
    "training.weight_decay": {"low": 1e-6, "high": 1e-2, "log": True},
    "training.loss._target_": ["torch.nn.BCEWithLogitsLoss", "focal"],
}
_RANGE = {"low", "high", "log", "step"}
TRIALS, BATCH = 30, 3
TOP = 5
_COUNT = {"bounds": {"low": 1}}


@dataclass(frozen=True)
class Space:
    """The values of each parameter: a list, or low and high with log or step."""

    parameters: dict[str, Any]

    def distributions(self) -> dict[str, BaseDistribution]:
        """Return the Optuna distribution of each parameter."""
        return {name: _distribution(name, values) for name, values in self.parameters.items()}

    def changes(self, drawn: Mapping[str, Any]) -> dict[str, Any]:
        """Return the config keys that drawn parameters set."""
        values = {name: _value(self.parameters[name], drawn[name]) for name in self.parameters}
        changes = expand_keys({name: value for name, value in values.items() if name not in (DEPTH, WIDTH)})
        if DEPTH in values or WIDTH in values:
            changes["model.params.hidden_dims"] = [int(values.get(WIDTH, 1024))] * int(values.get(DEPTH, 1))
        return changes


def parse_space(content: Mapping[str, Any] | None) -> Space:
    """Build a space from a mapping; without one, the default.

    Raises:
        ConfigError: a parameter is unknown, or its values are not a list or a range.
    """
    parameters = dict(content or DEFAULT_SPACE)
    for name, values in parameters.items():
        if name not in (DEPTH, WIDTH) and axis_name(name) != GROUP and name not in KEYS:
            raise ConfigError(f"Unknown parameter {name!r} of the space. Use depth, width, model or a config key.")
        require_identity_key(name)
        _distribution(name, values)
    return Space(parameters)


def _distribution(name: str, values: Any) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(values, Sequence) and not isinstance(values, str) and values:
        return CategoricalDistribution([_choice(value) for value in values])
    if not isinstance(values, Mapping) or not {"low", "high"} <= set(values) or set(values) - _RANGE:
        raise ConfigError(
            f"{name} of the space is {values!r}; expected a list of values, or low and high (with log: true or step)."
        )
    low, high = (_number(name, values[part]) for part in ("low", "high"))
    step = None if values.get("step") is None else _number(name, values["step"])
    try:
        whole = all(isinstance(number, int) for number in (low, high, step or 1))
        log = bool(values.get("log"))
        if whole and (name not in KEYS or KEYS[name].annotation is not float):
            return IntDistribution(int(low), int(high), log=log, step=int(step or 1))
        return FloatDistribution(float(low), float(high), log=log, step=step)
    except ValueError as error:
        raise ConfigError(f"{name} of the space is not a range to draw from: {error}") from error


def _number(name: str, value: Any) -> int | float:
    with contextlib.suppress(TypeError, ValueError, OverflowError):
        if not isinstance(value, bool) and math.isfinite(number := float(value)):  # YAML reads 1e-4 as text
            return value if isinstance(value, int) else number
    raise ConfigError(f"{name} of the space holds {str(value)[:40]}; expected a number.")


def _choice(value: Any) -> Any:
    """Return a value as Optuna takes it: lists as text."""
    return str(list(value)) if isinstance(value, (list, tuple)) else value


def _value(values: Any, drawn: Any) -> Any:
    """Return the value that `_choice` made from one of a parameter's values."""
    if isinstance(values, Mapping):
        return drawn
    return next((value for value in values if _choice(value) == drawn), drawn)


@dataclass(frozen=True)
class Search:
    """A named search.

    Attributes:
        base: config keys that every trial shares.
        space: values by parameter; see `Space`.
        batch: trials drawn together, before any of them has ended; those of one head shape train as one bank.
        defaults: of all keys that count for a run's identity, as they were when the search was planned.
    """

    name: str = "search"
    base: dict[str, Any] = field(default_factory=dict)
    space: dict[str, Any] = field(default_factory=lambda: dict(DEFAULT_SPACE))
    trials: int = field(default=TRIALS, metadata=_COUNT)
    batch: int = field(default=BATCH, metadata=_COUNT)
    defaults: dict[str, Any] = field(default_factory=dict)

    def config(self, drawn: Mapping[str, Any] | None = None) -> Config:
        """Return the config of drawn parameters; without them, the base alone."""
        config = set_keys(Config(), self.defaults)
        set_keys(config, expand_keys(self.base))
        set_keys(config, self.parsed_space().changes(drawn) if drawn else {})
        config.evaluation.after_training = False
        config.job_name = slug(self.name)
        return config

    def parsed_space(self) -> Space:
        """Return the space, checked."""
        return parse_space(self.space)

    def paths(self) -> StudyPaths:
        """Return the search's folder."""
        return study_paths(self.config())

    def to_dict(self) -> dict[str, Any]:
        """Return the form that `parse_search` reads."""
        return dataclasses.asdict(self)

    def keys_set(self) -> set[str]:
        """Return the config keys that the base or a drawn parameter sets."""
        drawn = {name for name in self.space if name not in (DEPTH, WIDTH)}
        return {*expand_keys(self.base), *(AXES.get(name, name) for name in drawn), "model.params.hidden_dims"}

    def _kept_base(self) -> dict[str, Any]:
        """Return the base with the defaults of the search that have changed since."""
        changed = {key: value for key, value in self.defaults.items() if key in KEYS and value != KEYS[key].default}
        return {**changed, **expand_keys(self.base)}

    def confirmation_study(self, drawn: Mapping[str, Any], seeds: int = 5) -> Study:
        """Return the study that trains drawn parameters on fresh seeds and tests them.

        The winner's own value is biased upwards, since it was selected for it.
        """
        base = {**self._kept_base(), **self.parsed_space().changes(drawn)}
        first = int(base.pop("utils.seed", Config().utils.seed)) + 1
        base.pop("evaluation.after_training", None)
        return Study(f"{self.name} best again", base, {"utils.seed": list(range(first, first + seeds))})

    def stability_study(self, ranked: list[Mapping[str, Any]], seeds: int = 3) -> Study:
        """Return the study that trains the best parameters on fresh seeds, without tests, to see if their order holds."""
        base = {**self._kept_base(), "evaluation.after_training": False}
        first = int(base.pop("utils.seed", Config().utils.seed)) + 1
        ranks = {str(rank): self.parsed_space().changes(drawn) for rank, drawn in enumerate(ranked, start=1)}
        grid = {"training.learning_rate": ranks, "utils.seed": list(range(first, first + seeds))}
        return Study(f"{self.name} top {len(ranked)} again", base, grid)


def parse_search(content: Mapping[str, Any]) -> Search:
    """Build a search from its YAML content.

    Raises:
        ConfigError: a part is unknown or of the wrong kind.
    """
    given = {part: value for part, value in content.items() if value not in (None, {})}
    search = parse_options(Search, given, "part of a search")
    search = dataclasses.replace(search, base=dict(flatten(search.base)))
    search.parsed_space()
    search.config()
    return search


def read_search(path: Path | str) -> Search:
    """Read a search from a YAML file.

    Raises:
        ConfigError: the file is missing or does not define a search.
    """
    return parse_search(read_definition(Path(path), "Search", "base, space and trials"))


@dataclass(frozen=True)
class Stability:
    """The best trials of a search, trained again on fresh seeds.

    Attributes:
        table: one row a trial: rank and value in the search, mean, sd and n over fresh seeds, rank by that mean,
            flattered (value - mean: how much the search overestimated it).
        tau: Kendall's rank correlation of both orders; NaN for fewer than two trials.
        stays: share of the fresh seeds in which the search's best is the best of these trials.
        paths: the study that trained them again.
    """

    table: pd.DataFrame
    tau: float
    stays: float
    paths: StudyPaths


def stability(search: Search, ranked: Sequence[tuple[float, Mapping[str, Any]]]) -> Stability | None:
    """Compare values of the best trials, best first, with validation metrics of `Search.stability_study`.

    None before that study was planned, or while no seed has all its trials finished.
    """
    study = search.stability_study([drawn for _, drawn in ranked])
    paths = study_paths(next(study.configs())[1])
    try:
        plan = read_plan(paths)
    except InputError:
        return None
    complete = _values_by_seed(paths, plan, study, len(ranked)).dropna()
    if not len(complete):
        return None
    values = np.array([value for value, _ in ranked])
    table = pd.DataFrame({"rank": complete.columns, "value": values, "mean": complete.mean().to_numpy()})
    table["sd"], table["n"] = complete.std(ddof=1).to_numpy(), len(complete)
    table["rank again"] = table["mean"].rank(ascending=False, method="min").astype(int)
    table["flattered"] = table["value"] - table["mean"]
    from scipy.stats import kendalltau  # half a second to import

    tau = float(kendalltau(-values, -table["mean"]).statistic) if len(values) > 1 else float("nan")
    return Stability(table, tau, float((complete.to_numpy().argmax(axis=1) == 0).mean()), paths)


def _values_by_seed(paths: StudyPaths, plan: Plan, study: Study, ranks: int) -> pd.DataFrame:
    """Return the monitored validation metric of a stability study by seed (rows) and rank (columns, from 1)."""
    axis = next(axis for axis in study.axes() if axis != "seed")
    labels = {run.id: (int(run.labels[axis]), run.labels["seed"]) for run in plan.runs}
    monitor = next(study.configs())[1].training.monitor
    rows = read_results(paths, plan)
    rows = rows[(rows["set"] == VALIDATION) & (rows["finding"] == "") & (rows["metric"] == monitor)]
    rows = rows.assign(rank=[labels[name][0] for name in rows["run"]], seed=[labels[name][1] for name in rows["run"]])
    return rows.pivot(index="seed", columns="rank", values="value").reindex(columns=range(1, ranks + 1))
