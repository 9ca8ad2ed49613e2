"""Define a study: one base config and a grid over it, from YAML or a page, expanded to every run's config."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ctbench_core.config import (
    ALIASES,
    KEYS,
    Config,
    changed_keys,
    check_yaml,
    flatten,
    group_defaults,
    model_groups,
    nearest_keys,
    set_keys,
)
from ctbench_core.declared import SCOPES
from ctbench_core.errors import ConfigError, unknown_name
from ctbench_core.names import safe_name
from ctbench_core.schema import parse_options
from ctbench_core.stored import refuse_pipe

# Short names of common axes; any other axis is a config key.
AXES = {
    "budget": "data.budget",
    "seed": "utils.seed",
    "source": "paths.manifest_dir",
    "encoder": "paths.data_root",
    "fold": "data.kfold.fold",
    "inputs": "model.inputs",
}
_NAMES = {key: name for name, key in AXES.items()}
GROUP = "model"  # the config group that an axis or the base may name: model: linear_probe
ALL = "all"


@dataclass(frozen=True)
class StudyFile:
    """The parts of a study's YAML file."""

    name: str = ""
    base: dict[str, Any] | None = None
    grid: dict[str, Any] | None = None
    protocol: str | dict[str, Any] | None = None


@dataclass(frozen=True)
class Option:
    """One value of an axis: its label in tables, and the config keys it sets."""

    label: str
    changes: dict[str, Any]


@dataclass(frozen=True)
class Point:
    """One point of the grid: its label on each axis, and the config keys it sets."""

    labels: dict[str, str]
    changes: dict[str, Any]


@dataclass(frozen=True)
class Study:
    """A named grid of runs.

    Attributes:
        base: config keys that every run shares.
        grid: axis name to a list of values, or to a mapping of label to value.
        folds: K of a patient-grouped K-fold, 0 for a fixed test.
    """

    name: str
    base: dict[str, Any] = field(default_factory=dict)
    grid: dict[str, Any] = field(default_factory=dict)
    folds: int = 0

    def axes(self) -> dict[str, list[Option]]:
        """Return the options of every axis by its short name, in the order of the grid; folds come last.

        Raises:
            ConfigError: an axis is unknown, empty, or names a value twice.
        """
        axes = {axis_name(key): _options(axis_name(key), values) for key, values in self.grid.items()}
        if self.folds:
            axes["fold"] = [
                Option(str(fold), {"data.kfold.folds": self.folds, "data.kfold.fold": fold})
                for fold in range(self.folds)
            ]
        for axis, options in axes.items():
            _check_axis(axis, options)
        return axes

    def points(self) -> Iterator[Point]:
        """Yield the points of the grid, the first axis slowest."""
        axes = self.axes()
        for options in itertools.product(*axes.values()):
            changes: dict[str, Any] = {}
            for option in options:
                changes |= option.changes
            yield Point({axis: option.label for axis, option in zip(axes, options)}, changes)

    def config(self, point: Point, defaults: Mapping[str, Any] | None = None) -> Config:
        """Return the resolved config of a point of the grid, with other defaults where some are given.

        Raises:
            ConfigError: a key is unknown or a value does not fit it.
        """
        config = set_keys(Config(), defaults or {})
        # The test set is part of a study's protocol; `evaluation.after_training: false` leaves it out.
        config.evaluation.after_training = True
        config.evaluation.detail = "scores"
        config.job_name = slug(self.name)
        own_keys = expand_keys(self.base) | point.changes
        set_keys(config, own_keys)
        if GROUP in self.base or GROUP in point.labels:
            fixed = own_keys.keys() | (defaults or {}).keys()
            head = group_defaults(config.model._target_)
            set_keys(config, {key: value for key, value in head.items() if key not in fixed})
        if "source" in point.labels and "data.reference" not in expand_keys(self.base):
            config.data.reference = self._reference(config)
        return config

    def _reference(self, config: Config) -> str | None:
        """Return the first label source, on which all sources draw and are tested; None for that source itself."""
        first = self.axes()["source"][0].changes[AXES["source"]]
        return None if first == config.paths.manifest_dir else str(first)

    def configs(self, defaults: Mapping[str, Any] | None = None) -> Iterator[tuple[Point, Config]]:
        """Yield every point of the grid with its config, with other defaults where some are given.

        Raises:
            ConfigError: an axis cannot distinguish runs, a key is unknown, or a value does not fit it.
        """
        for axis in self.axes():
            require_identity_key(axis)
        for point in self.points():
            yield point, self.config(point, defaults)

    def keys_set(self) -> set[str]:
        """Return the config keys that the base or any value of an axis sets."""
        changes = [expand_keys(self.base), *(option.changes for options in self.axes().values() for option in options)]
        return {key for keys in changes for key in keys}

    def to_dict(self) -> dict[str, Any]:
        """Return the form that `parse_study` reads."""
        protocol = {"kfold": self.folds} if self.folds else "fixed_test"
        return {"name": self.name, "base": self.base, "grid": self.grid, "protocol": protocol}

    def with_base(self, changes: Mapping[str, Any]) -> Study:
        """Return the study with changed keys of the base."""
        return Study(self.name, {**self.base, **changes}, self.grid, self.folds)


def read_study(path: Path | str) -> Study:
    """Read a study from a YAML file.

    Raises:
        ConfigError: the file is missing, is not a YAML mapping, or has an unknown part.
    """
    return parse_study(read_definition(Path(path), "Study", "name, base and grid"))


def read_definition(path: Path, kind: str, parts: str) -> dict[str, Any]:
    """Read the YAML mapping of a study or search; its name is that of the file unless it has one.

    Raises:
        ConfigError: the file is missing or is not a YAML mapping.
    """
    try:
        refuse_pipe(path)
        content = yaml.safe_load(check_yaml(path.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{kind} {path} cannot be read: {reason}. Give a YAML file with {parts}.") from error
    if not isinstance(content, Mapping):
        raise ConfigError(f"{kind} {path} is not a YAML mapping. It needs {parts}.")
    return {"name": path.stem, **content}


def parse_study(content: Mapping[str, Any]) -> Study:
    """Build a study from its YAML content.

    Raises:
        ConfigError: a part is unknown or of the wrong kind.
    """
    parts = parse_options(StudyFile, content, "part of a study")
    name = parts.name.strip()
    if not slug(name):
        raise ConfigError("A study needs a name: its folder in the run store takes it.")
    safe_name(slug(name), "The name of the study")
    study = Study(name, dict(flatten(parts.base or {})), parts.grid or {}, _folds(parts.protocol))
    study.axes()
    expand_keys(study.base)
    return study


def _folds(protocol: Any) -> int:
    """Read ``fixed_test``, ``kfold: 5`` as a mapping, or the same as text."""
    if protocol in (None, "fixed_test"):
        return 0
    match = re.fullmatch(r"kfold\s*[:= ]\s*(\d+)", protocol.strip()) if isinstance(protocol, str) else None
    folds = int(match[1]) if match else protocol.get("kfold") if isinstance(protocol, Mapping) else None
    if not isinstance(folds, int) or isinstance(folds, bool) or folds < 2:
        raise ConfigError(f"protocol is {protocol!r}; expected fixed_test, or kfold with at least 2 folds (kfold: 5).")
    return folds


def slug(name: str) -> str:
    """Return a name as a folder: lower case, words joined by dashes."""
    return re.sub(r"[^a-z0-9_.]+", "-", name.lower()).strip("-.")


def axis_name(name: str) -> str:
    """Return the short name of an axis; a config key without one keeps its own.

    Raises:
        ConfigError: it is neither a known axis nor a config key.
    """
    key = ALIASES.get(name, name)
    if key in AXES or key == GROUP:
        return key
    if key in _NAMES:
        return _NAMES[key]
    if key not in KEYS:
        raise ConfigError(f"Unknown axis {name!r} of the grid. Axes: {', '.join([*AXES, GROUP])}.{nearest_keys(key)}")
    return key


def require_identity_key(axis: str) -> None:
    """Refuse an axis or search parameter that leaves a run the same.

    Raises:
        ConfigError: it does; the message says what the key changes.
    """
    info = KEYS.get(AXES.get(axis, axis))
    if info is not None and not info.counts_for("identity"):
        raise ConfigError(
            f"{info.name} cannot be an axis: its values train the same run. It sets {SCOPES[info.scope]}. "
            "Set it in the base instead."
        )


def _options(axis: str, values: Any) -> list[Option]:
    if isinstance(values, Mapping):
        return [Option(str(label), _changes(axis, value)) for label, value in values.items()]
    if not isinstance(values, Sequence) or isinstance(values, str):
        values = [values]
    return [Option(_label(value), _changes(axis, value)) for value in values]


def _label(value: Any) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "-".join(map(str, value)) or "none"
    return ALL if value is None else str(value)


def _changes(axis: str, value: Any) -> dict[str, Any]:
    """Return the config keys that a value of an axis sets; a mapping of keys may set several."""
    if isinstance(value, Mapping):
        return expand_keys(dict(flatten(value)))
    if axis == GROUP:
        return expand_keys({GROUP: value})
    if axis == "budget" and value == ALL:
        value = None
    return {AXES.get(axis, axis): value}


def shared_keys(config: Config) -> dict[str, Any]:
    """Return the changed keys that the runs of a study can share: all but a run's own places and name."""
    return {
        key: value
        for key, value in changed_keys(config).items()
        if not KEYS[key].counts_for("run place") and key != "logging.run_name"
    }


def expand_keys(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return config keys with short names and the config group written out; the group comes first.

    Raises:
        ConfigError: a key or the group is unknown.
    """
    keys: dict[str, Any] = {}
    if GROUP in changes:
        groups, group = model_groups(), str(changes[GROUP])
        if group not in groups:
            raise unknown_name(GROUP, group, groups)
        keys |= groups[group]
    for name, value in changes.items():
        if name == GROUP:
            continue
        key = AXES.get(name, ALIASES.get(name, name))
        if key not in KEYS:
            raise ConfigError(f"Unknown key {name!r}.{nearest_keys(name)}")
        keys[key] = None if name == "budget" and value == ALL else value
    return keys


def _check_axis(axis: str, options: list[Option]) -> None:
    if not options:
        raise ConfigError(f"Axis {axis} of the grid is empty. Give a list, such as [1, 2, 3].")
    labels = [option.label for option in options]
    repeated = sorted({label for label in labels if labels.count(label) > 1})
    if repeated:
        raise ConfigError(f"Axis {axis} of the grid has {', '.join(repeated)} more than once. Remove the repetition.")
