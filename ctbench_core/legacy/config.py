"""The config that the older system saved with a run, as ours: resolved, and without the places of that run."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ctbench_core.config import KEYS, Config, from_mapping, nearest_keys, set_key
from ctbench_core.errors import ConfigError, InputError
from ctbench_core.legacy.folders import OldRun

# What belongs to the place and the moment of the older run, and not to what it trained.
_PLACES = ("paths.", "training.resume.", "hydra.")
_KEPT = ("paths.data_root", "paths.manifest_dir")
_RESOLVER = re.compile(r"\$\{hydra:([\w.]+)\}")


def read_old_config(run: OldRun, given: Mapping[str, Any] | None = None) -> tuple[Config, list[str]]:
    """Return an older run's config and what is to be said about it; ``given`` keys are laid over it.

    Raises:
        InputError: the file is no config, or a value does not fit its key.
    """
    tree = _load(run)
    content, warnings = {}, []
    for key, value in _resolved(tree):
        if key in _KEPT or not key.startswith(_PLACES):
            if value is _UNRESOLVED:
                warnings.append(f"{key} refers to what is not there any more, and is left out.")
            else:
                content[key] = value
    config, unknown = from_mapping(content)
    warnings += [f"Unknown key {key!r} is ignored.{nearest_keys(key)}" for key in dict.fromkeys(unknown)]
    _find_data(config, run, tree)
    for key, value in (given or {}).items():
        set_key(config, key, value)
    config.job_name = config.job_name if "job_name" in (given or {}) else _job_name(run, tree)
    return config, warnings


def _load(run: OldRun) -> DictConfig:
    """Read the saved config with Hydra's own settings beside it, for interpolations that ask for them."""
    try:
        texts = [_RESOLVER.sub(r"${hydra.\1}", run.config.read_text(encoding="utf-8"))]
        if run.hydra.is_file():
            texts.append(run.hydra.read_text(encoding="utf-8"))
        contents = [yaml.safe_load(text) for text in texts]
        tree = OmegaConf.create(contents[0])
        if not isinstance(tree, DictConfig):
            raise ConfigError(f"{run.config} holds no mapping. It is not the config of a run.")
        if len(contents) > 1 and isinstance(contents[1], dict):
            tree["hydra"] = contents[1].get("hydra", {})
    except (OSError, ValueError, yaml.YAMLError, OmegaConfBaseException) as error:
        raise InputError(f"{run.config} is no readable config: {error}") from error
    return tree


_UNRESOLVED = object()


def _resolved(tree: DictConfig) -> Iterator[tuple[str, Any]]:
    """Yield every leaf by its dotted name; what cannot be resolved any more as `_UNRESOLVED`."""
    raw = OmegaConf.to_container(tree, resolve=False)
    assert isinstance(raw, dict)
    for key in _leaves(raw):
        try:
            value = OmegaConf.select(tree, key, throw_on_missing=True)
            yield key, OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
        except OmegaConfBaseException:
            yield key, _UNRESOLVED


def _leaves(content: Mapping[Any, Any], prefix: str = "") -> Iterator[str]:
    for part, value in content.items():
        name = f"{prefix}{part}"
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{name}.")
        elif value is not None or name in KEYS:  # an empty section says nothing
            yield name


def _job_name(run: OldRun, tree: DictConfig) -> str:
    try:
        name = OmegaConf.select(tree, "hydra.job.name")
    except OmegaConfBaseException:
        name = None
    return str(name or run.root.parent.name or "train")


def _find_data(config: Config, run: OldRun, tree: DictConfig) -> None:
    """Point relative data folders to where they are: here, in the run's working folder, or beside its outputs."""
    try:
        working = [Path(str(OmegaConf.select(tree, "hydra.runtime.cwd") or "."))]
    except OmegaConfBaseException:
        working = []
    for key in _KEPT:
        name = key.removeprefix("paths.")
        written = Path(getattr(config.paths, name))
        if written.exists():
            continue
        found = next(
            (base / written for base in (*working, *run.root.resolve().parents) if (base / written).exists()), None
        )
        if found is not None:
            setattr(config.paths, name, str(found))
