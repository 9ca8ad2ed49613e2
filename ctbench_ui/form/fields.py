"""The form is the session: every field's value lies in the session under its config key.

A page draws a field with `field`; `config()` reads all of them, drawn or not, into one Config. Widget
bounds hold in the browser only, so `config()` lets the core check every value again.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_args

import streamlit as st
import yaml

from ctbench_core.atomic import write_text
from ctbench_core.config import KEYS, Config, KeyInfo, changed_keys, get_key, set_key
from ctbench_core.errors import ConfigError, CtbenchError
from ctbench_core.runs import RunStore, read_config
from ctbench_ui.shared import datasets

_RESTORED, _PENDING, _WRITTEN = "form.restored", "form.pending", "form.written"
_FILE = ".form.yaml"
_KEPT = ("model.", "training.", "utils.", *datasets.PREFIXES)


def outputs_root() -> Path:
    """Return the run store that this app works on."""
    return Path(os.environ.get("CTBENCH_OUTPUTS", "outputs"))


def restore() -> None:
    """Begin a session with what was set last: the kept form, the newest run, or the data set; apply `fill_next`."""
    st.session_state.update(st.session_state.pop(_PENDING, {}))
    if _RESTORED in st.session_state:
        return
    st.session_state[_RESTORED] = True
    root, used = outputs_root(), 0.0
    with contextlib.suppress(CtbenchError, OSError):  # what cannot be read shows where the user opens it
        for run in RunStore(root).runs()[:1]:
            fill(run.config, lambda key: key.startswith(_KEPT) and not key.startswith("training.resume"))
            used = run.paths.config.stat().st_mtime
        if (root / _FILE).is_file() and (root / _FILE).stat().st_mtime > used:
            fill(read_config(root / _FILE), lambda key: key.startswith(_KEPT))
            used = (root / _FILE).stat().st_mtime
        for name in datasets.names(root)[:1]:
            if datasets.path_of(root, name).stat().st_mtime > used:
                open_dataset(name)


def keep() -> None:
    """Keep the fields in the run store when they have changed, so that a new session begins with them.

    A session reads the file only when it begins: two browsers never change each other's fields.
    """
    try:
        kept = {key: value for key, value in changed_keys(config()).items() if key.startswith(_KEPT)}
        before = st.session_state.setdefault(_WRITTEN, kept)
        if kept != before:
            write_text(outputs_root() / _FILE, yaml.safe_dump(kept, sort_keys=False, allow_unicode=True))
            st.session_state[_WRITTEN] = kept
    except (CtbenchError, OSError):
        return  # a field that does not fit is told beside it; a store that cannot be written, when a run starts


def dataset_name() -> str | None:
    """Return the saved data set that the data fields spell; None when they spell none."""
    try:
        return datasets.name_of(outputs_root(), config())
    except CtbenchError:
        return None


def open_dataset(name: str) -> None:
    """Fill the data fields from a saved data set.

    Raises:
        InputError: it cannot be read.
    """
    saved = datasets.load(outputs_root(), name)
    fill(saved, datasets.is_data_key)
    datasets.path_of(outputs_root(), name).touch()  # the last opened comes first


def save_dataset(name: str) -> None:
    """Save the data fields under a name.

    Raises:
        InputError: a field or the name is unusable.
    """
    datasets.save(outputs_root(), name, config())


def fill(source: Config, wanted: Callable[[str], bool] = lambda key: True) -> None:
    """Set the fields of the wanted keys to a config's values; call it before they are drawn."""
    for key, info in KEYS.items():
        if wanted(key):
            st.session_state[key] = _to_widget(info, get_key(source, key))


def take(values: Mapping[str, Any]) -> None:
    """Set the fields of some keys; call it before they are drawn."""
    for key, value in values.items():
        st.session_state[key] = _to_widget(KEYS[key], value)


def fill_next(source: Config, wanted: Callable[[str], bool] = lambda key: True) -> None:
    """Set fields as `fill` does, but before the next run draws them: for buttons below the fields."""
    values = {key: _to_widget(info, get_key(source, key)) for key, info in KEYS.items() if wanted(key)}
    pending = st.session_state.get(_PENDING, {})
    st.session_state[_PENDING] = pending | values


def config() -> Config:
    """Read all fields into a config.

    Raises:
        ConfigError: a value does not fit its key.
    """
    result = Config()
    result.paths.outputs_root = str(outputs_root())
    for key, info in KEYS.items():
        if key in st.session_state:
            set_key(result, key, _from_widget(info, st.session_state[key]))
    result.model.model_name = result.model._target_  # tables call a run by the head it has now
    return result


def field(key: str, label: str, **options: Any) -> Any:
    """Draw the field of a config key, with its tooltip and bounds, and return its value."""
    info = KEYS[key]
    st.session_state.setdefault(key, _to_widget(info, info.default))
    draw = _WIDGETS[_kind(info)]
    return draw(info, label, {"key": key, "help": info.tooltip, "persist_state": "session"} | options)


def choice(key: str, label: str, options: list[Any], **more: Any) -> Any:
    """Draw a config key as a drop-down of known values; others may be typed where ``accept_new_options`` is set."""
    st.session_state.setdefault(key, _to_widget(KEYS[key], KEYS[key].default))
    present = st.session_state[key]
    known = options if present in options or present is None else [present, *options]
    return st.selectbox(label, known, key=key, help=KEYS[key].tooltip, persist_state="session", **more)


def choices(key: str, label: str, options: list[str], **more: Any) -> list[str]:
    """Draw a config key as a list to pick from; nothing picked means null."""
    st.session_state.setdefault(key, _to_widget(KEYS[key], KEYS[key].default))
    known = [*options, *(value for value in st.session_state[key] if value not in options)]
    return st.multiselect(label, known, key=key, help=KEYS[key].tooltip, persist_state="session", **more)


def _kind(info: KeyInfo) -> str:
    if info.choices:
        return "few" if len(info.choices) <= 4 else "many"
    if _is_list(info):
        return "text"
    kinds = [kind for kind in (get_args(info.annotation) or (info.annotation,)) if kind is not type(None)]
    return {bool: "bool", int: "int", float: "float"}.get(kinds[0], "text")


def _number(info: KeyInfo, label: str, options: dict[str, Any]) -> Any:
    kind = int if _kind(info) == "int" else float
    bounds: dict[str, Any] = {name: kind(info.bounds[bound]) for name, bound in _BOUNDS.items() if bound in info.bounds}
    return st.number_input(label, **bounds, **options)


# Items of lists that are typed as text, and what is expected of them.
_NUMBERS = {
    int: "whole numbers with commas between, such as 1024, 512",
    float: "numbers with commas between, such as 0.01, 1, 100",
}
_BOUNDS = {"min_value": "low", "max_value": "high"}

_WIDGETS: dict[str, Callable[[KeyInfo, str, dict[str, Any]], Any]] = {
    "few": lambda info, label, options: st.segmented_control(label, info.choices, required=True, **options),
    "many": lambda info, label, options: st.selectbox(label, info.choices, **options),
    "bool": lambda info, label, options: st.toggle(label, **options),
    "int": _number,
    "float": lambda info, label, options: _number(info, label, {"format": "%g"} | options),
    "text": lambda info, label, options: st.text_input(label, **options),
}


def _is_list(info: KeyInfo) -> type | None:
    """Return the item type of a list key, else None."""
    for kind in (info.annotation, *get_args(info.annotation)):
        if getattr(kind, "__origin__", None) is list:
            return get_args(kind)[0]
    return None


def _to_widget(info: KeyInfo, value: Any) -> Any:
    item = _is_list(info)
    if item in _NUMBERS and not isinstance(value, str):
        return ", ".join(f"{number:g}" for number in value or [])
    if item is str and not isinstance(value, str):
        return list(value or [])
    if value is None and _kind(info) == "text":
        return ""
    return value


def _from_widget(info: KeyInfo, value: Any) -> Any:
    item = _is_list(info)
    if item in _NUMBERS and str not in get_args(info.annotation) and isinstance(value, str):
        return _numbers(info, value, item)
    nullable = type(None) in get_args(info.annotation)
    if nullable and value in ("", []):
        return None
    return value.strip() if isinstance(value, str) else value


def _numbers(info: KeyInfo, text: str, item: type) -> list[float]:
    parts = text.replace(";", ",").replace(" ", ",").split(",")
    try:
        return [item(part) for part in parts if part]
    except ValueError:
        raise ConfigError(f"{info.name} is {text!r}; expected {_NUMBERS[item]}.") from None


def data_chosen() -> bool:
    """Whether a data field of this session differs from its default."""
    return any(datasets.is_data_key(key) for key in _changed())


def chosen(prefixes: tuple[str, ...]) -> bool:
    """Whether a field whose key begins so differs from its default in this session."""
    return any(key.startswith(prefixes) for key in _changed())


def _changed() -> list[str]:
    state = st.session_state
    return [key for key, info in KEYS.items() if key in state and state[key] != _to_widget(info, info.default)]
