"""Settings in words: the title of a key, of a value, and the settings in which several configs differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ctbench_core.config.keys import KEYS, KeyInfo
from ctbench_core.declared import metric_title
from ctbench_core.formatting import UNDEFINED

_SETTINGS, _LETTERS = 3, 24  # settings at most in a name, and letters of a value
_ABSENT = {"data.budget": "all"}  # what no value of a key means, where it is no default to look up


def key_title(key: str) -> str:
    """Return the title of a config key, as in ``Learning rate``; of another name, the words of its last part."""
    if key in KEYS and KEYS[key].label:
        return KEYS[key].label
    words = key.removesuffix("._target_").rpartition(".")[2].replace("_", " ").strip()
    return words[:1].upper() + words[1:]


def title_of(info: KeyInfo, value: Any) -> str:
    """Return the title of a registered value, as in ``MLP``; any other value as text."""
    registered = info.registry.get(info.registry.canonical(value)) if info.registry else None
    if registered:
        return str(registered.title)
    return metric_title(value) if info.name == "training.monitor" else str(value)


def value_text(key: str, value: Any) -> str:
    """Write the value of a key, whole: registered values by their titles, no value as a dash."""
    if value is None or value == []:
        return UNDEFINED
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return title_of(KEYS[key], value) if key in KEYS and isinstance(value, str) else str(value)


def setting_text(key: str, value: Any) -> str:
    """Write a setting as part of a name: ``learning rate 0.01``; of a path its last part, of a long text its beginning."""
    return f"{key_title(key).lower()} {_short_value(key, value)}"


def _short_value(key: str, value: Any) -> str:
    if value is None:
        return _ABSENT.get(key, "default")
    if value == []:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if key in KEYS and isinstance(value, str):
        value = title_of(KEYS[key], value)
    text = "-".join(map(str, value)) if isinstance(value, list) else str(value).rstrip("/").rpartition("/")[2]
    return text if len(text) <= _LETTERS else f"{text[: _LETTERS - 1]}…"


def differing_settings(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the values of each in which any differ, no more than distinguish all: ``budget 20, learning rate 0.01``."""
    keys = [key for key, value in settings[0].items() if any(other[key] != value for other in settings[1:])]
    texts = [""] * len(settings)
    for key in keys[:_SETTINGS]:
        texts = [", ".join(filter(None, [text, setting_text(key, one[key])])) for text, one in zip(texts, settings)]
        if len(set(texts)) == len(texts):
            break
    return texts
