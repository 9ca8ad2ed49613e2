"""The cohort's conditions on metadata columns: a list that grows by one line at a time."""

from __future__ import annotations

from typing import Any

import streamlit as st

from ctbench_core.config import KEYS

KEY = "data.cohort.where"
_OPERATORS = ("==", "!=", "<", "<=", ">", ">=", "in")


def draw(columns: list[str]) -> None:
    """Draw the conditions of the form, each with a button that takes it away, and the line that adds one."""
    held: list[dict[str, Any]] = st.session_state.setdefault(KEY, list(KEYS[KEY].default))
    for place, condition in enumerate(held):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption(f"{condition['column']} {condition['op']} {condition['value']}")
            st.button(
                "Remove",
                key=f"where-remove-{place}",
                type="tertiary",
                icon=":material/close:",
                on_click=_remove,
                args=(place,),
            )
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.selectbox(
            "Only volumes with", columns, index=None, key="where.column", placeholder="a column", help=KEYS[KEY].tooltip
        )
        st.selectbox("is", _OPERATORS, key="where.op", width=90)
        st.text_input("Value", key="where.value", width=130, placeholder="40, or F, M")
        st.button("Add", key="where-add", on_click=_add)


def _add() -> None:
    column, text = st.session_state.get("where.column"), str(st.session_state.get("where.value") or "").strip()
    if column and text:
        condition = {
            "column": column,
            "op": st.session_state["where.op"],
            "value": value_of(text, st.session_state["where.op"]),
        }
        st.session_state[KEY] = [*st.session_state[KEY], condition]
        st.session_state["where.value"] = ""


def value_of(text: str, operator: str) -> Any:
    """Read a value as it is typed: a number, a word, or for ``in`` several with commas between."""
    if operator == "in":
        return [part.strip() for part in text.split(",") if part.strip()]
    try:
        return float(text) if not text.lstrip("-").isdigit() else int(text)
    except ValueError:
        return text


def _remove(place: int) -> None:
    held = st.session_state[KEY]
    st.session_state[KEY] = held[:place] + held[place + 1 :]
