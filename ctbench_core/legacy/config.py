"""Read the config that the older system saved with a run, resolved and without that run's own output paths."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ctbench_core.config import KEYS, Config, check_yaml, flatten, from_mapping, nearest_keys, set_key
from ctbench_core.errors import ConfigError, InputError
from ctbench_core.legacy.folders import OldRun

_DATA_PATHS = tuple(name for name, info in KEYS.items() if name.startswith("paths.") and info.is_input)
_RESOLVER = re.compile(r"\$\{hydra:([\w.]+)\}")
_CALL = re.compile(
    r"\$\{[^{}]*?(:|\$)"
)  # a resolver's name ends with a colon; a name that is itself put together may be one
_NO_VALUE = "${a_value_that_is_not_read}"
_UNRESOLVED = object()


def read_old_config(run: OldRun, overrides: Mapping[str, Any] | None = None) -> tuple[Config, list[str]]:
    """Return an older run's config with overrides applied, and warnings.

    Raises:
        InputError: the file is not a config, or a value does not fit its key.
    """
    overrides = overrides or {}
    tree = _load(run)
    content, warnings = {}, []
    for key, value in _resolved_leaves(tree):
        if _is_setting(key):
            if value is _UNRESOLVED:
                warnings.append(
                    f"{key} refers to a value that no longer exists or to the environment of a machine, and is ignored."
                )
            else:
                content[key] = value
    config, unknown = from_mapping(content)
    warnings += [f"Unknown key {key!r} is ignored.{nearest_keys(key)}" for key in dict.fromkeys(unknown)]
    _locate_data(config, run, tree)
    for key, value in overrides.items():
        set_key(config, key, value)
    config.job_name = config.job_name if "job_name" in overrides else _job_name(run, tree)
    return config, warnings


def _is_setting(key: str) -> bool:
    """Whether a key says what a run trained; others say where and when it was written."""
    if key.startswith(("paths.", "hydra.")):
        return key in _DATA_PATHS
    return key not in KEYS or not KEYS[key].counts_for("run place")


def _load(run: OldRun) -> DictConfig:
    """Read the saved config together with Hydra's settings, which its interpolations may use."""
    try:
        texts = [_RESOLVER.sub(r"${hydra.\1}", check_yaml(run.config.read_text(encoding="utf-8")))]
        if run.hydra.is_file():
            texts.append(check_yaml(run.hydra.read_text(encoding="utf-8")))
        contents = [_without_resolvers(yaml.safe_load(text)) for text in texts]
        tree = OmegaConf.create(contents[0])
        if not isinstance(tree, DictConfig):
            raise ConfigError(f"{run.config} is not a run's config: expected a mapping.")
        if len(contents) > 1 and isinstance(contents[1], dict):
            tree["hydra"] = contents[1].get("hydra", {})
    except (OSError, RecursionError, ValueError, yaml.YAMLError, OmegaConfBaseException) as error:
        raise InputError(f"{run.config} cannot be read as a config: {error}") from error
    return tree


def _without_resolvers(content: Any) -> Any:
    """Replace values that call a resolver, such as ``${oc.env:NAME}``: somebody else's file must not read this machine's environment."""
    if isinstance(content, dict):
        return {key: _without_resolvers(value) for key, value in content.items()}
    if isinstance(content, list):
        return [_without_resolvers(value) for value in content]
    return _NO_VALUE if isinstance(content, str) and _CALL.search(content) else content


def _resolved_leaves(tree: DictConfig) -> Iterator[tuple[str, Any]]:
    """Yield every leaf by its dotted name; `_UNRESOLVED` for a value that cannot be resolved."""
    raw = OmegaConf.to_container(tree, resolve=False)
    assert isinstance(raw, dict)
    for key, written in flatten(raw):
        if written is None and key not in KEYS:
            continue  # an empty section
        try:
            value = OmegaConf.select(tree, key, throw_on_missing=True)
            yield key, OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
        except OmegaConfBaseException:
            yield key, _UNRESOLVED


def _hydra_setting(tree: DictConfig, key: str) -> Any:
    try:
        return OmegaConf.select(tree, key)
    except OmegaConfBaseException:
        return None


def _job_name(run: OldRun, tree: DictConfig) -> str:
    return str(_hydra_setting(tree, "hydra.job.name") or run.root.parent.name or "train")


def _locate_data(config: Config, run: OldRun, tree: DictConfig) -> None:
    """Make relative data folders valid here: look in the run's working folder, then in the parents of its outputs."""
    working = Path(str(_hydra_setting(tree, "hydra.runtime.cwd") or "."))
    for key in _DATA_PATHS:
        name = key.removeprefix("paths.")
        written = Path(getattr(config.paths, name))
        if written.exists():
            continue
        candidates = (folder / written for folder in (working, *run.root.resolve().parents))
        existing = next((path for path in candidates if path.exists()), None)
        if existing is not None:
            setattr(config.paths, name, str(existing))
