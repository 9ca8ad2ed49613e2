"""Tables that several pages show, and the files that a user takes away.

MERGED: The files of a paper: Methods in words, the table as CSV and LaTeX.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import streamlit as st

from ctbench_core.formatting import format_p
from ctbench_ui.shared.figures import Source

SHARE = "%.3f"


def download(label: str, frame: pd.DataFrame, file_name: str, key: str, source: Source | None = None) -> None:
    """Offer a frame as CSV, with every digit and the marks of its source; it is written when the user asks."""
    st.download_button(
        label,
        data=lambda: (
            (source.marked(frame) if source else frame).to_csv(index=False, lineterminator="\n").encode("utf-8")
        ),
        file_name=file_name,
        mime="text/csv",
        key=key,
        icon=":material/download:",
        on_click="ignore",
    )


def download_stored(label: str, path: Path, file_name: str, key: str, source: Source | None = None) -> None:
    """Offer a stored Parquet table as CSV; it is read when the user asks, since it may be large."""

    def written() -> bytes:
        frame = pd.read_parquet(path)
        return (source.marked(frame) if source else frame).to_csv(index=False, lineterminator="\n").encode("utf-8")

    st.download_button(
        label,
        data=written,
        file_name=file_name,
        mime="text/csv",
        key=key,
        icon=":material/download:",
        on_click="ignore",
    )


def with_p_values(frame: pd.DataFrame) -> pd.DataFrame:
    """Write every column of p-values (p, p_adjusted, p_delong, ...) as text, for a table that is shown."""
    names = [name for name in frame if str(name) == "p" or str(name).startswith("p_")]
    return frame.assign(**{name: frame[name].map(format_p) for name in names})


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
