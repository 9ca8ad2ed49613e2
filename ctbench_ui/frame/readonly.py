"""Read-only links: an address with ``view=read`` shows figures without anything that opens, starts or deletes.

A view, not access control: who can reach the server can also open it without. It lasts as long as the browser's tab,
whichever page is turned to.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import streamlit as st

from ctbench_ui.pages import page

PAGES = ("evaluate", "compare", "alignment")
_KEY, _VALUE = "view", "read"
_STATE = "readonly"


def take_link() -> bool:
    """Return whether this tab only reads: its address says so, or said so when it was opened."""
    if st.query_params.get(_KEY) == _VALUE:
        st.session_state[_STATE] = True
    elif is_on():
        st.query_params[_KEY] = _VALUE  # turning to another page has emptied the address
    return is_on()


def is_on() -> bool:
    """Whether this tab only reads."""
    return bool(st.session_state.get(_STATE))


def draw() -> None:
    """Draw the note that stands in place of the strip, and the way out."""
    with st.container(key="readonly", horizontal=True, vertical_alignment="center", gap="small"):
        st.caption(":material/visibility: **Read-only link** · figures as they are stored", width="content")
        st.button("Leave", type="tertiary", icon=":material/logout:", key="readonly-leave", on_click=_leave)


def _leave() -> None:
    st.session_state.pop(_STATE, None)
    st.query_params.pop(_KEY, None)


def closed(shown: Any) -> bool:
    """Tell that a page is no part of the view, where that is so, and lead to one that is."""
    if shown.url_path in PAGES:
        return False
    st.title(shown.title, anchor=False)
    st.info(
        "This page sets up or changes things, so that a read-only link leaves it out.", icon=":material/visibility:"
    )
    for name in PAGES:
        st.page_link(page(name))
    return True


def head(title: str) -> Any:
    """Draw a page's title; return the place beside it for `offer`, once it is known what is shown."""
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.title(title, anchor=False, width="content")
        return st.container(width="content")


def offer(place: Any, **query: str | None) -> None:
    """Offer the address of what is shown, read-only, in a tab of its own, to be passed on."""
    if not is_on():
        known = {key: value for key, value in query.items() if value}
        place.link_button(
            "Read-only link",
            f"?{urlencode({**known, _KEY: _VALUE})}",
            type="tertiary",
            icon=":material/visibility:",
            help="Opens what is shown in a tab without anything that opens, starts or deletes; pass on its address.",
        )
