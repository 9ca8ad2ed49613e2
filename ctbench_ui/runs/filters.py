"""The query of the Runs page: a field in plain words, and controls that write the same query."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import streamlit as st

from ctbench_core import query
from ctbench_core.query import EVERY, Condition, Expression, QueryError
from ctbench_core.runs import run_fields, text_of
from ctbench_ui.frame import address
from ctbench_ui.pages import go
from ctbench_ui.shared import as_text
from ctbench_ui.shared.controls import set_value

KEY = "runs.filter"
_PLACEHOLDER = "head = mlp and budget < 100 and tag = paper"
_HELP = (
    "Words search name, id, encoder, head, study, tags and notes. Conditions name any config key or metric: "
    "`state = finished`, `val auprc > .8`, `test auroc >= .85`, `learning_rate in (1e-3, 1e-4)`, `budget = all`, "
    '`tag is empty`, `notes ~ "table 2"`, `created > 7 days ago`. Join them with `and`, `or`, `not` and parentheses.'
)
# Fields with a choice of their values to click.
_CLICKED = ("state", "study", "encoder", "head", "budget", "tag", "star")
_OLD = ("state", "encoder", "head", "tag")  # parameters of addresses from before the query
_MOST = 30
_SIGNS = {"=": "=", "!=": "≠", "<": "<", "<=": "≤", ">": ">", ">=": "≥", "~": "contains"}


def draw(rows: Sequence[dict[str, Any]], place: Any) -> Expression | None:
    """Draw the query; return it, or None and what is wrong with it where it cannot be read.

    Args:
        place: the container of the field; its chips come below.
    """
    _rewrite_old_address()
    with place:
        text = st.text_input(
            "Query",
            placeholder=_PLACEHOLDER,
            help=_HELP,
            label_visibility="collapsed",
            icon=":material/filter_list:",
            persist_state="session",
            **address.bound(KEY),
        )
        error, expression = None, EVERY
        try:
            expression = query.parse(text or "", run_fields())
        except QueryError as problem:
            error = problem
        help = "Adds to the query"
        with st.popover("Filter", icon=":material/add:", help=help, key="runs-filter-box", on_change="rerun") as box:
            if box.open and error:
                st.caption("Correct the query first.")
            elif box.open:
                _choices(rows, expression)
                _condition(expression)
    with st.container():  # what follows keeps its place
        if error:
            _show(error)
            return None
        _chips(expression)
    return expression


def matching(rows: Sequence[dict[str, Any]], expression: Expression) -> list[dict[str, Any]]:
    """Return the rows that match."""
    matches = query.matches(expression, rows, run_fields(), text_of)
    return [row for row, is_match in zip(rows, matches) if is_match]


def clear() -> None:
    """Empty the query."""
    st.session_state[KEY] = ""


def open_runs(expression: Expression) -> None:
    """Open the Runs page with the runs that a query matches, one by one, and none selected.

    The query goes by the address: Streamlit shows one of the session in the field, and does not write it into the address.
    """
    for key in (KEY, "runs.chosen"):
        st.session_state.pop(key, None)
    set_value("runs.view", "Runs")
    go("runs", {KEY: query.write(expression, run_fields())})


def _show(error: QueryError) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.error(as_text(error), icon=":material/error:", width="stretch")
        if error.suggestion:
            st.button(
                "Use the suggestion",
                key="runs.suggestion",
                help=error.suggestion,
                on_click=_write_text,
                args=(error.suggestion,),
            )
        st.button("Clear filters", key="runs.clear", on_click=clear)


def _chips(expression: Expression) -> None:
    """Draw the conditions of the query, each with the button that removes it."""
    terms = [term for term in query.terms(expression) if term != EVERY]
    if not any(isinstance(term, Condition) for term in terms):
        return
    with st.container(horizontal=True, gap="xsmall", vertical_alignment="center", key="runs-chips"):
        for place, term in enumerate(terms):
            st.button(
                as_text(query.describe(term, run_fields())),
                key=f"runs-chip-{place}",
                icon=":material/close:",
                help=f"Remove {as_text(query.write(term, run_fields()))}",
                on_click=_write,
                args=(query.without(expression, term),),
            )
        if len(terms) > 1:
            st.button("Clear filters", key="runs.clear", type="tertiary", on_click=clear)


def _choices(rows: Sequence[dict[str, Any]], expression: Expression) -> None:
    """Draw the values of some fields to choose from: numbers in their order, others by how frequent they are."""
    for name in _CLICKED:
        field, chosen = run_fields()[name], list(query.choice(expression, name))
        values = _values(rows, name)
        known = {value.casefold(): value for value in values}
        chosen = [known.get(value.casefold(), value) for value in chosen]
        if len(values) < 2 and not chosen and name != "tag":
            continue
        options = list(dict.fromkeys([*values[:_MOST], *chosen]))
        if not options:
            continue
        if field.kind == "number":
            options.sort(key=lambda value: math.inf if value.casefold() == field.empty else float(value))
        key = f"runs-choice-{name}"
        st.session_state[key] = chosen
        st.pills(
            field.label or field.title,
            options,
            selection_mode="multi",
            key=key,
            format_func=as_text,
            on_change=_choose,
            args=(expression, name),
        )
        if len(values) > _MOST:
            st.caption(f"{len(values) - _MOST} more values: type them into the query.")


def _values(rows: Sequence[dict[str, Any]], name: str) -> list[str]:
    if name == "head":
        counts = Counter(row["head"] for row in rows)
    elif name == "star":
        return ["yes", "no"] if any(row["pinned"] for row in rows) else []
    else:
        field = run_fields()[name]
        counts = Counter(
            str(value) for row in rows for value in (field.read(row) or ([field.empty] if field.empty else []))
        )
    return [value for value, _ in counts.most_common() if value]


def _choose(expression: Expression, name: str) -> None:
    _write(query.with_choice(expression, name, st.session_state[f"runs-choice-{name}"]))


def _condition(expression: Expression) -> None:
    """Draw the fields of any other condition, and the button that adds it."""
    fields = run_fields()
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        name = st.selectbox(
            "Field", list(fields), index=None, placeholder="any key or metric", key="runs-field", width=220
        )
        sign = st.selectbox("Operator", list(_SIGNS), format_func=_SIGNS.__getitem__, key="runs-sign", width=100)
        value = st.text_input("Value", key="runs-value", width=120)
        term = Condition(name, sign, (value,)) if name and value else None
        problem = None if term is None else _problem(term)
        with_term = expression if term is None or problem else query.with_term(expression, term)
        st.button(
            "Add",
            key="runs-add",
            disabled=with_term == expression,
            help="Adds the condition to the query.",
            on_click=_write,
            args=(with_term,),
        )
    if problem:
        st.error(as_text(problem))
    elif term and with_term == expression:
        st.caption("Already in the query.")


def _problem(term: Condition) -> QueryError | None:
    """Return what is wrong with a condition."""
    try:
        query.check(term, run_fields())
    except QueryError as error:
        return error
    return None


def _write(expression: Expression) -> None:
    _write_text(query.write(expression, run_fields()))


def _write_text(text: str) -> None:
    st.session_state[KEY] = text


def _rewrite_old_address() -> None:
    """Write the choices of an address from before the query into its query, before the field reads it."""
    old = {name: values for name in _OLD if (values := st.query_params.get_all(f"runs.{name}"))}
    if not old:
        return
    try:
        expression = query.parse(st.query_params.get(KEY, ""), run_fields())
    except QueryError:
        return  # it is shown with what is wrong
    for name, values in old.items():
        expression = query.with_choice(expression, name, values)
        del st.query_params[f"runs.{name}"]
    st.query_params[KEY] = query.write(expression, run_fields())
    address.let_widgets_read()
