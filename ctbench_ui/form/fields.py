"""The form of all pages: every field's value is in the session, under its config key.

A page draws a field with `field`; `config()` reads all of them, drawn or not, into one Config. Widget bounds hold in
the browser only, so `config()` lets the core check every value again.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

import streamlit as st
import yaml

from ctbench_core.atomic import write_text
from ctbench_core.config import KEYS, Config, KeyInfo, changed_keys, get_key, set_key
from ctbench_core.errors import ConfigError, CtbenchError
from ctbench_core.runs import RunStore, read_config
from ctbench_ui.shared import datasets

T = TypeVar("T")

_RESTORED, _PENDING, _WRITTEN = "form.restored", "form.pending", "form.written"
_FILE = ".form.yaml"
_SAVED = ("model.", "training.", "utils.", *datasets.PREFIXES)


def outputs_root() -> Path:
    """Return the run store that this app works on."""
    return Path(os.environ.get("CTBENCH_OUTPUTS", "outputs"))


def restore() -> None:
    """Apply `fill_on_rerun`; begin a session with what was set last: the saved form, newest run, or data set."""
    st.session_state.update(st.session_state.pop(_PENDING, {}))
    if _RESTORED in st.session_state:
        return
    st.session_state[_RESTORED] = True
    root, used = outputs_root(), 0.0
    with contextlib.suppress(CtbenchError, OSError):  # an unreadable file is shown where the user opens it
        for run in RunStore(root).runs()[:1]:
            fill(run.config, lambda key: key.startswith(_SAVED) and not key.startswith("training.resume"))
            used = run.paths.config.stat().st_mtime
        if (root / _FILE).is_file() and (root / _FILE).stat().st_mtime > used:
            fill(read_config(root / _FILE), lambda key: key.startswith(_SAVED))
            used = (root / _FILE).stat().st_mtime
        for name in datasets.names(root)[:1]:
            if datasets.path_of(root, name).stat().st_mtime > used:
                open_dataset(name)


def save() -> None:
    """Save changed fields in the run store, so that a new session begins with them.

    A session reads the file only when it begins: two browsers never change each other's fields.
    """
    try:
        values = {key: value for key, value in changed_keys(config()).items() if key.startswith(_SAVED)}
        if values != st.session_state.setdefault(_WRITTEN, values):
            write_text(outputs_root() / _FILE, yaml.safe_dump(values, sort_keys=False, allow_unicode=True))
            st.session_state[_WRITTEN] = values
    except (CtbenchError, OSError):
        return  # the page shows a field that does not fit, and Start a store that cannot be written


def dataset_name() -> str | None:
    """Return the name of the saved data set with the values of the data fields; None without one."""
    try:
        return datasets.name_of(outputs_root(), config())
    except CtbenchError:
        return None


def open_dataset(name: str) -> None:
    """Fill the data fields from a saved data set.

    Raises:
        InputError: it cannot be read.
    """
    fill(datasets.load(outputs_root(), name), datasets.is_data_key)
    datasets.path_of(outputs_root(), name).touch()  # lists begin with the last opened


def save_dataset(name: str) -> None:
    """Save the data fields under a name.

    Raises:
        InputError: a field or the name is unusable.
    """
    datasets.save(outputs_root(), name, config())


def set_fields(values: Mapping[str, Any]) -> None:
    """Set the fields of some keys; call it before they are drawn."""
    st.session_state.update({key: _to_widget(KEYS[key], value) for key, value in values.items()})


def fill(source: Config, select: Callable[[str], bool] = lambda key: True) -> None:
    """Set the fields of the selected keys to a config's values; call it before they are drawn."""
    set_fields({key: get_key(source, key) for key in KEYS if select(key)})


def fill_on_rerun(source: Config, select: Callable[[str], bool] = lambda key: True) -> None:
    """Set fields as `fill` does, but when the page is next drawn: for buttons below the fields."""
    values = {key: _to_widget(info, get_key(source, key)) for key, info in KEYS.items() if select(key)}
    st.session_state[_PENDING] = st.session_state.get(_PENDING, {}) | values


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
    result.model.model_name = result.model._target_  # tables name a run by its present head
    return result


def field(key: str, label: str, **options: Any) -> Any:
    """Draw the field of a config key, with its tooltip and bounds, and return its value."""
    info = KEYS[key]
    return _WIDGETS[_kind(info)](info, label, _options(key) | options)


def choice_field(key: str, label: str, options: list[Any], **more: Any) -> Any:
    """Draw a config key as a select box of known values; ``accept_new_options`` lets others be typed."""
    widget, present = _options(key), st.session_state[key]
    choices = options if present in options or present is None else [present, *options]
    return st.selectbox(label, choices, **widget, **more)


def choices_field(key: str, label: str, options: list[str], **more: Any) -> list[str]:
    """Draw a config key as a list to choose from; an empty choice means null."""
    widget = _options(key)
    choices = [*options, *(value for value in st.session_state[key] if value not in options)]
    return st.multiselect(label, choices, **widget, **more)


def _options(key: str) -> dict[str, Any]:
    """Set a field to its default unless it has a value; return the options that all its widgets have."""
    st.session_state.setdefault(key, _to_widget(KEYS[key], KEYS[key].default))
    return {"key": key, "help": KEYS[key].tooltip, "persist_state": "session"}


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
    int: "whole numbers separated by commas, such as 1024, 512",
    float: "numbers separated by commas, such as 0.01, 1, 100",
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
        return parse_list(info.name, value, item, _NUMBERS[item])
    nullable = type(None) in get_args(info.annotation)
    if nullable and value in ("", []):
        return None
    return value.strip() if isinstance(value, str) else value


def parse_list(name: str, text: str, parse: Callable[[str], T], expected: str) -> list[T]:
    """Read typed values with commas, semicolons or spaces between.

    Raises:
        ConfigError: one cannot be parsed.
    """
    try:
        return [parse(part) for part in re.split("[;, ]+", text) if part]
    except ValueError:
        raise ConfigError(f"{name} is {text!r}; expected {expected}.") from None


def is_data_changed() -> bool:
    """Whether a data field of this session differs from its default."""
    return any(datasets.is_data_key(key) for key in _changed())


def is_changed(prefixes: tuple[str, ...]) -> bool:
    """Whether a field with a key of these prefixes differs from its default in this session."""
    return any(key.startswith(prefixes) for key in _changed())


def _changed() -> list[str]:
    state = st.session_state
    return [key for key, info in KEYS.items() if key in state and state[key] != _to_widget(info, info.default)]
