"""Runs: the queue, and every run of the store, one by one, by recipe or by label budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import streamlit as st

from ctbench_core.formatting import plural
from ctbench_ui import form
from ctbench_ui.frame import address
from ctbench_ui.runs import by_budget, card, import_runs, queue, recipes
from ctbench_ui.shared import cache, damaged, exports, run_picker, run_table, show_empty

_LINK, _CHOSEN, _TABLE = "run", "runs.chosen", "runs.table"
_BEST, _NEWEST = _ORDERS = ("Best first", "Newest first")
_VIEWS = ("Runs", "By recipe", "By budget")
_SEARCHED = ("name", "run_id", "encoder", "head", "inputs", "notes")
_CHOICES = ("state", "encoder", "head")


def draw() -> None:
    """Draw the page."""
    st.title("Runs", anchor=False)
    stored = cache.run_rows(str(form.outputs_root()), None)
    rows = [row for row in stored if row["kind"] == "train"]
    linked = address.read_ids("runs", _LINK, [row["run_id"] for row in rows], [row["run_id"] for row in stored])
    card.offer_undo()
    queue.draw()
    damaged.draw_list(form.outputs_root())
    if rows:
        _runs(pd.DataFrame(rows), linked)
    else:
        text = "Each training run appears here with its settings, curves and metrics."
        show_empty("No runs yet", text, "Configure a run", "train")
    import_runs.draw(form.outputs_root())


def _runs(every: pd.DataFrame, linked: list[str]) -> None:
    """Draw the controls and the view that they choose.

    Args:
        linked: the runs selected by the address.
    """
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        view = st.segmented_control(
            "View",
            _VIEWS,
            default=_VIEWS[0],
            required=True,
            persist_state="session",
            **address.bound("runs.view", _VIEWS),
        )
        order, columns = _BEST, []
        if ordered := view != "By budget":  # which has an order and columns of its own
            order = st.selectbox(
                "Order", _ORDERS, persist_state="session", width=128, **address.bound("runs.order", _ORDERS)
            )
        rows = _filter(every)
        if ordered:
            columns = run_table.pick_columns()
    rows = run_table.best_first(rows)
    if order == _NEWEST:
        rows = rows.sort_values("created", ascending=False, kind="stable")
    if not len(rows):
        st.info("No runs match.", icon=":material/filter_alt_off:")
        st.button("Clear filters", key="runs.clear", on_click=_clear_filters)
    elif ordered:
        _table(str(view), rows, columns, every, linked)
    else:
        by_budget.draw(rows)


def _table(view: str, rows: pd.DataFrame, columns: Sequence[str], every: pd.DataFrame, linked: list[str]) -> None:
    """Draw recipes or runs to select from, and what is selected."""
    table, by_recipe = run_table.export_frame(rows), view == "By recipe"
    if by_recipe:
        table = recipes.table(rows)
        rows = rows[rows["recipe"] == recipes.draw(table)]
    chosen = _select(rows, columns, linked) if len(rows) else []
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


def _select(rows: pd.DataFrame, columns: Sequence[str], linked: list[str]) -> list[str]:
    """Draw the table; return the selected runs, which the address names."""
    shown = st.session_state.setdefault(_CHOSEN, [])
    if not linked and address.is_opened():  # back on the page: what was selected last
        linked = shown
    if linked != shown:  # the address has changed: a table that begins with its selection
        st.session_state[_TABLE] = st.session_state.get(_TABLE, 0) + 1
    chosen = run_table.select_runs(rows, f"runs-{st.session_state.get(_TABLE, 0)}", columns, linked)
    st.session_state[_CHOSEN] = chosen
    address.write_ids(_LINK, chosen)
    if hidden := len(set(linked) - set(rows["run_id"])):
        st.caption(f":material/filter_alt: {plural(hidden, 'selected run')} outside these filters.")
    return chosen


def _filter(runs: pd.DataFrame) -> pd.DataFrame:
    """Draw the filters and return the rows that match."""
    text = st.text_input(
        "Filter", placeholder="name, notes, tag", persist_state="session", width=148, **address.bound("runs.filter")
    )
    values = {name: sorted(set(runs[name])) for name in _CHOICES}
    values["tag"] = sorted({tag for tags in runs["tags"] for tag in tags})
    return filter_rows(runs, text, {name: _choice(name, offered) for name, offered in values.items()})


def _choice(name: str, values: list[str]) -> list[str]:
    """Draw the choice among values; nothing where every run has the same one."""
    key = f"runs.{name}"
    bound, state = address.bound(key, values), st.session_state
    chosen = [value for value in state.get(key, st.query_params.get_all(key)) if value in values]
    if not values or (len(values) < 2 and name != "tag" and not chosen):
        return []
    state[key] = chosen
    return st.multiselect(name.capitalize(), values, placeholder="any", persist_state="session", width=132, **bound)


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
