"""The frame of every page: navigation on the left, on top the status bar or the bar of a read-only link."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from ctbench_core.errors import CtbenchError
from ctbench_ui.frame import address, loading, readonly, scripts, sign_in
from ctbench_ui.pages import declaration, groups


def _draw_status_bar() -> None:
    # Imported after the page's outline is drawn: on a server's first visit it takes half a second.
    from ctbench_ui import form
    from ctbench_ui.frame import status_bar

    form.restore()
    status_bar.draw()


st.set_page_config(
    page_title="ctbench", page_icon=str(Path(__file__).with_name("icon.png")), layout="wide", initial_sidebar_state=220
)
if sign_in.refuse():
    st.navigation(groups(), position="hidden")
    st.stop()
is_readonly = readonly.read_link()
page = st.navigation(groups(readonly.names()) if is_readonly else groups())
sign_in.draw()
shown = declaration(page)
address.enter(shown)
top = st.container(key="top")
refused = is_readonly and readonly.refuse(shown)
if not refused:
    loading.draw_outline(shown)
with top:
    if is_readonly:
        readonly.draw_bar()
    else:
        _draw_status_bar()
    notes = st.container()
    scripts.draw()
try:
    if not refused:
        page.run()
except CtbenchError as error:  # such as a run that is deleted while its page is drawn
    from ctbench_ui.shared import show_error

    show_error("This page could not be drawn", f"{error} Reload the page to try again.")
finally:  # a page may end early
    with notes:
        address.draw_notes()
