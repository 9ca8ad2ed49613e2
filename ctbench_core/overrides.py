"""Write a config as command-line overrides, which the screen shows as the equivalent command."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from ctbench_core.config import Config, changed_keys

# Values of these keys are paths. They are used unchanged, so that no character of a path needs quoting.
RAW_PREFIXES = ("paths.",)
RAW_KEYS = frozenset(
    {"run", "embeddings", "output_file", "output_dir", "first", "second"}
    | {"hydra.run.dir", "training.resume.state_path", "data.selection", "data.reference"}
)
RAW_SUFFIX = "_csv"


def is_raw(key: str) -> bool:
    """Return whether an override's value is used unchanged after the first ``=``."""
    return key in RAW_KEYS or key.startswith(RAW_PREFIXES) or key.endswith(RAW_SUFFIX)


def to_overrides(config: Config) -> list[str]:
    """Return the overrides that turn the default config into this one, one for each changed key."""
    return [
        f"{key}={_raw(value) if is_raw(key) and value is not None else _value(value)}"
        for key, value in changed_keys(config).items()
    ]


def to_command(config: Config, verb: str = "train") -> str:
    """Return the equivalent command, quoted for a POSIX shell."""
    import shlex

    return " ".join(["python -m ctbench_core", verb, *(shlex.quote(override) for override in to_overrides(config))])


def _raw(path: str) -> str:
    """Write a path unchanged; quote one that would be read as null, or would lose its own quotes."""
    is_quoted = len(path) > 1 and path[0] == path[-1] and path[0] in "'\""
    return f"'{path}'" if is_quoted or path in ("null", "") else path


def _value(value: Any) -> str:
    """Write a value in Hydra's override grammar; strings are single-quoted."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, dict):  # the grammar allows no quoted key
        return "{" + ",".join(f"{k}:{_value(v)}" for k, v in value.items()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ",".join(_value(item) for item in value) + "]"
    return quote(str(value))


def quote(text: str) -> str:
    """Single-quote a string; in Hydra's grammar a backslash escapes only before a quote."""
    doubled = re.sub(r"(\\+)(?='|\Z)", r"\1\1", text)  # a backslash before a quote, or at the end, is doubled
    return "'" + doubled.replace("'", "\\'") + "'"
