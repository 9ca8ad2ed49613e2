"""The files of a paper: Methods in words, the table as CSV and LaTeX."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st


def draw(files: Mapping[str, str], stem: str) -> None:
    """Draw the Methods paragraph and the LaTeX table, and offer every file."""
    st.markdown("**Methods**")
    st.markdown("> " + files["methods.txt"].strip().translate({ord(sign): f"\\{sign}" for sign in "$*_~["}))
    with st.container(horizontal=True):
        for name, text in files.items():
            st.download_button(
                name,
                text.encode("utf-8"),
                f"{stem}-{name}",
                key=f"paper-{name}",
                icon=":material/download:",
                on_click="ignore",
            )
    st.code(files["table.tex"], language="latex", height=320)
