"""Keep the keyboard's focus on a control that a redraw disables or replaces."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

_KEY = "keep-focus"
_SCRIPT = Path(__file__).with_suffix(".js").read_text(encoding="utf-8")
_ONCE = "if (!window.ctbenchKeepsFocus) {{ window.ctbenchKeepsFocus = true; {} }}"


def draw() -> None:
    """Draw the script, once a browser tab; it takes no room on the page."""
    with st.container(key=_KEY):
        st.html(
            f"<style>.st-key-{_KEY} {{display: none}}</style><script>{_ONCE.format(_SCRIPT)}</script>",
            unsafe_allow_javascript=True,
        )
