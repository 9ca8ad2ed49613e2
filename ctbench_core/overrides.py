"""Write a config as command-line overrides, which the screen shows as the equivalent command of each shell."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Sequence
from typing import Any

from ctbench_core.config import KEYS, Config, apply_fix, changed_keys, get_key
from ctbench_core.errors import Fix
from ctbench_core.installation import program

# Options of verbs whose values are paths; config keys declare it themselves.
RAW_OPTIONS = frozenset(
    {"run", "embeddings", "root", "paper", "manifest", "output_file", "output_dir", "first", "second", "hydra.run.dir"}
)
RAW_SUFFIX = "_csv"
BASH, POWERSHELL = "bash", "PowerShell"
# What the grammar reads as text without quotes.
_PLAIN_NAME = re.compile(r"(?!(?:true|false|null|nan|inf)$)[a-z]\w*", re.ASCII | re.IGNORECASE)


def is_raw(key: str) -> bool:
    """Return whether an override's value is used unchanged after the first ``=``, because it is a path or file name."""
    return key in RAW_OPTIONS or key.endswith(RAW_SUFFIX) or (key in KEYS and KEYS[key].raw)


def to_overrides(config: Config, places: bool = True) -> list[str]:
    """Return the overrides that turn the default config into this one, one for each changed key.

    Args:
        places: with the keys that say where this one run lies.
    """
    return [
        _override(key, value) for key, value in changed_keys(config).items() if places or KEYS[key].scope != "place"
    ]


def fix_overrides(config: Config, fix: Fix) -> list[str]:
    """Return the overrides that apply a fix to this config."""
    fixed = config.copy()
    apply_fix(fixed, fix)
    values = {key: get_key(fixed, key) for key in fix.values}
    return [_override(key, value) for key, value in values.items()]


def _override(key: str, value: Any) -> str:
    if isinstance(value, str) and _PLAIN_NAME.fullmatch(value):
        return f"{key}={value}"
    return f"{key}={_raw(value) if is_raw(key) and value is not None else _value(value)}"


def to_command(config: Config, verb: str = "train", shell: str = BASH) -> str:
    """Return the command for a run with the same settings in a directory of its own, quoted for a shell."""
    words = [verb, *to_overrides(config, places=False)]
    command = " ".join([program(), *(quote_word(word, shell) for word in words)])
    needs_legacy = shell == POWERSHELL and any(_native(word) != word for word in words)
    # PowerShell 7 escapes quotes itself unless it is asked to pass them on as Windows PowerShell 5 does.
    return f"$PSNativeCommandArgumentPassing = 'Legacy'; {command}" if needs_legacy else command


def commands(config: Config, verb: str = "train") -> dict[str, str]:
    """Return `to_command` by shell, this system's first; one alone where both are the same."""
    own = own_shell()
    forms = {shell: to_command(config, verb, shell) for shell in (own, *({BASH, POWERSHELL} - {own}))}
    return forms if len(set(forms.values())) > 1 else {own: forms[own]}


def own_shell() -> str:
    """Return the shell that most people have on this system."""
    return POWERSHELL if os.name == "nt" else BASH


def quote_word(word: str, shell: str) -> str:
    """Quote one word of a command where a shell would change it."""
    if shell == BASH:
        return shlex.quote(word)
    if re.fullmatch(r"[\w./:=+\\-]+", word, re.ASCII):
        return word
    # PowerShell takes typographic quotes for straight ones.
    return "'" + re.sub("(['\u2018\u2019\u201a\u201b])", r"\1\1", _native(word)) + "'"


def _native(word: str) -> str:
    """Escape what Windows programs read as the end of a word: PowerShell 5 hands words on as they are."""
    escaped = re.sub(r'(\\*)"', r'\1\1\\"', word)
    return re.sub(r"(\\+)\Z", r"\1\1", escaped) if re.search(r"\s", word) else escaped


def _raw(path: str) -> str:
    """Write a path unchanged; quote one that would be read as null, or would lose its own quotes."""
    path = _escape_interpolation(path)
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
    if isinstance(value, dict):
        if all(_PLAIN_NAME.fullmatch(name) for name in value):
            return "{" + ",".join(f"{name}:{_value(item)}" for name, item in value.items()) + "}"
        return quote(_escape_interpolation(json.dumps(value, ensure_ascii=False)))  # the grammar allows no quoted name
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ",".join(_value(item) for item in value) + "]"
    return quote(_escape_interpolation(str(value)))


def _escape_interpolation(text: str) -> str:
    """Escape ``${``, which a config tree would replace by the value of another key."""
    return re.sub(r"(\\*)\$\{", r"\1\1\\${", text)


def quote(text: str) -> str:
    """Single-quote a string; in Hydra's grammar a backslash escapes only before a quote."""
    doubled = re.sub(r"(\\+)(?='|\Z)", r"\1\1", text)  # a backslash before a quote, or at the end, is doubled
    return "'" + doubled.replace("'", "\\'") + "'"
