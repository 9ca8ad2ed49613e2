"""Runs that can be looked at on the Evaluate page: trained ones, and predictions that came from elsewhere."""

from __future__ import annotations

from typing import Any

import streamlit as st

from ctbench_core.formatting import format_metric
from ctbench_ui.shared import cache

_KEY = "run"


def evaluable(outputs_root: str) -> dict[str, dict[str, Any]]:
    """Return rows of `cache.run_row`, by run id, newest first."""
    rows = cache.run_rows(outputs_root, None)
    return {row["run_id"]: row for row in rows if _has_figures(row)}


def _has_figures(row: dict[str, Any]) -> bool:
    if row["kind"] == "score":
        return bool(row["tests"])
    return row["kind"] == "train" and (row["best_epoch"] is not None or row["val_auprc"] is not None)


def title(row: dict[str, Any]) -> str:
    """Name a run as the picker shows it."""
    what = (
        "predictions"
        if row["kind"] == "score"
        else f"{row['encoder']} · validation AUPRC {format_metric(row['val_auprc'])}"
    )
    return f"{row['name']} · {what} · {row['run_id']}"


def choose(rows: dict[str, dict[str, Any]]) -> str:
    """Let a run be chosen; a link carries its id, where a bound widget would carry its title."""
    asked = st.query_params.get(_KEY)
    if asked in rows:
        st.session_state[_KEY] = asked
    elif st.session_state.get(_KEY) not in rows:
        st.session_state.pop(_KEY, None)
    return st.selectbox(
        "Run",
        list(rows),
        key=_KEY,
        persist_state="session",
        format_func=lambda run_id: title(rows[run_id]),
        on_change=_into_the_link,
    )


def _into_the_link() -> None:
    st.query_params[_KEY] = st.session_state[_KEY]
