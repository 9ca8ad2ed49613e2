"""Ids of what is stored, in a page's address; one that is not stored is reported, and nothing is drawn in its place."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import streamlit as st

from ctbench_ui.form import outputs_root
from ctbench_ui.frame import readonly
from ctbench_ui.frame.address import SEPARATOR
from ctbench_ui.pages import PAGES
from ctbench_ui.shared import damaged
from ctbench_ui.shared.feedback import show_error


def read_ids(page: str, parameter: str, known: Collection[str], stored: Collection[str] = ()) -> list[str]:
    """Return the ids in a parameter of a page's address, empty without one; report a dead one and end the page.

    Args:
        known: the ids that the page can show.
        stored: ids that are in the store, but perhaps without what the page shows.
    """
    ids = [part for part in st.query_params.get(parameter, "").split(SEPARATOR) if part]
    return _known(page, parameter, ids, known, stored)


def read_id(page: str, parameter: str, known: Collection[str], stored: Collection[str] = ()) -> str | None:
    """Return the one id in a parameter of a page's address, as `read_ids` does; None without one."""
    linked = st.query_params.get(parameter)
    return _known(page, parameter, [linked], known, stored)[0] if linked else None


def _known(page: str, parameter: str, ids: list[str], known: Collection[str], stored: Collection[str]) -> list[str]:
    if lost := [name for name in ids if name not in known]:
        _report_lost(PAGES[page].ids[parameter], parameter, lost, stored)
        st.stop()
    return ids


def _report_lost(title: str, parameter: str, lost: Sequence[str], stored: Collection[str]) -> None:
    if damaged.show(outputs_root(), lost):
        return
    reason = "It was deleted or moved, or the address is of another run store."
    if set(lost) <= set(stored):
        title, reason = "Nothing to show", "It is in the store, but has nothing to show on this page."
    show_error(title, f"{', '.join(lost)}\n{reason}")
    if not readonly.is_on():
        st.button("Choose another", key="address-clear", on_click=_forget, args=(parameter,))


def _forget(parameter: str) -> None:
    st.query_params.pop(parameter, None)
