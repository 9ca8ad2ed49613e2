"""A table of settings whose texts wrap: each under the label of the form, with its config key below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
import streamlit as st

from ctbench_core.config import key_title
from ctbench_ui.shared.text import as_text

_MOST = 8  # columns that wrap; more are scrolled


def draw(values: Mapping[str, Sequence[str]], columns: Sequence[str], alt: str) -> None:
    """Draw the values of settings by their keys, one column a run."""
    if len(columns) > _MOST:
        rows = [[key_title(key), *row, key] for key, row in values.items()]
        st.dataframe(pd.DataFrame(rows, columns=["Setting", *columns, "Key"]), hide_index=True, alt=alt)
        return
    wrapped = [[_title(key), *map(as_text, row)] for key, row in values.items()]
    st.table(pd.DataFrame(wrapped, columns=["Setting", *map(as_text, columns)]), hide_index=True, alt=alt)


def _title(key: str) -> str:
    return f"{as_text(key_title(key))}  \n:gray[:small[{as_text(key)}]]"
