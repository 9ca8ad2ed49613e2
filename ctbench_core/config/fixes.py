"""Apply a fix that an error offers to a config."""

from __future__ import annotations

from typing import Any

from ctbench_core.config.keys import Config, get_key, set_key
from ctbench_core.errors import Fix

_METADATA = "data.columns.metadata"
_FINDINGS = ("data.columns.labels", "training.target_labels")


def apply_fix(config: Config, fix: Fix) -> None:
    """Set the keys of a fix; a mapping or a list is added to what a key has, and metadata are no findings."""
    for key, value in fix.values.items():
        set_key(config, key, _added(get_key(config, key), value))
    for key in _FINDINGS if _METADATA in fix.values else ():
        if named := get_key(config, key):
            set_key(config, key, [name for name in named if name not in fix.values[_METADATA]] or None)


def _added(present: Any, value: Any) -> Any:
    if isinstance(value, dict) and isinstance(present, dict):
        return present | value
    return list(dict.fromkeys([*present, *value])) if isinstance(value, list) and present else value
