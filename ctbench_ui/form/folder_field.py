"""A field for a folder: typed, suggested, or browsed.

It is a text field: a select box that takes new values cuts its present one off the end of what is typed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import streamlit as st

from ctbench_core.errors import CtbenchError
from ctbench_core.formatting import plural
from ctbench_ui.form import fields
from ctbench_ui.shared import folders

_MOST, _KNOWN = 200, 5  # buttons; in a folder with more, a path is typed


def folder_field(key: str, label: str, suggestions: list[str], on_change: Callable[[], None] | None = None) -> None:
    """Draw a config key that holds a folder, with a button that browses folders."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        fields.field(key, label, on_change=on_change, placeholder="Type or browse")
        browse_button(key, suggestions, on_change)


def browse_button(key: str, suggestions: Sequence[str], on_change: Callable[[], None] | None = None) -> None:
    """Draw the button that browses folders for the text field with a key, which is drawn before it."""
    with st.popover(
        "", icon=":material/folder_open:", key=f"{key}-browse", help="Browse", on_change="rerun"
    ) as popover:
        if popover.open:
            _draw_suggestions(key, suggestions, on_change)
            _draw_browser(key, on_change)


def _draw_suggestions(key: str, suggestions: Sequence[str], on_change: Callable[[], None] | None) -> None:
    """Offer the folders of saved data sets and those near by."""
    others = [folder for folder in suggestions if folder != st.session_state[key]]
    for folder in others[:_KNOWN]:
        st.button(
            folder,
            type="tertiary",
            icon=":material/history:",
            key=f"{key}-known-{folder}",
            on_click=_use,
            args=(key, Path(folder), on_change),
        )


def _draw_browser(key: str, on_change: Callable[[], None] | None) -> None:
    """List the subfolders of a folder; a click opens one, *Up* its parent."""
    at = f"{key}-at"
    here = Path(st.session_state.get(at) or folders.nearest_folder(str(st.session_state[key] or "")))
    st.code(str(here), language=None, wrap_lines=True)
    with st.container(horizontal=True):
        parent = here.parent
        st.button(
            "Up",
            icon=":material/arrow_upward:",
            key=f"{key}-up",
            disabled=parent == here or not folders.is_allowed(parent),
            on_click=_browse_to,
            args=(at, parent),
        )
        for drive in folders.other_drives(here):
            st.button(drive.drive, key=f"{key}-drive-{drive.drive}", on_click=_browse_to, args=(at, drive))
        st.button("Use this folder", type="primary", key=f"{key}-use", on_click=_use, args=(key, here, on_change))
    st.caption(_describe_manifests(here))
    try:
        below = folders.list_subfolders(here)
    except CtbenchError as error:
        st.caption(str(error))
        return
    with st.container(height=260 if len(below) > 6 else "content", gap=None):
        for name in below[:_MOST]:
            st.button(
                name,
                type="tertiary",
                icon=":material/folder:",
                key=f"{key}-into-{name}",
                on_click=_browse_to,
                args=(at, here / name),
            )
    if len(below) > _MOST:
        st.caption(f"… and {plural(len(below) - _MOST, 'more folder')}: type the path.")


def _describe_manifests(here: Path) -> str:
    """List the manifests of a folder as text."""
    files = folders.list_manifests(here)
    if not files:
        return "No manifest in this folder."
    more = f" and {len(files) - 4} more" if len(files) > 4 else ""
    return f"Manifests here: {', '.join(files[:4])}{more}"


def _browse_to(at: str, folder: Path) -> None:
    st.session_state[at] = str(folder)


def _use(key: str, here: Path, on_change: Callable[[], None] | None) -> None:
    st.session_state[key] = str(here)
    st.session_state.pop(f"{key}-at", None)
    st.session_state[f"{key}-browse"] = False
    if on_change:
        on_change()
