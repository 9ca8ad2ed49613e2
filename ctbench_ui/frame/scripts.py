"""The scripts of every page: keep the keyboard's focus and the chosen tab in sight, enter a popover, save charts as pictures, make a click one step of Back."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

_KEY = "scripts"  # `page_style` hides it, so that it takes no room from the first moment on
_FOLDER = Path(__file__).parent
_NAMES = ("one_step_back.js", "keep_focus.js", "enter_popover.js", "show_chosen_tab.js", "save_pictures.js")
_CODE = "\n".join(f"{{{(_FOLDER / name).read_text(encoding='utf-8')}}}" for name in _NAMES)
_ONCE = f"if (!window.ctbenchScripts) {{ window.ctbenchScripts = true; {_CODE} }}"


def draw() -> None:
    """Draw the scripts, which run once a browser tab; they take no room on the page."""
    with st.container(key=_KEY):
        st.html(f"<script>{_ONCE}</script>", unsafe_allow_javascript=True)
