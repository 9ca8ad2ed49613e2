"""A config as command-line words: what the screen shows as the equivalent command."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ctbench_core.config import Config, changed_keys

# Values of these keys are paths: they are taken as they stand, so that no character of a path needs quoting.
RAW_PREFIXES = ("paths.",)
RAW_KEYS = frozenset(
    {"run", "embeddings", "output_file", "output_dir", "first", "second"}
    | {"hydra.run.dir", "training.resume.state_path", "data.selection", "data.reference"}
)
RAW_SUFFIX = "_csv"


def is_raw(key: str) -> bool:
    """Whether a word's value is taken as it stands, after the first ``=``."""
    return key in RAW_KEYS or key.startswith(RAW_PREFIXES) or key.endswith(RAW_SUFFIX)


def to_overrides(config: Config) -> list[str]:
    """Return the words that turn the defaults into a config, one a changed key."""
    return [
        f"{key}={_raw(value) if is_raw(key) and value is not None else _value(value)}"
        for key, value in changed_keys(config).items()
    ]


def to_command(config: Config, verb: str = "train") -> str:
    """Return the equivalent command, quoted for a POSIX shell."""
    import shlex

    return " ".join(["python -m ctbench_core", verb, *(shlex.quote(word) for word in to_overrides(config))])


def _raw(path: str) -> str:
    """Write a path as it stands; quoted where it would be read as nothing, or lose quotes of its own."""
    quoted = len(path) > 1 and path[0] == path[-1] and path[0] in "'\""
    return f"'{path}'" if quoted or path in ("null", "") else path


def _value(value: Any) -> str:
    """Write a value in Hydra's override grammar; strings are single-quoted."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, dict):  # the grammar takes no quoted key
        return "{" + ",".join(f"{k}:{_value(v)}" for k, v in value.items()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ",".join(_value(item) for item in value) + "]"
    return _quoted(str(value))


def _quoted(text: str) -> str:
    """Single-quote a string; in this grammar a backslash escapes only before a quote."""
    parts = []
    backslashes = 0
    for character in text:
        if character == "'":
            parts.append("\\" * backslashes + "\\'")
            backslashes = 0
        elif character == "\\":
            parts.append(character)
            backslashes += 1
        else:
            parts.append(character)
            backslashes = 0
    return "'" + "".join(parts) + "\\" * backslashes + "'"
