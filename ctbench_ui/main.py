"""The frame around every page: navigation on the left, the status strip on top."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from ctbench_ui import form, strip
from ctbench_ui.navigation import groups

_STYLE = "<style>[data-testid=stMainBlockContainer] {padding-inline: clamp(1rem, 3vw, 3rem)}</style>"

st.set_page_config(
    page_title="ctbench", page_icon=str(Path(__file__).with_name("icon.png")), layout="wide", initial_sidebar_state=220
)
st.html(_STYLE)
page = st.navigation(groups())
form.restore()
strip.draw()
page.run()
