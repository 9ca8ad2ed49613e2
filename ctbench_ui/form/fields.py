"""The form of all pages: every field's value is in the session, under its config key.

A page draws a field with `field`; `config()` reads all of them, drawn or not, into one Config. Widget bounds hold in
the browser only, so `config()` lets the core check every value again.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

import streamlit as st
import yaml

from ctbench_core.atomic import write_text
from ctbench_core.config import KEYS, Config, KeyInfo, changed_keys, dump_yaml, from_mapping, get_key, set_key, title_of
from ctbench_core.declared import HEADS
from ctbench_core.errors import ConfigError, CtbenchError, DamagedFile
from ctbench_core.runs import app_store
from ctbench_core.stored import read_file
from ctbench_ui.form import browser
from ctbench_ui.shared import datasets

T = TypeVar("T")

_SOURCE, _BASE, _PENDING, _WRITTEN = "form.source", "form.base", "form.pending", "form.written"
_DEFAULTS = "Default settings"
# The values that heads have as defaults of a key, in the form of its field.
_ALL_HEAD_DEFAULTS = {
    key: [head.defaults[key] for head in HEADS.values() if key in head.defaults]
    for key in dict.fromkeys(key for head in HEADS.values() for key in head.defaults)
}


def outputs_root() -> Path:
    """Return the run store that this app works on."""
    return app_store()


def restore() -> None:
    """Apply `fill_on_rerun`; begin a session with what this browser last set here, else with defaults.

    Runs of studies and of the command line change no field, nor do other browsers.
    """
    if pending := st.session_state.pop(_PENDING, {}):
        st.session_state.update(pending)
        if _SOURCE in pending:
            _note_source(pending[_SOURCE])
    if _SOURCE in st.session_state:
        return
    try:
        # It holds what differed from the defaults, so what it lacks is at today's, unlike in a stored run. The next
        # change replaces a damaged file.
        file = browser.settings_file(outputs_root())
        config = read_file(file, lambda text: from_mapping(yaml.safe_load(text))[0])
    except (DamagedFile, FileNotFoundError):
        _note_source(_DEFAULTS + _open_last_dataset())
    else:
        fill(config, _is_saved)
        last = "of this browser's last session"
        _note_source(f"Settings {last}" if can_reset() else f"{_DEFAULTS}, data {last}")
    st.session_state[_WRITTEN] = _saved_values()  # a browser that only looks sets nothing


def _open_last_dataset() -> str:
    """Choose the data set that was last opened in the store, where there is one; return how the source names it."""
    for name in datasets.names(outputs_root()):
        with contextlib.suppress(CtbenchError):
            fill(datasets.load(outputs_root(), name), lambda key: KEYS[key].is_input)
            return f", data set {name}"
    return ""


def _note_source(text: str) -> None:
    st.session_state.update({_SOURCE: text, _BASE: _saved_values()})


def settings_source() -> str:
    """Say where the settings of this session come from, and whether they were changed since."""
    text = str(st.session_state.get(_SOURCE, _DEFAULTS))
    return f"{text}, changed" if is_changed_here() else text


def is_changed_here() -> bool:
    """Whether a setting differs from what `settings_source` names."""
    try:
        return _saved_values() != st.session_state.get(_BASE, {})
    except CtbenchError:  # a field that does not fit
        return True


def can_reset() -> bool:
    """Whether a setting of a run, which is none of its data, differs from its default."""
    return any(_is_saved(key) and not KEYS[key].is_input for key in _changed())


def reset() -> None:
    """Set the settings of a run to their defaults; its data stay. Call it before the fields are drawn."""
    set_fields({key: info.default for key, info in KEYS.items() if _is_saved(key) and not info.is_input})
    apply_head_defaults()
    _note_source(_DEFAULTS)


def _is_saved(key: str) -> bool:
    """Whether a new session begins with a key's last value: all that pages show but a run's own places and name."""
    info = KEYS[key]
    place = key.startswith("paths.") or info.scope == "place" or key == "logging.run_name"
    return info.is_input or not (place or info.command_line_only)


def _saved_values() -> dict[str, Any]:
    return {key: value for key, value in changed_keys(config()).items() if _is_saved(key)}


def save() -> None:
    """Save changed fields in the run store, so that this browser's next session begins with them.

    A session reads the file only when it begins: two tabs never change each other's fields.
    """
    try:
        values = _saved_values()
        if values != st.session_state.get(_WRITTEN, {}):
            file = browser.settings_file(outputs_root())
            write_text(file, dump_yaml(values))
            st.session_state[_WRITTEN] = values
    except (CtbenchError, OSError):
        return  # the page shows a field that does not fit, and Start a store that cannot be written


def dataset_name() -> str | None:
    """Return the name of the saved data set with the values of the data fields; None without one."""
    try:
        present = config()
        for key, value in _head_defaults().items():  # a data set is the same whatever head it is used with
            if get_key(present, key) == value:
                set_key(present, key, KEYS[key].default)
        return datasets.name_of(outputs_root(), present) or datasets.name_of(outputs_root(), config())
    except CtbenchError:
        return None


def open_dataset(name: str) -> None:
    """Fill the data fields from a saved data set.

    Raises:
        InputError: it cannot be read.
    """
    fill(datasets.load(outputs_root(), name), lambda key: KEYS[key].is_input)
    set_fields({key: value for key, value in _head_defaults().items() if _is_default(key)})
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


def apply_head_defaults() -> None:
    """Set the defaults of the chosen head, also where another head's had been set; what a user has set stays."""
    own = _head_defaults()
    for key, values in _ALL_HEAD_DEFAULTS.items():
        if _is_default(key) or st.session_state[key] in values:
            set_fields({key: own.get(key, KEYS[key].default)})


def _head_defaults() -> Mapping[str, Any]:
    head = HEADS.get(HEADS.canonical(st.session_state.get("model._target_", KEYS["model._target_"].default)))
    return head.defaults if head else {}


def _is_default(key: str) -> bool:
    default = _to_widget(KEYS[key], KEYS[key].default)
    return bool(st.session_state.get(key, default) == default)


def fill(source: Config, select: Callable[[str], bool] = lambda key: True) -> None:
    """Set the fields of the selected keys to a config's values; call it before they are drawn."""
    set_fields({key: get_key(source, key) for key in KEYS if select(key)})


def fill_on_rerun(source: Config, select: Callable[[str], bool] = lambda key: True, origin: str = "") -> None:
    """Set fields as `fill` does, but when the page is next drawn: for buttons below the fields.

    Args:
        origin: what `settings_source` then says, such as ``Settings from run mlp 3``.
    """
    values = {key: _to_widget(info, get_key(source, key)) for key, info in KEYS.items() if select(key)}
    values |= {_SOURCE: origin} if origin else {}
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


def field(key: str, label: str = "", **options: Any) -> Any:
    """Draw the field of a config key with its label, tooltip, step and bounds, and return its value."""
    info = KEYS[key]
    return _WIDGETS[_kind(info)](info, label or info.label, _options(key) | options)


def choice_field(key: str, label: str, options: list[Any], **more: Any) -> Any:
    """Draw a config key as a select box of known values; ``accept_new_options`` lets others be typed."""
    widget = _options(key)
    present = st.session_state[key] = st.session_state[key] or None  # a text field would hold an empty text
    choices = options if present in options or present is None else [present, *options]
    return st.selectbox(label, choices, **widget | more)


def choices_field(key: str, label: str, options: list[str], **more: Any) -> list[str]:
    """Draw a config key as a list to choose from; an empty choice means null."""
    widget = _options(key)
    choices = [*options, *(value for value in st.session_state[key] if value not in options)]
    return st.multiselect(label, choices, **widget | more)


def _options(key: str) -> dict[str, Any]:
    """Set a field to its default unless it has a value; return the options that all its widgets have."""
    st.session_state.setdefault(key, _to_widget(KEYS[key], KEYS[key].default))
    return {"key": key, "help": KEYS[key].tooltip, "persist_state": "session"}


def _kind(info: KeyInfo) -> str:
    if info.choices:
        return "few" if sum(len(title_of(info, choice)) + _PADDING for choice in info.choices) <= _FITTING else "many"
    if info.registry:
        return "registered"
    item = _item_type(info)
    if item is not None:
        return "names" if item is str else "text"
    kinds = [kind for kind in (get_args(info.annotation) or (info.annotation,)) if kind is not type(None)]
    if kinds[0] is bool and type(None) in get_args(info.annotation):
        return "automatic"
    return {bool: "bool", int: "int", float: "float"}.get(kinds[0], "text")


def _choose(info: KeyInfo, label: str, options: dict[str, Any], draw: Callable[..., Any], **more: Any) -> Any:
    return draw(label, info.choices, **{"format_func": lambda value: title_of(info, value)} | more | options)


def _number(info: KeyInfo, label: str, options: dict[str, Any]) -> Any:
    kind = int if _kind(info) == "int" else float
    given: dict[str, Any] = {name: kind(info.bounds[bound]) for name, bound in _BOUNDS.items() if bound in info.bounds}
    if info.step:
        given["step"] = kind(info.step)
    return st.number_input(label, **given | {"placeholder": info.placeholder or None} | options)


# Items of lists that are typed as text, and what is expected of them.
_NUMBERS = {
    int: "whole numbers separated by commas, such as 1024, 512",
    float: "numbers separated by commas, such as 0.01, 1, 100",
}
_BOUNDS = {"min_value": "low", "max_value": "high"}
# Letters beside a title, and those of a control that fits a third of a narrow page; wider choices are select boxes.
_PADDING, _FITTING = 4, 22
_AUTOMATIC = {None: "automatic", True: "yes", False: "no"}

_WIDGETS: dict[str, Callable[[KeyInfo, str, dict[str, Any]], Any]] = {
    "few": lambda info, label, options: _choose(info, label, options, st.segmented_control, required=True),
    "many": lambda info, label, options: _choose(info, label, options, st.selectbox),
    "registered": lambda info, label, options: st.selectbox(
        label,
        [*([""] if info.default is None else []), *info.registry],
        **{"format_func": lambda value: title_of(info, value) if value else "none"} | options,
    ),
    "automatic": lambda info, label, options: st.selectbox(
        label, list(_AUTOMATIC), format_func=_AUTOMATIC.__getitem__, **options
    ),
    "bool": lambda info, label, options: st.toggle(label, **options),
    "int": _number,
    "float": lambda info, label, options: _number(info, label, {"format": "%g"} | options),
    "names": lambda info, label, options: choices_field(
        info.name, label, [], accept_new_options=True, placeholder=info.placeholder or "None"
    ),
    "text": lambda info, label, options: st.text_input(label, **{"placeholder": info.placeholder or None} | options),
}


def _item_type(info: KeyInfo) -> type | None:
    """Return the item type of a list key, else None."""
    kinds = (info.annotation, *get_args(info.annotation))
    return next((get_args(kind)[0] for kind in kinds if get_origin(kind) is list), None)


def _to_widget(info: KeyInfo, value: Any) -> Any:
    item = _item_type(info)
    if item in _NUMBERS and not isinstance(value, str):
        return ", ".join(f"{number:g}" for number in value or [])
    if item is str and not isinstance(value, str):
        return list(value or [])
    if value is None and _kind(info) in ("text", "registered"):
        return ""
    return value


def _from_widget(info: KeyInfo, value: Any) -> Any:
    item = _item_type(info)
    if item in _NUMBERS and isinstance(value, str):
        with contextlib.suppress(ConfigError) if str in get_args(info.annotation) else contextlib.nullcontext():
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
    return any(KEYS[key].is_input for key in _changed())


def changed_titles(keys: Sequence[str]) -> list[str]:
    """Return what those of some keys that differ from their default are set to: ``Label budget 20``, or their label alone."""
    texts = []
    for key in (key for key in _changed() if key in keys):
        value = st.session_state[key]
        is_plain = isinstance(value, (str, int, float)) and not isinstance(value, bool) and value != ""
        texts.append(f"{KEYS[key].label} {title_of(KEYS[key], value)}" if is_plain else KEYS[key].label)
    return texts


def _changed() -> list[str]:
    state = st.session_state
    defaults = {key: _to_widget(info, info.default) for key, info in KEYS.items() if key in state}
    return [key for key, default in defaults.items() if _or_none(state[key]) != _or_none(default)]


def _or_none(value: Any) -> Any:
    """Return the value of a field; a select box without a choice holds None where a text field has an empty text."""
    return None if isinstance(value, str) and not value else value
