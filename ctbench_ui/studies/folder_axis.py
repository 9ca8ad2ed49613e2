"""An axis of a study whose values are folders: encoders or label sources, a row each, with its check."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from ctbench_core.config import is_url, set_key
from ctbench_core.errors import ConfigError, CtbenchError
from ctbench_core.formatting import plural
from ctbench_core.studies import AXES
from ctbench_ui import form
from ctbench_ui.form.folder_field import browse_button
from ctbench_ui.shared import as_text, cache, folders
from ctbench_ui.shared.text import name_fields
from ctbench_ui.studies import field_rows

_FIELDS = ("name", "folder")
_KEEP: dict[str, Any] = {"persist_state": "session"}
_SHOWN = 60


def read(axis: str) -> list[tuple[str, str]]:
    """Return the name and folder of each value; a folder without a name has its own.

    Raises:
        ConfigError: two have the same name.
    """
    rows = field_rows.read(_name(axis), _FIELDS, "folder")
    typed = [(str(row["name"] or "").strip(), str(row["folder"]).strip()) for row in rows]
    named = [(name or Path(folder).name, folder) for name, folder in typed]
    names = [name for name, _ in named]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"Two rows of the {axis} are called {', '.join(repeated)}. Give each its own name.")
    return named


def write(axis: str, rows: Sequence[tuple[str, str]]) -> None:
    """Set the values; call it before they are drawn."""
    field_rows.write(_name(axis), _FIELDS, [dict(zip(_FIELDS, row)) for row in rows])


def draw(axis: str, title: str, label: str, offered: Sequence[str]) -> None:
    """Draw the rows of an axis.

    Args:
        title: of a value. label: of its folder. offered: folders to choose from.
    """

    def draw_row(row: int, is_blank: bool) -> None:
        name, folder = (field_rows.field_key(_name(axis), row, field) for field in _FIELDS)
        visibility: Any = "visible" if row == 0 else "collapsed"
        automatic = Path(str(st.session_state.get(folder) or "")).name or "name"
        st.text_input(title, key=name, placeholder=automatic, width=200, label_visibility=visibility, **_KEEP)
        st.text_input(label, key=folder, placeholder="Type or browse", label_visibility=visibility, **_KEEP)
        browse_button(folder, offered)
        if is_blank:
            return
        good, text = check(axis, str(st.session_state[folder]).strip())
        icon = ":green[:material/check_circle:]" if good else ":red[:material/error:]"
        with st.container(width=260, height=40, border=False, vertical_alignment="center"):
            is_long = len(text) > _SHOWN
            shown = f"{text[:_SHOWN]} …" if is_long else text
            st.markdown(f"{icon} {as_text(shown)}", help=as_text(text) if is_long else None)

    field_rows.draw(_name(axis), _FIELDS, "folder", draw_row)


def check(axis: str, folder: str) -> tuple[bool, str]:
    """Return whether a study can use a folder, and what is in it or what is wrong.

    The training manifest is read there, and its first feature file; *Check* on Data reads all.
    """
    if not is_url(folder) and folders.is_allowed(Path(folder)) and not Path(folder).is_dir():
        return False, "No such folder"
    try:
        config = form.config()
        set_key(config, AXES[axis], folder)
        summary = cache.manifest_summary(config)
    except CtbenchError as error:
        return False, " ".join(name_fields(str(error)).split())
    if axis == "source":
        return True, f"{plural(len(summary['labels']), 'finding')}, {plural(summary['counts']['volumes'], 'volume')}"
    if not summary["dim"]:
        return False, f"{summary['first_visual']} is not there"
    return True, f"{summary['dim']:,} dimensions"


def _name(axis: str) -> str:
    return f"study.{axis}"
