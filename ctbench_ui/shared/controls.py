"""Controls that several pages draw: tabs, text and path fields, tables of rows to select, lists of rows to edit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, Literal

import pandas as pd
import streamlit as st

from ctbench_ui.frame import address
from ctbench_ui.pages import tab_titles
from ctbench_ui.shared.feedback import show_errors

_KEEP: dict[str, Any] = {"persist_state": "session"}
_SET = "controls.set"


def set_value(key: str, value: Any) -> None:
    """Set the value of a widget before it is drawn, one with a default too: see `default_of`."""
    st.session_state[key] = value
    st.session_state.setdefault(_SET, set()).add(key)


def default_of(key: str, value: Any) -> Any:
    """Return the default of a widget, but None right after `set_value`: Streamlit warns where a widget has both."""
    pending: set[str] = st.session_state.get(_SET, set())
    if key not in pending:
        return value
    pending.remove(key)
    return None


def draw_tabs(contents: Mapping[str, Callable[[], Any]], key: str, error_title: str | None = None) -> None:
    """Draw tabs by title; only the open one costs time, and the address says which it is.

    Args:
        contents: what to draw by title; the titles and their order are declared with the page.
        key: of the tabs, as the page declares it.
        error_title: shows an error of the core in its tab, under this title.
    """
    if undeclared := set(contents) - set(tab_titles(key)):
        raise ValueError(f"{key} has no tab {undeclared}: declare it in ctbench_ui/pages.py")
    titles = [title for title in tab_titles(key) if title in contents]
    if linked := address.linked_tab(key, titles):
        st.session_state.setdefault(key, linked)
    for title, tab in zip(titles, st.tabs(titles, on_change="rerun", **address.bound(key, titles))):
        if tab.open:
            with tab, show_errors(error_title) if error_title else nullcontext():
                contents[title]()


def text_field(key: str, label: str, help: str, placeholder: str = "", default: str = "") -> str:
    """Draw a text field that keeps its value for the session, and return what it holds, stripped."""
    st.session_state.setdefault(key, default)
    return str(st.text_input(label, key=key, help=help, placeholder=placeholder, **_KEEP) or "").strip()


def path_field(key: str, label: str, offered: Sequence[str], help: str | None = None) -> str:
    """Draw a field for a path, typed or one of those offered, and return it; empty while it is blank."""
    present = st.session_state.setdefault(key, None)
    options = [*offered] if present is None or present in offered else [present, *offered]
    path = st.selectbox(
        label, options, key=key, help=help, accept_new_options=True, placeholder="Type a path or choose", **_KEEP
    )
    return str(path or "").strip()


def select_rows(
    frame: pd.DataFrame,
    ids: Sequence[str],
    key: str,
    columns: Mapping[str, Any],
    alt: str,
    selected: Sequence[int] = (),
    mode: Literal["multi-row", "single-row"] = "multi-row",
    height: Literal["auto", "stretch"] | int = "auto",
    by_cell: bool = False,
) -> list[int]:
    """Draw a table of rows to select; return the positions of the selected ones.

    The key depends on the ids: a selection is a position, which must not pass to another row when rows change.

    Args:
        by_cell: a click on a cell selects its row alone, as long as no check box is.
    """
    event = st.dataframe(
        frame,
        hide_index=True,
        key=_table_key(key, ids),
        column_config=columns,
        on_select="rerun",
        selection_mode=[mode, "single-cell"] if by_cell else mode,
        height=height,
        selection_default={"selection": {"rows": list(selected)}},
        lazy=False,
        placeholder="",
        alt=alt,
    )
    return _selected_rows(event, ids)


def rows_selected(ids: Sequence[str], key: str, selected: Sequence[int] = ()) -> list[int]:
    """Return what `select_rows` will return, before it draws the table."""
    event = st.session_state.get(_table_key(key, ids))
    return list(selected) if event is None else _selected_rows(event, ids)


def _table_key(key: str, ids: Sequence[str]) -> str:
    return f"{key}-{hash(tuple(ids)) & 0xFFFFFFFF:x}"


def _selected_rows(event: Any, ids: Sequence[str]) -> list[int]:
    selection = event["selection"]
    rows = selection["rows"] or [row for row, _ in selection.get("cells", [])]
    return [row for row in rows if row < len(ids)]


def edit_rows(key: str, prefix: str, title: Callable[[Any], str], draw_new: Callable[[], Callable[[], Any]]) -> None:
    """Draw a list of rows in the session, each with *Remove*, and the line that adds one.

    Args:
        key: the session's key of the list, or of a mapping, whose rows are its pairs.
        prefix: how the keys of the buttons begin.
        title: writes a row as text.
        draw_new: draws the fields of a new row; returns what reads them, which gives None while they are incomplete.
    """
    rows = _rows(st.session_state.setdefault(key, []))
    for place, row in enumerate(rows):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption(title(row))
            rest = [*rows[:place], *rows[place + 1 :]]
            remove = f"{prefix}-remove-{place}"
            st.button("Remove", key=remove, type="tertiary", icon=":material/close:", on_click=_set, args=(key, rest))
    with st.container(horizontal=True, vertical_alignment="bottom"):
        read = draw_new()
        st.button("Add", key=f"{prefix}-add", on_click=_append, args=(key, read))


def _rows(value: list[Any] | dict[str, Any]) -> list[Any]:
    return list(value.items()) if isinstance(value, dict) else list(value)


def _set(key: str, rows: list[Any]) -> None:
    st.session_state[key] = dict(rows) if isinstance(st.session_state[key], dict) else rows


def _append(key: str, read: Callable[[], Any]) -> None:
    if (row := read()) is not None:
        _set(key, [*_rows(st.session_state[key]), row])
