"""Read-only links: an address with ``view=read`` shows results without any control that changes something.

A view, not access control: who can reach the server can also open it without. It lasts as long as the browser tab, on
all pages.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import streamlit as st

from ctbench_ui.pages import PAGES, Page, page

PARAMETER, _VALUE = "view", "read"
_STATE = "readonly"
# Tabs and filters change in the browser without a redraw of the page, so both links take its address there.
_HTML = """<div>
<button type="button" id="copy" title="Copy the address of what is shown"><i aria-hidden="true">link</i><span>Copy link</span></button>
<a target="_blank" rel="noopener"><i aria-hidden="true">visibility</i><span></span></a>
<button type="button" id="copy-read-only" title="Copy the read-only link" aria-label="Copy the read-only link"
><i aria-hidden="true">content_copy</i></button>
<label hidden title="The browser does not let this page copy">Copy this address <input readonly></label>
<output></output>
</div>"""
_link = st.components.v2.component(
    "ctbench_readonly_link",
    html=_HTML,
    css=Path(__file__).with_name("readonly_link.css").read_text(encoding="utf-8"),
    js=Path(__file__).with_name("readonly_link.js").read_text(encoding="utf-8"),
)


def read_link() -> bool:
    """Return whether this tab is read-only: its address says so, or did when it was opened."""
    if st.query_params.get(PARAMETER) == _VALUE:
        st.session_state[_STATE] = True
    elif is_on():
        st.query_params[PARAMETER] = _VALUE  # opening another page has emptied the address
    return is_on()


def is_on() -> bool:
    """Whether this tab is read-only."""
    return bool(st.session_state.get(_STATE))


def draw_bar() -> None:
    """Draw the bar in the place of the status bar, with the way out."""
    with st.container(key="readonly", horizontal=True, vertical_alignment="center", gap="small"):
        st.caption(":material/visibility: **Read-only link** · stored results", width="content")
        st.button("Leave", type="tertiary", icon=":material/logout:", key="readonly-leave", on_click=_leave)


def _leave() -> None:
    st.session_state.pop(_STATE, None)
    st.query_params.pop(PARAMETER, None)


def names() -> list[str]:
    """List the pages of the view."""
    return [name for name, shown in PAGES.items() if shown.readonly]


def refuse(shown: Page) -> bool:
    """Return whether a page is not part of the view; then draw links to those that are."""
    if shown.readonly:
        return False
    st.title(shown.title, anchor=False)
    st.info("This page is not available in a read-only link.", icon=":material/visibility:")
    for name in names():
        st.page_link(page(name))
    return True


def draw_title(title: str) -> Any:
    """Draw a page's title; return the place beside it for `offer_link`, when the page knows its content."""
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.title(title, anchor=False, width="content")
        return st.container(width="content")


def offer_link(place: Any) -> None:
    """Offer the address of what is shown to copy, and the read-only one to copy or to open in a tab of its own."""
    if not is_on():
        help_ = "Opens what is shown in a tab without controls that change it. Share its address."
        data = {"text": "Read-only link", "help": help_, "name": PARAMETER, "value": _VALUE, "copied": "Copied"}
        with place:
            _link(key="readonly-link", data=data, width="content")
