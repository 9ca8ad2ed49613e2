"""The pages of the app: file, address, and place in the navigation. To add a page, add it here."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import streamlit as st

_FOLDER = Path(__file__).resolve().parent.parent / "pages"

# address: (group, title, icon)
_PAGES = {
    "home": ("Start", "Home", ":material/home:"),
    "data": ("Start", "Data", ":material/database:"),
    "train": ("Run", "Train", ":material/model_training:"),
    "runs": ("Run", "Runs", ":material/list_alt:"),
    "studies": ("Run", "Studies", ":material/grid_on:"),
    "evaluate": ("Results", "Evaluate", ":material/query_stats:"),
    "compare": ("Results", "Compare", ":material/compare:"),
    "alignment": ("Results", "Alignment", ":material/compare_arrows:"),
    "system": ("System", "System", ":material/memory:"),
}


def page(name: str, visible: bool = True) -> Any:
    """Return the page object of an address, for links and switches."""
    _, title, icon = _PAGES[name]
    address = None if name == "home" else name
    return st.Page(
        _FOLDER / f"{name}.py",
        title=title,
        icon=icon,
        url_path=address,
        default=name == "home",
        visibility="visible" if visible else "hidden",
    )


def groups(only: Collection[str] = tuple(_PAGES)) -> dict[str, list[Any]]:
    """Return the pages by navigation group, in order; those not in ``only`` are hidden, but can be opened."""
    pages: dict[str, list[Any]] = {}
    for name, (group, _, _) in _PAGES.items():
        pages.setdefault(group, []).append(page(name, name in only))
    return pages


def go(name: str, query: Mapping[str, str] | None = None) -> None:
    """Open another page, optionally with query parameters."""
    st.switch_page(page(name), query_params=dict(query or {}))
