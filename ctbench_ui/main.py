"""The frame around every page: navigation on the left, on top the status strip or the note of a read-only link."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from ctbench_ui.frame import loading, readonly
from ctbench_ui.pages import groups

_STYLE = """<style>
[data-testid=stMainBlockContainer] {padding-inline: clamp(1rem, 3vw, 3rem)}
.st-key-top {min-height: 1.7rem}
</style>"""


def _strip() -> None:
    # Imported after the outline of the page stands: a server's first visit takes half a second for it.
    from ctbench_ui import form
    from ctbench_ui.frame import status_bar

    form.restore()
    status_bar.draw()


st.set_page_config(
    page_title="ctbench", page_icon=str(Path(__file__).with_name("icon.png")), layout="wide", initial_sidebar_state=220
)
st.html(_STYLE)
reading = readonly.take_link()
page = st.navigation(groups(readonly.PAGES) if reading else groups())
top = st.container(key="top")
closed = reading and readonly.closed(page)
if not closed:
    loading.draw(page.url_path)
with top:
    if reading:
        readonly.draw()
    else:
        _strip()
if not closed:
    page.run()
