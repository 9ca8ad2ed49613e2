"""Settings of the API: the dotted keys of the command line, as a mapping."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ctbench_core.config import Config, group_defaults, set_keys
from ctbench_core.studies import GROUP, expand_keys


def with_settings(config: Config, settings: Mapping[str, Any] | None) -> Config:
    """Return a copy of a config with settings applied, as the command line applies ``key=value``.

    Args:
        settings: values by dotted key; ``model`` chooses a head, with its defaults for keys that are not given.

    Raises:
        ConfigError: a key is unknown, or a value does not fit it.
    """
    given = expand_keys(settings or {})
    changed = set_keys(config.copy(), given)
    if settings and GROUP in settings:
        defaults = group_defaults(changed.model._target_)
        set_keys(changed, {key: value for key, value in defaults.items() if key not in given})
    return changed
