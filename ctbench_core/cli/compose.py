"""Compose command-line overrides and a YAML config tree to one typed config.

Hydra composes the tree with its own overrides (``hydra.*``) and those that choose a config group. All others are
applied to the composed tree before its interpolations are resolved, so that every key works with every tree.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from hydra import compose, initialize_config_dir, initialize_config_module
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override, QuotedString
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import InterpolationResolutionError, OmegaConfBaseException

from ctbench_core.cli.composed import MODEL_GROUP, Composed, unquote
from ctbench_core.config import (
    ALIASES,
    KEYS,
    Config,
    check_section,
    check_yaml,
    flatten,
    from_mapping,
    group_defaults,
    model_groups,
    nearest_keys,
    set_keys,
)
from ctbench_core.errors import ConfigError
from ctbench_core.overrides import is_raw, quote
from ctbench_core.stored import refuse_pipe

PACKAGE_TREE = "ctbench_core.conf"
HYDRA_RUN_DIR = "outputs/${now:%Y-%m-%d}/${now:%H-%M-%S}"  # Hydra's default
MISSING = "???"


class PackageTree(SearchPathPlugin):
    """Add the package's groups to the user's tree, so that `model=linear_probe` always works."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Append the package's tree."""
        search_path.append("ctbench_core", f"pkg://{PACKAGE_TREE}")


@dataclass
class _Overrides:
    """Overrides by destination: Hydra, our keys, deleted keys, and the verb's own options."""

    hydra: list[str] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)
    deleted: list[str] = field(default_factory=list)
    extras: dict[str, Any] = field(default_factory=dict)
    run_dir: bool = False


def compose_config(
    overrides: Sequence[str],
    *,
    job_name: str = "train",
    extras: Collection[str] = (),
    config_dir: Path | None = None,
    config_name: str = "config",
) -> Composed:
    """Compose a config from overrides and, when ``config_dir`` is given, a YAML tree.

    Args:
        job_name: ``hydra.job.name`` unless an override or the tree sets it.
        extras: options of the verb that are not config keys (``run``, ``embeddings`` ...).

    Raises:
        ConfigError: an override or the tree is invalid, or a value does not fit its key.
    """
    if config_dir is not None and not config_dir.is_dir():
        raise ConfigError(f"Config folder {config_dir} does not exist. Give the folder that holds {config_name}.yaml.")
    parts = _sort(overrides, extras, _groups(config_dir))
    try:
        _check_tree(config_dir, config_name)
        tree = _compose_tree(parts.hydra, job_name, config_dir, config_name)
        tree_only = _apply(parts, tree)
        hydra = _complete_hydra(tree)
        content, base = _resolved(tree), _base(tree, config_dir)
    except (HydraException, OmegaConfBaseException, yaml.YAMLError, TypeError, ValueError, RecursionError) as error:
        hint = (
            " Write \\${ for the characters ${ themselves." if isinstance(error, InterpolationResolutionError) else ""
        )
        raise ConfigError(f"The config cannot be composed: {_one_paragraph(error)}{hint}") from error
    return _typed(content, base, hydra, parts, tree_only)


def _check_tree(config_dir: Path | None, config_name: str) -> None:
    """Refuse a primary file that Hydra would pass over, and files that would not end.

    Raises:
        ValueError: there is one. yaml.YAMLError: a file is no YAML.
    """
    if config_dir is None:
        return
    refuse_pipe(config_dir / f"{config_name.removesuffix('.yaml')}.yaml")
    for path in filter(Path.is_file, config_dir.rglob("*.yaml")):
        try:
            check_yaml(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ValueError(f"{path}: {error}") from error


def _base(tree: DictConfig, config_dir: Path | None) -> Config:
    """Return the defaults that the tree is read onto: those of its head count where its group is the package's."""
    group = tree.hydra.runtime.choices.get(MODEL_GROUP)
    is_own = group and config_dir is not None and (config_dir / MODEL_GROUP / f"{group}.yaml").is_file()
    return set_keys(Config(), {} if is_own or not group else group_defaults(group))


def _typed(
    content: dict[str, Any], base: Config, hydra: Mapping[str, Any], parts: _Overrides, tree_only: list[str]
) -> Composed:
    missing = [name for name, value in flatten(content) if value == MISSING and name in KEYS]
    if missing:
        raise ConfigError(f"The config tree leaves {', '.join(missing)} open (???). Add {missing[0]}=<value>.")
    config, unknown = from_mapping(content, base)
    config.job_name = content.get("job_name") or hydra["job_name"]
    config.paths.run_dir = config.paths.run_dir or hydra["run_dir"]
    names = dict.fromkeys(unknown + tree_only)
    warnings = [f"Unknown key {name!r} is ignored.{nearest_keys(name)}" for name in names]
    return Composed(config, parts.values, parts.extras, warnings, hydra["run_dir"] if parts.run_dir else None)


def _sort(overrides: Sequence[str], extras: Collection[str], groups: Collection[str]) -> _Overrides:
    parts = _Overrides()
    for override in overrides:
        key, equals, value = override.partition("=")
        name = key.lstrip("+")
        if not name:
            raise ConfigError(f"Cannot understand {override!r}: expected key=value.")
        if equals and is_raw(name):
            _sort_raw(parts, name, unquote(value), extras)
            continue
        _sort_parsed(parts, parse_override(override), extras, groups)
    return parts


def parse_override(override: str, expected: str = "key=value") -> Override:
    """Parse a word of the command line in Hydra's grammar, extended by every letter and sign that it lacks.

    Raises:
        ConfigError: it cannot be understood; the message says how to quote.
    """
    key, equals, value = override.partition("=")
    try:
        parsed = OverridesParser.create().parse_override(key + equals + _UNKNOWN_SIGN.sub(_hide, value))
    except (HydraException, RecursionError) as error:
        raise ConfigError(
            f"Cannot understand {override!r}: expected {expected}. Put single quotes around every text that holds "
            f"one of ( ) [ ] {{ }} , : = or a quote, and double quotes around the whole word: "
            f"\"{key}='a (b)'\", in a list \"{key}=['a (b)','c']\". A mapping with such names is written as JSON: "
            f"\"{key}='{{...}}'\"."
        ) from error
    return dataclasses.replace(parsed, _value=_show(parsed._value), input_line=override)


# Signs that Hydra's grammar knows in quotes only; they are spelled out while it reads a word.
_UNKNOWN_SIGN = re.compile(r"[^\x00-\x7f]|[;#~&<>!^`]")
_HIDDEN_SIGN = re.compile(r"zqU([0-9a-f]+)Uqz")


def _hide(sign: re.Match[str]) -> str:
    return f"zqU{ord(sign[0]):x}Uqz"


def _show(value: Any) -> Any:
    """Return a parsed value with the signs that `_hide` spelled out."""
    if isinstance(value, str):
        return _HIDDEN_SIGN.sub(lambda sign: chr(int(sign[1], 16)), value)
    if isinstance(value, QuotedString):
        return dataclasses.replace(value, text=_show(value.text))
    if isinstance(value, ChoiceSweep):
        return dataclasses.replace(value, list=_show(value.list))
    if isinstance(value, list):
        return [_show(item) for item in value]
    if isinstance(value, dict):
        return {_show(key): _show(item) for key, item in value.items()}
    return value


def _sort_raw(parts: _Overrides, key: str, value: str | None, extras: Collection[str]) -> None:
    if key == "hydra.run.dir":
        parts.run_dir = True
        parts.hydra.append(f"{key}={quote(value or '')}")
    elif key in extras:
        parts.extras[key] = value
    elif key in KEYS:
        parts.values[key] = value
    else:
        raise ConfigError(f"Unknown key {key!r}.{nearest_keys(key)}")


def _sort_parsed(parts: _Overrides, override: Override, extras: Collection[str], groups: Collection[str]) -> None:
    key = override.key_or_group
    text = override.input_line or key
    if override.is_sweep_override():
        raise ConfigError(
            f"{text!r} has several values, but one run takes one value. Write a list as [a,b], or train a grid with -m."
        )
    if key in extras:
        parts.extras[key] = override.value()
    elif key in ("job_name", "hydra.job.name"):
        parts.values["job_name"] = str(override.value())
        parts.hydra.append(f"hydra.job.name={quote(str(override.value()))}")
    elif key in groups or key.startswith(("hydra.", "hydra/")):
        parts.hydra.append(text)
    elif override.is_delete():
        parts.deleted.append(key)
    else:
        parts.values |= dict(flatten({ALIASES.get(key, key): override.value()}))


def _groups(config_dir: Path | None) -> set[str]:
    """Name the config groups: the folders of the package's tree and of the user's."""
    roots = [Path(__file__).resolve().parent.parent / "conf", *([config_dir] if config_dir else [])]
    folders = (
        path for root in roots for path in root.rglob("*") if path.is_dir() and not path.name.startswith(("_", "."))
    )
    names = {path.relative_to(root).as_posix() for path in folders for root in roots if path.is_relative_to(root)}
    return names | {MODEL_GROUP}


def _compose_tree(overrides: list[str], job_name: str, config_dir: Path | None, config_name: str) -> DictConfig:
    """Compose the tree with Hydra; return it unresolved, with its ``hydra`` node."""
    Plugins.instance().register(PackageTree)
    _store_heads(config_dir)
    GlobalHydra.instance().clear()
    options = {"job_name": job_name, "version_base": "1.3"}
    with (
        initialize_config_module(PACKAGE_TREE, **options)
        if config_dir is None
        else initialize_config_dir(str(config_dir.resolve()), **options)
    ):
        return compose(config_name.removesuffix(".yaml"), overrides=overrides, return_hydra_config=True)


def _store_heads(config_dir: Path | None) -> None:
    """Offer every registered head as ``model=<name>``; a file of that name in the user's tree is used instead."""
    store = ConfigStore.instance()
    store.repo.pop(MODEL_GROUP, None)
    for name, keys in model_groups().items():
        if config_dir is None or not (config_dir / MODEL_GROUP / f"{name}.yaml").is_file():
            node = OmegaConf.create()
            for key, value in keys.items():
                OmegaConf.update(node, key.removeprefix(f"{MODEL_GROUP}."), value)
            store.store(name=name, group=MODEL_GROUP, node=node)


def _complete_hydra(tree: DictConfig) -> dict[str, Any]:
    """Set what Hydra sets at run time, so that ``${hydra:...}`` resolves; return job name and chosen run directory."""
    raw = OmegaConf.to_container(tree.hydra.run, resolve=False)
    assert isinstance(raw, dict)
    with open_dict(tree):
        tree.hydra.job.num, tree.hydra.job.id = 0, "0"
    HydraConfig.instance().set_config(tree)
    run_dir = str(tree.hydra.run.dir)
    OmegaConf.set_readonly(tree.hydra, False)
    with open_dict(tree):
        # A fixed string: ``${now:...}`` must not give one run two names.
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


def _apply(parts: _Overrides, tree: DictConfig) -> list[str]:
    """Set and delete the overridden keys of the tree; return the keys that only the tree knows."""
    OmegaConf.set_struct(tree, False)
    OmegaConf.set_struct(tree.hydra, True)
    for key in parts.deleted:
        parent, _, last = key.rpartition(".")
        node = OmegaConf.select(tree, parent) if parent else tree
        if OmegaConf.is_dict(node) and last in node:
            del node[last]
    tree_only = []
    for name in sorted({key.rpartition(".")[0] for key in KEYS} - {""}):
        check_section(name, OmegaConf.select(tree, name))  # overrides would hide what is wrong
    for key, value in parts.values.items():
        if key not in KEYS:
            if OmegaConf.select(tree, key, throw_on_resolution_failure=False) is None:
                raise ConfigError(f"Unknown key {key!r}.{nearest_keys(key)}")
            tree_only.append(key)
        OmegaConf.update(tree, key, value, merge=False, force_add=True)
    return tree_only


def _one_paragraph(error: Exception) -> str:
    return " ".join(line.strip() for line in str(error).splitlines() if line.strip())
