"""The two scripts of every page: keep the keyboard's focus through a redraw, and save charts as pictures."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

_KEY = "scripts"  # `page_style` hides it, so that it takes no room from the first moment on
_FOLDER = Path(__file__).parent
_CODE = "\n".join(
    f"{{{(_FOLDER / name).read_text(encoding='utf-8')}}}" for name in ("keep_focus.js", "save_pictures.js")
)
_ONCE = f"if (!window.ctbenchScripts) {{ window.ctbenchScripts = true; {_CODE} }}"


def draw() -> None:
    """Draw the scripts, which run once a browser tab; they take no room on the page."""
    with st.container(key=_KEY):
        st.html(f"<script>{_ONCE}</script>", unsafe_allow_javascript=True)
