"""The frame around every page: navigation on the left, on top the status strip or the note of a read-only link."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from ctbench_ui import form, readonly, strip
from ctbench_ui.navigation import groups

_STYLE = "<style>[data-testid=stMainBlockContainer] {padding-inline: clamp(1rem, 3vw, 3rem)}</style>"

st.set_page_config(
    page_title="ctbench", page_icon=str(Path(__file__).with_name("icon.png")), layout="wide", initial_sidebar_state=220
)
st.html(_STYLE)
reading = readonly.take_link()
page = st.navigation(groups(readonly.PAGES) if reading else groups())
if reading:
    readonly.draw()
    if not readonly.closed(page):
        page.run()
else:
    form.restore()
    strip.draw()
    page.run()
