"""Say when two configs are the same run: all keys that count for a run's identity have the same resolved value.

A run's id names its folder and never decides: what a folder holds is compared with its stored config.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from ctbench_core.atomic import dump_json
from ctbench_core.config import KEYS, Config, flatten, get_key, values_for
from ctbench_core.runs import RunPaths, read_config
from ctbench_core.stored import is_there, read_file

VERSION = 2  # of what the hash in an id covers; 1: the keys that differ from their defaults


def identity_text(config: Config) -> str:
    """Return a text that is equal for configs of the same run."""
    return dump_json(dict(sorted(values_for(config, "identity").items())))


def run_id(config: Config) -> str:
    """Return the id of a study's run: head, seed and the hash of its resolved identity, as ``mlp-s1-3f9a1c0b52de``."""
    content = f"{VERSION} {identity_text(config)}".encode()
    head = re.sub(r"\W", "", config.model._target_.rsplit(".", 1)[-1].lower())
    return f"{head}-s{config.utils.seed}-{hashlib.blake2b(content, digest_size=6).hexdigest()}"


def present_defaults() -> dict[str, Any]:
    """Return today's defaults of all keys that count for a run's identity, for a plan to keep."""
    return {name: info.default for name, info in KEYS.items() if info.counts_for("identity")}


def introduced_since(defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return, of keys that a plan's defaults do not know, what they meant before they existed: its new runs keep it.

    Empty where nothing has started: then today's defaults hold.
    """
    return {name: KEYS[name].introduced for name in present_defaults() if name not in defaults} if defaults else {}


def former_defaults(run_dirs: Iterable[Path], own_keys: Collection[str]) -> dict[str, Any]:
    """Return the defaults under which runs of an older plan were made, as the first that has started stored them.

    Args:
        own_keys: what the definition sets, so that the run does not show its default.
    """
    files = (RunPaths(folder).config for folder in run_dirs)
    started = next((file for file in files if is_there(file)), None)
    if started is None:
        return {}
    config = read_config(started)
    stored = dict(flatten(read_file(started, yaml.safe_load)))
    return {name: get_key(config, name) for name in present_defaults() if name in stored and name not in own_keys}
