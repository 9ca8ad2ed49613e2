"""Rows of fields that grow: the last row is blank, and becomes one of the list when it is filled.

Every field of a row keeps its value in the session, under ``<list>.<row>.<field>``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import streamlit as st

Row = Mapping[str, Any]


def field_key(name: str, row: int, field: str) -> str:
    """Return the session's key of a field."""
    return f"{name}.{row}.{field}"


def read(name: str, fields: Sequence[str], needed: str) -> list[dict[str, Any]]:
    """Return the rows of a list whose needed field is filled."""
    state = st.session_state
    rows = [{field: state.get(field_key(name, row, field)) for field in fields} for row in range(_count(name))]
    return [row for row in rows if row[needed]]


def write(name: str, fields: Sequence[str], rows: Sequence[Row]) -> None:
    """Set the rows of a list; call it before they are drawn."""
    state = st.session_state
    for number in range(max(_count(name), len(rows) + 1)):
        for field in fields:
            key = field_key(name, number, field)
            state.pop(key, None)
            if number < len(rows) and rows[number].get(field) is not None:
                state[key] = rows[number][field]
    state[f"{name}.count"] = len(rows) + 1


def draw(name: str, fields: Sequence[str], needed: str, draw_row: Callable[[int, bool], None]) -> None:
    """Draw the rows of a list, each with *Remove*, and a blank one.

    Args:
        draw_row: draws the fields of a row, by its number; whether it is the blank one.
    """
    state = st.session_state
    if state.get(field_key(name, _count(name) - 1, needed)):
        state[f"{name}.count"] = _count(name) + 1
    for row in range(_count(name)):
        is_blank = row == _count(name) - 1
        with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
            draw_row(row, is_blank)
            if not is_blank:
                help_ = "Remove this row"
                st.button(
                    "",
                    icon=":material/close:",
                    key=f"{name}-remove-{row}",
                    type="tertiary",
                    help=help_,
                    on_click=_remove,
                    args=(name, fields, row),
                )


def _count(name: str) -> int:
    return int(st.session_state.get(f"{name}.count", 1))


def _remove(name: str, fields: Sequence[str], row: int) -> None:
    state = st.session_state
    rows = [
        {field: state.get(field_key(name, number, field)) for field in fields} for number in range(_count(name) - 1)
    ]
    write(name, fields, [*rows[:row], *rows[row + 1 :]])
