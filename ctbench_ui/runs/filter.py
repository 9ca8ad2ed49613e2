"""Which runs a table shows: words, state, encoder, head and tags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
import streamlit as st

_WORDS_IN = ("name", "run_id", "encoder", "head", "inputs", "notes")


def draw(frame: pd.DataFrame) -> pd.DataFrame:
    """Draw the filters and return the rows that pass them."""
    text = st.text_input(
        "Filter", key="runs.filter", placeholder="name, notes, tag", persist_state="session", width=160
    )
    offered = {name: sorted(set(frame[name])) for name in ("state", "encoder", "head")}
    offered["tag"] = sorted({tag for tags in frame["tags"] for tag in tags})
    chosen = {name: _pick(name, values) for name, values in offered.items()}
    return apply(frame, text, chosen)


def _pick(name: str, values: list[str]) -> list[str]:
    """Draw one list to pick from, unless there is nothing to tell apart by."""
    key = f"runs.{name}"
    kept = [value for value in st.session_state.get(key, []) if value in values]
    if len(values) < 2 and name != "tag" and not kept:
        return []
    if not values:
        return []
    st.session_state[key] = kept
    return st.multiselect(name.capitalize(), values, key=key, placeholder="any", persist_state="session", width=132)


def apply(frame: pd.DataFrame, text: str, chosen: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """Keep the rows that hold every word of ``text`` and one of the chosen values of each kind.

    Args:
        frame: rows of `cache.run_row`.
        chosen: values by ``state``, ``encoder``, ``head`` and ``tag``; none means any.
    """
    words = text.lower().split()
    parts = zip(*(frame[name] for name in _WORDS_IN), frame["tags"].map(" ".join))  # 40 times as fast as agg
    lines = [" ".join(part).lower() for part in parts]
    keep = pd.Series([all(word in line for word in words) for line in lines], frame.index, dtype=bool)
    for name in ("state", "encoder", "head"):
        if chosen.get(name):
            keep &= frame[name].isin(list(chosen[name]))
    if tags := set(chosen.get("tag", ())):
        keep &= frame["tags"].map(lambda own: bool(tags & set(own))).astype(bool)
    return frame[keep]
