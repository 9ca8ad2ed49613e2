"""Settings in words: the title of a key, of a value, and the settings in which several configs differ."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ctbench_core.config.keys import KEYS, KeyInfo
from ctbench_core.declared import metric_title
from ctbench_core.formatting import UNDEFINED

_TITLED = ("none", "default", "yes", "no", UNDEFINED)  # values that say nothing without their title
_SETTINGS, _LETTERS, _DIGITS = 3, 20, 3  # settings at most in a name; letters of a value, and digits of a number
_ABSENT = {"data.budget": "all"}  # what no value of a key means, where it is no default to look up
# Titles within names, shorter than those of fields; empty where the value says what it is.
_SHORT = {
    "training.learning_rate": "lr",
    "training.batch_size": "batch",
    "model.params.hidden_dims": "widths",
    "training.max_epochs": "epochs",
    "training.loss._target_": "",
    "training.loss.pos_weight": "class weight",
    "training.optimizer": "",
    "data.standardise": "",
    "model._target_": "",
    "model.inputs": "",
    "paths.data_root": "",
    "paths.manifest_dir": "folder",
    "data.auto_split.val_fraction": "held out",
    "data.kfold.fold": "fold",
}


def key_title(key: str) -> str:
    """Return the title of a config key, as in ``Learning rate``; of another name, the words of its last part."""
    if key in KEYS and KEYS[key].label:
        return KEYS[key].label
    words = key.removesuffix("._target_").rpartition(".")[2].replace("_", " ").strip()
    return words[:1].upper() + words[1:]


def words_for(key: str) -> tuple[str, ...]:
    """Return what people read for a config key, in small letters: its title, and its word within names, ``lr``."""
    return tuple(dict.fromkeys(filter(None, (key_title(key).lower(), _SHORT.get(key, "")))))


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
    """Write a setting as part of a name: ``lr 0.01``; of a path its last part, of a long text its beginning."""
    return _titled(key, _short_value(key, value))


def _titled(key: str, text: str) -> str:
    title = key_title(key).lower()
    return " ".join(filter(None, (title if text in _TITLED else _SHORT.get(key, title), text)))


def setting_texts(key: str, values: Sequence[Any]) -> list[str]:
    """Write the values of one setting as parts of names: whole where shorter texts of two values are equal."""
    written = [json.dumps(value) for value in values]
    for digits in range(_DIGITS, 2 * _DIGITS + 1):
        short = {text: _titled(key, _short_value(key, value, digits)) for text, value in zip(written, values)}
        if len(set(short.values())) == len(short):
            return [short[text] for text in written]
    return [_titled(key, value_text(key, value)) for value in values]


def _short_value(key: str, value: Any, digits: int = _DIGITS) -> str:
    if value is None:
        return _ABSENT.get(key, "default")
    if value == []:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.{digits}g}".replace("e-0", "e-")
    if key in KEYS and isinstance(value, str):
        value = title_of(KEYS[key], value)
    text = "-".join(map(str, value)) if isinstance(value, list) else str(value).rstrip("/").rpartition("/")[2]
    return text if len(text) <= _LETTERS else f"{text[: _LETTERS - 1]}…"


def differing_settings(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the values of each in which any differ, no more than distinguish all: ``budget 20, lr 0.01``."""
    keys = [key for key, value in settings[0].items() if any(other[key] != value for other in settings[1:])]
    texts = [""] * len(settings)
    for key in keys[:_SETTINGS]:
        own = setting_texts(key, [one[key] for one in settings])
        texts = [", ".join(filter(None, pair)) for pair in zip(texts, own)]
        if len(set(texts)) == len(texts):
            break
    return texts
