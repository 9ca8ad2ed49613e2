"""Values of config keys other than their defaults, found by trying."""

from __future__ import annotations

import contextlib
from typing import Any

from ctbench_core.config import Config, KeyInfo, get_key, resolved, set_key
from ctbench_core.errors import ConfigError

_CONDITION = [{"column": "PatientSex", "op": "==", "value": "F"}]
_CANDIDATES: list[Any] = [True, False, 0.5, 0.25, 2, 3, "other", ["other"], [3], {"other": 1}, _CONDITION]


def other_value(info: KeyInfo) -> Any:
    """Return a value that a key accepts and that means something else than its default."""
    for value in [*info.known_values, *_CANDIDATES]:
        config = Config()
        with contextlib.suppress(ConfigError):
            set_key(config, info.name, value)
            converted = get_key(config, info.name)
            if resolved(info, converted) != resolved(info, info.default):
                return converted
    raise AssertionError(f"no other value found for {info.name}")
