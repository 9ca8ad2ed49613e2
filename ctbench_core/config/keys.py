"""Read and set keys by dotted name, convert mappings, and compare configs."""

from __future__ import annotations

import copy
import dataclasses
import difflib
import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_type_hints

from ctbench_core.config.data import DataConfig, PathsConfig
from ctbench_core.config.results import AnalysisConfig, EvaluationConfig, LoggingConfig, OptunaConfig, UtilsConfig
from ctbench_core.config.sections import section
from ctbench_core.config.training import ModelConfig, TrainingConfig
from ctbench_core.config.urls import refuse_secret
from ctbench_core.declared import HEADS, USES, Registry, Scope, key
from ctbench_core.errors import ConfigError
from ctbench_core.names import portable
from ctbench_core.schema import choices, convert

# Other names of keys, in overrides and older config trees.
ALIASES = {
    "hydra.job.name": "job_name",
    "hydra.run.dir": "paths.run_dir",
    "logging.watch.log": "logging.watch",
}

# Keys of older config trees that have no counterpart here and need none.
IGNORED_PREFIXES = ("hydra.", "defaults", "logging.watch.")


@dataclass
class Config:
    """Everything that defines one run: data, head, training and output paths."""

    paths: PathsConfig = section(PathsConfig)
    data: DataConfig = section(DataConfig)
    training: TrainingConfig = section(TrainingConfig)
    model: ModelConfig = section(ModelConfig)
    evaluation: EvaluationConfig = section(EvaluationConfig)
    utils: UtilsConfig = section(UtilsConfig)
    analysis: AnalysisConfig = section(AnalysisConfig)
    optuna: OptunaConfig = section(OptunaConfig)
    logging: LoggingConfig = section(LoggingConfig)
    job_name: str = key(
        "train",
        "Name of the job: the folder of its runs in the run store.",
        scope="place",
        command_line_only="Runs of the Train page belong to the job train, those of a study to the study.",
    )

    def to_dict(self) -> dict[str, Any]:
        """Return a nested mapping, as stored in a run's ``config.yaml``."""
        return dataclasses.asdict(self)

    def copy(self) -> Config:
        """Return an independent copy."""
        return copy.deepcopy(self)


@dataclass(frozen=True)
class KeyInfo:
    """One key of the config, as form, command line and docs show it; see `declared.key`."""

    name: str
    annotation: Any
    default: Any
    help: str
    scope: Scope
    label: str
    usual: str
    placeholder: str
    step: float | None
    repeats: bool
    extends: bool
    raw: bool
    command_line_only: str
    introduced: Any
    only_with: str
    registry: Any
    choices: tuple[str, ...]
    bounds: Mapping[str, float]

    @property
    def known_values(self) -> tuple[str, ...]:
        """The allowed values, else the registered names; empty for any other key."""
        return self.choices or tuple(self.registry or ())

    @property
    def tooltip(self) -> str:
        """Help and usual range in one line."""
        return f"{self.help} Usual: {self.usual}." if self.usual else self.help

    @property
    def is_input(self) -> bool:
        """Whether the key describes the data of a run: a saved data set holds exactly these keys."""
        return self.name.startswith("data.") or self.name in ("paths.data_root", "paths.manifest_dir")

    def counts_for(self, use: str) -> bool:
        """Whether the key counts for a use of `declared.USES`, such as ``identity``."""
        return self.scope in USES[use]


def _keys_of(section: Any, prefix: str = "") -> Iterator[KeyInfo]:
    hints = get_type_hints(type(section))
    for item in dataclasses.fields(section):
        name, default = prefix + item.name, getattr(section, item.name)
        if dataclasses.is_dataclass(default):
            yield from _keys_of(default, f"{name}.")
        else:
            named = item.metadata["choices"]
            annotation = Literal.__getitem__(named) if named else hints[item.name]
            yield KeyInfo(name, annotation, default, **{**item.metadata, "choices": choices(annotation)})


KEYS: dict[str, KeyInfo] = {info.name: info for info in _keys_of(Config())}


def model_groups() -> dict[str, dict[str, Any]]:
    """Return what ``model=<name>`` sets, by name and short alias of every head: the alias of a head comes first."""
    groups: dict[str, dict[str, Any]] = {}
    for head in HEADS.values():
        keys: dict[str, Any] = {"model._target_": head.name, "model.model_name": head.name}
        if "model.params.hidden_dims" not in head.keys:
            keys["model.params.hidden_dims"] = []
        groups |= {name: keys for name in (*head.aliases, head.name) if "." not in name}
    return groups


def group_defaults(group: str) -> dict[str, Any]:
    """Return the defaults of a head that ``model=<group>`` chooses: they hold for keys that nothing else sets."""
    head = HEADS.get(HEADS.canonical(group))
    return dict(head.defaults) if head else {}


def nearest_keys(name: str) -> str:
    """Suggest the known keys nearest to an unknown one, for its error message."""
    near = difflib.get_close_matches(name, KEYS, n=3, cutoff=0.5)
    last = name.rsplit(".", 1)[-1]
    near += [known for known in KEYS if known.rsplit(".", 1)[-1] == last and known not in near]
    if near:
        return f" Did you mean {' or '.join(near[:3])}?"
    return f" Sections: {', '.join(item.name for item in dataclasses.fields(Config))}."


def as_introduced() -> Config:
    """Return the config that a stored one is read onto: a key that it lacks reads as its value when introduced."""
    return set_keys(Config(), {name: info.introduced for name, info in KEYS.items() if info.introduced != info.default})


def set_keys(config: Config, values: Mapping[str, Any]) -> Config:
    """Set several keys as `set_key` does, and return the config."""
    for name, value in values.items():
        set_key(config, name, value)
    return config


def get_key(config: Config, name: str) -> Any:
    """Return the value of a dotted key."""
    return operator.attrgetter(name)(config)


def set_key(config: Config, name: str, value: Any) -> None:
    """Convert a value to the key's type, check its bounds, and set it.

    Raises:
        ConfigError: the key is unknown, or the value does not fit or is a URL with a secret.
    """
    name = ALIASES.get(name, name)
    if name not in KEYS:
        raise ConfigError(f"Unknown key {name!r}.{nearest_keys(name)}")
    refuse_secret(value, name)
    if "\0" in str(value):  # no path and no name can have one
        raise ConfigError(f"{name} is {value!r}, with a null character. Remove it.")
    info = KEYS[name]
    value = resolved(info, value) if info.choices and isinstance(value, str) else value
    value = _portable(value) if info.raw or name == "data.test_manifests" else value
    section_name, _, last = name.rpartition(".")
    target = get_key(config, section_name) if section_name else config
    setattr(target, last, convert(name, value, info.annotation, info.bounds, info.help))


def _portable(value: Any) -> Any:
    """Return a path, or each of a list, with slashes: written on Windows or Linux, it is one setting."""
    if isinstance(value, list):
        return [_portable(part) for part in value]
    return portable(value) if isinstance(value, str) else value


def from_mapping(content: Mapping[str, Any], base: Config | None = None) -> tuple[Config, list[str]]:
    """Build a config from a nested or dotted mapping; return it with the unknown keys.

    Raises:
        ConfigError: a known key holds a value of the wrong type or outside its bounds.
    """
    config = base.copy() if base else Config()
    unknown = []
    for written, value in flatten(content):
        name = ALIASES.get(written, written)
        first_key = check_section(name, value)
        if name in KEYS:
            if not _is_set(config, name, value):
                set_key(config, name, value)
        elif not first_key and not name.startswith(IGNORED_PREFIXES):
            unknown.append(name)
    return config, unknown


_PLAIN = (str, int, float, bool, type(None))


def _is_set(config: Config, name: str, value: Any) -> bool:
    """Whether a key holds a value already, so that it needs no check: most keys of a stored config are the defaults."""
    current = get_key(config, name)
    return type(value) is type(current) and isinstance(value, _PLAIN) and bool(value == current)


def check_section(name: str, value: Any) -> str:
    """Return the first key below a name, empty where it is no section.

    Raises:
        ConfigError: it is a section, and the value is not a mapping.
    """
    first_key = "" if name in KEYS else next((known for known in KEYS if known.startswith(f"{name}.")), "")
    if first_key and value is not None and not isinstance(value, Mapping):
        raise ConfigError(f"{name} is {value!r}; expected keys below it, such as {first_key}.")
    return first_key


def flatten(content: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield dotted keys and values of a nested or dotted mapping; a key whose value is a mapping stays whole."""
    for part, value in content.items():
        name = f"{prefix}{part}"
        if isinstance(value, Mapping) and not (name in KEYS and "dict" in str(KEYS[name].annotation)):
            yield from flatten(value, f"{name}.")
        else:
            yield name, value


def changed_keys(config: Config, base: Config | None = None) -> dict[str, Any]:
    """Return the keys that differ from their defaults, or from another config, with their values."""
    return {
        name: value
        for name, info in KEYS.items()
        if (value := get_key(config, name)) != (info.default if base is None else get_key(base, name))
    }


def resolved(info: KeyInfo, value: Any) -> Any:
    """Return a value that names a registered object under its registered name, any other value unchanged."""
    return info.registry.canonical(value) if isinstance(info.registry, Registry) else value


def values_for(config: Config, use: str, select: Callable[[KeyInfo], bool] = lambda info: True) -> dict[str, Any]:
    """Return the resolved values of all keys that count for a use of `declared.USES`, by name, defaults included.

    A key without effect, because the key that it goes with is empty, has its default.
    """
    return {
        name: resolved(info, _effective(config, info))
        for name, info in KEYS.items()
        if info.counts_for(use) and select(info)
    }


def _effective(config: Config, info: KeyInfo) -> Any:
    idle = info.only_with and get_key(config, info.only_with) is None
    return info.default if idle else get_key(config, info.name)


def recipe_values(config: Config) -> dict[str, Any]:
    """Return the values that all repeats of a recipe share: its identity without seeds, folds and the like."""
    return values_for(config, "identity", lambda info: not info.repeats)


def differing_keys(first: Config, second: Config, use: str = "identity") -> list[str]:
    """Name the keys of a use in which two configs differ."""
    values = values_for(second, use)
    return [name for name, value in values_for(first, use).items() if values[name] != value]
