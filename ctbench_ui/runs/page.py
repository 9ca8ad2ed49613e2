"""Runs: the queue, and every run of the store, one by one, by recipe or by label budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import streamlit as st

from ctbench_core.formatting import plural
from ctbench_ui import form
from ctbench_ui.runs import by_budget, card, import_runs, queue, recipes
from ctbench_ui.shared import cache, exports, run_picker, run_table, show_empty

_CHOSEN = "runs.chosen"
_ORDERS = {"Best first": "val_auprc", "Newest first": "created"}
_VIEWS = ("Runs", "By recipe", "By budget")
_SEARCHED = ("name", "run_id", "encoder", "head", "inputs", "notes")
_CHOICES = ("state", "encoder", "head")


def draw() -> None:
    """Draw the page."""
    st.title("Runs", anchor=False)
    card.offer_undo()
    queue.draw()
    rows = cache.run_rows(str(form.outputs_root()))
    if rows:
        _runs(pd.DataFrame(rows))
    else:
        text = "Each training run appears here with its settings, curves and metrics."
        show_empty("No runs yet", text, "Configure a run", "train")
    import_runs.draw(form.outputs_root())


def _runs(every: pd.DataFrame) -> None:
    """Draw the controls and the view that they choose."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        view = st.segmented_control(
            "View", _VIEWS, default=_VIEWS[0], required=True, key="runs.view", persist_state="session"
        )
        order, columns = next(iter(_ORDERS)), []
        if ordered := view != "By budget":  # which has an order and columns of its own
            order = st.selectbox("Order", list(_ORDERS), key="runs.order", persist_state="session", width=128)
        rows = _filter(every)
        if ordered:
            columns = run_table.pick_columns()
    rows = rows.sort_values(_ORDERS[order], ascending=False, na_position="last", kind="stable")
    if not len(rows):
        st.info("No runs match.", icon=":material/filter_alt_off:")
        st.button("Clear filters", key="runs.clear", on_click=_clear_filters)
    elif ordered:
        _table(str(view), rows, columns, every)
    else:
        by_budget.draw(rows)


def _table(view: str, rows: pd.DataFrame, columns: Sequence[str], every: pd.DataFrame) -> None:
    """Draw recipes or runs to select from, and what is selected."""
    table, by_recipe = run_table.export_frame(rows), view == "By recipe"
    if by_recipe:
        table = recipes.table(rows)
        rows = rows[rows["recipe"] == recipes.draw(table)]
    chosen: list[str] = []
    if len(rows):
        chosen = run_table.select_runs(rows, "runs", columns, st.session_state.get(_CHOSEN, []))
        st.session_state[_CHOSEN] = chosen
    hint = "Select a run for its settings, curves and files, or several to compare."
    if by_recipe and not len(rows):
        hint = "Select a recipe for its runs."
    noun = "recipe" if by_recipe else "run"
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(f"{plural(len(table), noun)} shown, {plural(len(every), 'run')} in the store. {hint}")
        exports.download("Download table as CSV", table, "recipes.csv" if by_recipe else "runs.csv", "runs-csv")
    selected = rows.set_index("run_id").loc[chosen]
    if len(selected) > 1:
        run_picker.offer_comparison(selected)
    elif len(selected):
        card.draw(Path(selected["run_dir"].iloc[0]), sorted({tag for tags in every["tags"] for tag in tags}))


def _filter(runs: pd.DataFrame) -> pd.DataFrame:
    """Draw the filters and return the rows that match."""
    text = st.text_input(
        "Filter", key="runs.filter", placeholder="name, notes, tag", persist_state="session", width=160
    )
    values = {name: sorted(set(runs[name])) for name in _CHOICES}
    values["tag"] = sorted({tag for tags in runs["tags"] for tag in tags})
    return filter_rows(runs, text, {name: _choice(name, offered) for name, offered in values.items()})


def _choice(name: str, values: list[str]) -> list[str]:
    """Draw the choice among values; nothing where every run has the same one."""
    key = f"runs.{name}"
    chosen = [value for value in st.session_state.get(key, []) if value in values]
    if not values or (len(values) < 2 and name != "tag" and not chosen):
        return []
    st.session_state[key] = chosen
    return st.multiselect(name.capitalize(), values, key=key, placeholder="any", persist_state="session", width=132)


def _clear_filters() -> None:
    st.session_state["runs.filter"] = ""
    st.session_state.update({f"runs.{name}": [] for name in (*_CHOICES, "tag")})


def filter_rows(runs: pd.DataFrame, text: str, chosen: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """Return the rows that hold every word of ``text`` and one of the chosen values of each kind.

    Args:
        runs: rows of `cache.run_row`.
        chosen: values by ``state``, ``encoder``, ``head`` and ``tag``; an empty list matches every run.
    """
    words = text.lower().split()
    parts = zip(*(runs[name] for name in _SEARCHED), runs["tags"].map(" ".join))  # 40 times as fast as agg
    lines = [" ".join(part).lower() for part in parts]
    matches = pd.Series([all(word in line for word in words) for line in lines], runs.index, dtype=bool)
    for name in _CHOICES:
        if chosen.get(name):
            matches &= runs[name].isin(list(chosen[name]))
    if tags := set(chosen.get("tag", ())):
        matches &= runs["tags"].map(lambda own: bool(tags & set(own))).astype(bool)
    return runs[matches]
