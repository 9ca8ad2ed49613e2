"""Axes of a study over any config key: its values are picked where they are known, else typed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

import streamlit as st
import yaml

from ctbench_core.config import KEYS, KeyInfo, title_of
from ctbench_core.errors import ConfigError
from ctbench_core.studies import AXES
from ctbench_ui.studies import field_rows

_NAME, _FIELDS = "study.keys", ("key", "picked", "typed")
_KEEP: dict[str, Any] = {"persist_state": "session"}
_OWN = (*AXES.values(), "data.kfold.folds", "model._target_", "model.model_name")  # other fields of the form set them
OFFERED = [name for name, info in KEYS.items() if info.counts_for("identity") and name not in _OWN]


def read() -> dict[str, list[Any]]:
    """Return the values of each key that has any.

    Raises:
        ConfigError: typed values cannot be read, or a key is chosen twice.
    """
    axes: dict[str, list[Any]] = {}
    for row in field_rows.read(_NAME, _FIELDS, "key"):
        values = list(row["picked"] or []) if _known(KEYS[row["key"]]) else parse_values(str(row["typed"] or ""))
        if row["key"] in axes:
            raise ConfigError(f"{row['key']} is an axis twice. Remove one of its rows.")
        if values:
            axes[row["key"]] = values
    return axes


def write(axes: Sequence[tuple[str, Sequence[Any]]]) -> None:
    """Set the axes; call it before they are drawn. Keys that this version does not know are left out."""
    rows = [
        {"key": key, "picked": [value for value in values if value in _known(KEYS[key])]}
        if _known(KEYS[key])
        else {"key": key, "typed": write_values(values)}
        for key, values in axes
        if key in OFFERED
    ]
    field_rows.write(_NAME, _FIELDS, rows)


def draw() -> None:
    """Draw the axes, a row each."""

    def draw_row(row: int, is_blank: bool) -> None:
        key, picked, typed = (field_rows.field_key(_NAME, row, field) for field in _FIELDS)
        visibility: Any = "visible" if row == 0 else "collapsed"
        chosen = st.selectbox(
            "Another setting",
            OFFERED,
            index=None,
            key=key,
            placeholder="any key",
            format_func=_title,
            label_visibility=visibility,
            width=260,
            **_KEEP,
        )
        if is_blank or chosen is None:
            return
        info = KEYS[chosen]
        if known := _known(info):
            st.multiselect(
                "Values",
                known,
                key=picked,
                format_func=lambda value: _value_title(info, value),
                label_visibility=visibility,
                **_KEEP,
            )
        else:
            present = write_values([info.default])
            st.text_input(
                "Values",
                key=typed,
                placeholder=f"with commas between; now {present}" if present else "with commas between",
                help=info.tooltip,
                label_visibility=visibility,
                **_KEEP,
            )

    field_rows.draw(_NAME, _FIELDS, "key", draw_row)


def parse_values(text: str) -> list[Any]:
    """Read comma-separated values as YAML: numbers, words, lists in brackets.

    Raises:
        ConfigError: they cannot be read.
    """
    try:
        values = yaml.safe_load(f"[{text}]") or []
    except yaml.YAMLError as error:
        raise ConfigError(f"{text!r} cannot be read. Separate values with commas.") from error
    return [_number(value) for value in values]


def write_values(values: Sequence[Any]) -> str:
    """Write values as `parse_values` reads them."""
    text = yaml.safe_dump(list(values), default_flow_style=True, width=10_000, allow_unicode=True)
    return text.strip()[1:-1]


def _number(value: Any) -> Any:
    try:
        return float(value) if isinstance(value, str) else value  # YAML reads 1e-4 as text
    except ValueError:
        return value


def _known(info: KeyInfo) -> tuple[Any, ...]:
    kinds = (info.annotation, *get_args(info.annotation))
    return (True, False) if bool in kinds else info.known_values


def _title(key: str) -> str:
    label = KEYS[key].label
    return f"{label} · {key}" if label else key


def _value_title(info: KeyInfo, value: Any) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else title_of(info, value)
