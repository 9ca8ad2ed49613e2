"""What a verb gets of its overrides, and how those of plain keys and values are read without Hydra.

Loading Hydra and composing with it takes a sixth of a second. What is not plain, or is at fault, is left to
`compose.py`, which gives the same config for what is read here.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ctbench_core.config import KEYS, Config, group_defaults, model_groups, set_keys
from ctbench_core.errors import ConfigError
from ctbench_core.overrides import is_raw

MODEL_GROUP = "model"
_TREE = Path(__file__).resolve().parent.parent / "conf" / "config.yaml"

_WORD = re.compile(r"(?!(?:true|false|null|nan|inf)$)[a-z_][\w./-]*", re.ASCII | re.IGNORECASE)
_WHOLE = re.compile(r"-?(?:0|[1-9]\d*)", re.ASCII)
_DECIMAL = re.compile(r"-?(?:0|[1-9]\d*)\.\d+|[1-9](?:\.\d+)?e-?[1-9]\d?", re.ASCII)
_CONSTANTS = {"true": True, "false": False, "null": None}


@dataclass(frozen=True)
class Composed:
    """A composed config.

    Attributes:
        overrides: values of the keys that the command line sets, without those of the tree.
        extras: values of the verb's own options.
        warnings: messages for the user.
        hydra_run_dir: the value of an override ``hydra.run.dir``.
    """

    config: Config
    overrides: dict[str, Any]
    extras: dict[str, Any]
    warnings: list[str]
    hydra_run_dir: str | None = None


def compose_plain(overrides: Sequence[str], job_name: str, extras: Collection[str]) -> Composed | None:
    """Compose overrides on the package's own tree; None where one is not plain, or does not fit its key."""
    values: dict[str, Any] = {}
    own: dict[str, Any] = {}
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or key == "job_name" or (key not in extras and key not in KEYS) or "${" in text or "?" in text:
            return None
        try:
            value = unquote(text) if is_raw(key) else _read(text)
        except ValueError:
            return None
        (own if key in extras else values)[key] = value
    if any(other.startswith(f"{key}.") for key in values for other in values):
        return None
    group = next(choice[MODEL_GROUP] for choice in _defaults() if MODEL_GROUP in choice)
    try:
        config = set_keys(Config(), {**group_defaults(group), **model_groups()[group], **values})
    except ConfigError:
        return None
    config.job_name, config.paths.run_dir = job_name, config.paths.run_dir or None
    return Composed(config, values, own, [])


def unquote(value: str) -> str | None:
    """Remove one pair of quotes that a shell may have left; read null as None."""
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
        return value[1:-1]
    return None if value in ("null", "") else value


def _read(text: str) -> Any:
    """Return a plain value, or a list of them, as Hydra's grammar reads it.

    Raises:
        ValueError: it is not plain.
    """
    if text.startswith("[") and text.endswith("]"):
        return [_read_one(item) for item in text[1:-1].split(",")]
    return _read_one(text)


def _read_one(text: str) -> Any:
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _WORD.fullmatch(text):
        return text
    if _WHOLE.fullmatch(text):
        return int(text)
    if _DECIMAL.fullmatch(text):
        return float(text)
    raise ValueError(text)


def _defaults() -> list[dict[str, str]]:
    """Return the groups that the package's tree chooses."""
    tree = yaml.safe_load(_TREE.read_text(encoding="utf-8"))
    return [choice for choice in tree["defaults"] if isinstance(choice, dict)]
