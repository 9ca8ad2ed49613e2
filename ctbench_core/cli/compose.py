"""Command-line words and YAML trees to one typed config.

Words that choose a config group, and words of Hydra's own, go to Hydra together with the tree; all
others are laid over the composed tree before its interpolations are resolved, so that any key of ours
can be overridden over any tree.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from hydra import compose, initialize_config_dir, initialize_config_module
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from ctbench_core.config import ALIASES, KEYS, Config, from_mapping, holds_mapping, nearest_keys
from ctbench_core.errors import ConfigError
from ctbench_core.overrides import _quoted, is_raw

PACKAGE_TREE = "ctbench_core.conf"
HYDRA_RUN_DIR = "outputs/${now:%Y-%m-%d}/${now:%H-%M-%S}"  # what Hydra uses when nobody chose one
MISSING = "???"


class PackageTree(SearchPathPlugin):
    """Put the package's own groups behind the user's tree, so that `model=linear_probe` is always there."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Append the package's tree."""
        search_path.append("ctbench_core", f"pkg://{PACKAGE_TREE}")


@dataclass(frozen=True)
class Composed:
    """A config, the keys that words gave (not the tree), the verb's own words, and what to tell the user."""

    config: Config
    given: dict[str, Any]
    extras: dict[str, Any]
    warnings: list[str]
    hydra_run_dir: str | None = None


@dataclass
class _Words:
    """Words sorted by where they go."""

    hydra: list[str] = field(default_factory=list)
    given: dict[str, Any] = field(default_factory=dict)
    deleted: list[str] = field(default_factory=list)
    extras: dict[str, Any] = field(default_factory=dict)
    run_dir: bool = False


def compose_config(
    words: Sequence[str],
    *,
    job_name: str = "train",
    extras: Collection[str] = (),
    config_dir: Path | None = None,
    config_name: str = "config",
) -> Composed:
    """Compose a config from words and, when ``config_dir`` is given, a YAML tree.

    Args:
        job_name: ``hydra.job.name`` unless a word or the tree says otherwise.
        extras: keys that belong to the verb, not to the config (``run``, ``embeddings`` ...).

    Raises:
        ConfigError: a word or the tree cannot be understood, or a value does not fit its key.
    """
    if config_dir is not None and not config_dir.is_dir():
        raise ConfigError(f"Config folder {config_dir} does not exist. Give the folder that holds {config_name}.yaml.")
    sorted_words = _sort(words, extras, _groups(config_dir))
    try:
        tree = _compose_tree(sorted_words.hydra, job_name, config_dir, config_name)
        unknown_words = _lay_over(tree, sorted_words)
        hydra = _settle_hydra(tree)
        content = _resolved(tree)
    except (HydraException, OmegaConfBaseException, yaml.YAMLError, TypeError, ValueError) as error:
        raise ConfigError(f"The config cannot be composed: {_one_paragraph(error)}") from error
    return _typed(content, hydra, sorted_words, unknown_words)


def _typed(content: dict[str, Any], hydra: Mapping[str, Any], words: _Words, unknown_words: list[str]) -> Composed:
    absent = [name for name, value in _leaves(content) if value == MISSING and name in KEYS]
    if absent:
        raise ConfigError(f"The config leaves {', '.join(absent)} open (???). Give a value, as {absent[0]}=...")
    config, unknown = from_mapping(content)
    config.job_name = words.given.get("job_name") or content.get("job_name") or hydra["job_name"]
    config.paths.run_dir = config.paths.run_dir or hydra["run_dir"]
    warnings = [
        f"Unknown key {name!r} is ignored.{nearest_keys(name)}" for name in dict.fromkeys(unknown + unknown_words)
    ]
    return Composed(config, words.given, words.extras, warnings, hydra["run_dir"] if words.run_dir else None)


def _sort(words: Sequence[str], extras: Collection[str], groups: Collection[str]) -> _Words:
    result = _Words()
    parser = OverridesParser.create()
    for word in words:
        key, equals, value = word.partition("=")
        plain = key.lstrip("+")
        if not plain:
            raise ConfigError(f"Cannot understand {word!r}: expected key=value.")
        if equals and is_raw(plain):
            _sort_raw(result, plain, _unwrapped(value), extras)
            continue
        try:
            override = parser.parse_override(word)
        except HydraException as error:
            raise ConfigError(f"Cannot understand {word!r}: expected key=value. {_one_paragraph(error)}") from error
        _sort_parsed(result, override, extras, groups)
    return result


def _sort_raw(result: _Words, key: str, value: str | None, extras: Collection[str]) -> None:
    if key == "hydra.run.dir":
        result.run_dir = True
        result.hydra.append(f"{key}={_quoted(value or '')}")
    elif key in extras:
        result.extras[key] = value
    elif key in KEYS:
        result.given[key] = value
    else:
        raise ConfigError(f"Unknown key {key!r}.{nearest_keys(key)}")


def _sort_parsed(result: _Words, override: Override, extras: Collection[str], groups: Collection[str]) -> None:
    key = override.key_or_group
    word = override.input_line or key
    if override.is_sweep_override():
        raise ConfigError(f"{word!r} spans several values. Write a list as [a,b]; one run takes one value.")
    if key in extras:
        result.extras[key] = override.value()
    elif key in ("job_name", "hydra.job.name"):
        result.given["job_name"] = str(override.value())
        result.hydra.append(f"hydra.job.name={_quoted(str(override.value()))}")
    elif key in groups or key.startswith(("hydra.", "hydra/")):
        result.hydra.append(word)
    elif override.is_delete():
        result.deleted.append(key)
    else:
        result.given |= dict(_leaves({ALIASES.get(key, key): override.value()}))


def _groups(config_dir: Path | None) -> set[str]:
    """Name the config groups: the folders of the package's tree and of the user's."""
    roots = [Path(__file__).resolve().parent.parent / "conf", *([config_dir] if config_dir else [])]
    folders = (
        path for root in roots for path in root.rglob("*") if path.is_dir() and not path.name.startswith(("_", "."))
    )
    return {path.relative_to(root).as_posix() for path in folders for root in roots if path.is_relative_to(root)}


def _compose_tree(words: list[str], job_name: str, config_dir: Path | None, config_name: str) -> DictConfig:
    """Compose the tree with Hydra and return it unresolved, its ``hydra`` node included."""
    Plugins.instance().register(PackageTree)
    GlobalHydra.instance().clear()
    with _opened(config_dir, job_name):
        return compose(config_name.removesuffix(".yaml"), overrides=words, return_hydra_config=True)


def _opened(config_dir: Path | None, job_name: str) -> initialize_config_dir | initialize_config_module:
    if config_dir is None:
        return initialize_config_module(PACKAGE_TREE, job_name=job_name, version_base="1.3")
    return initialize_config_dir(str(config_dir.resolve()), job_name=job_name, version_base="1.3")


def _settle_hydra(tree: DictConfig) -> dict[str, Any]:
    """Fill what Hydra leaves open, so that ``${hydra:...}`` resolves; return job name and chosen run folder."""
    raw = OmegaConf.to_container(tree.hydra.run, resolve=False)
    assert isinstance(raw, dict)
    with open_dict(tree):
        tree.hydra.job.num, tree.hydra.job.id = 0, "0"
    HydraConfig.instance().set_config(tree)
    run_dir = str(tree.hydra.run.dir)
    OmegaConf.set_readonly(tree.hydra, False)
    with open_dict(tree):
        # A fixed string: ``${now:...}`` must not give two names for one run.
        tree.hydra.run.dir = tree.hydra.runtime.output_dir = run_dir
    HydraConfig.instance().set_config(tree)
    return {"job_name": tree.hydra.job.name, "run_dir": run_dir if raw["dir"] != HYDRA_RUN_DIR else None}


def _resolved(tree: DictConfig) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for name in (str(key) for key in tree if key != "hydra"):
        if OmegaConf.is_missing(tree, name):
            content[name] = MISSING
            continue
        value = tree[name]
        content[name] = OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
    return content


def _lay_over(tree: DictConfig, words: _Words) -> list[str]:
    """Lay the given keys over the tree; return those that only a foreign tree knows."""
    OmegaConf.set_struct(tree, False)
    OmegaConf.set_struct(tree.hydra, True)
    for key in words.deleted:
        parent, _, last = key.rpartition(".")
        node = OmegaConf.select(tree, parent) if parent else tree
        if OmegaConf.is_dict(node) and last in node:
            del node[last]
    foreign = []
    for key, value in words.given.items():
        if key not in KEYS:
            if OmegaConf.select(tree, key, throw_on_resolution_failure=False) is None:
                raise ConfigError(f"Unknown key {key!r}.{nearest_keys(key)}")
            foreign.append(key)
        OmegaConf.update(tree, key, value, merge=False, force_add=True)
    return foreign


def _leaves(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for part, value in content.items():
        name = f"{prefix}{part}"
        if isinstance(value, Mapping) and not holds_mapping(name):
            yield from _leaves(value, f"{name}.")
        else:
            yield name, value


def _unwrapped(value: str) -> str | None:
    """Take off one pair of quotes that a shell may have left, and read null as nothing."""
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
        return value[1:-1]
    return None if value in ("null", "") else value


def _one_paragraph(error: Exception) -> str:
    return " ".join(line.strip() for line in str(error).splitlines() if line.strip())
