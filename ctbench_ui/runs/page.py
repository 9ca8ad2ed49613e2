"""Runs: the queue, and every run of the store, one by one, by recipe, by any setting or by label budget."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from ctbench_core import query
from ctbench_core.formatting import plural
from ctbench_core.query import Expression
from ctbench_core.runs import ACTIVE, best_order, run_fields
from ctbench_ui import form
from ctbench_ui.frame import address, readonly
from ctbench_ui.runs import (
    bulk,
    by_budget,
    card,
    filters,
    groups,
    import_runs,
    learning_curves,
    queue,
    recipes,
    saved_views,
)
from ctbench_ui.shared import cache, compare_recipes, damaged, deletion, exports, linked_ids, run_table, show_empty
from ctbench_ui.shared.controls import default_of, set_value

_LINK, _CHOSEN, _TABLE = "run", "runs.chosen", "runs.table"
_RECIPE, _RECIPES, _RECIPE_TABLE = "recipe", "runs.recipes", "runs.recipe-table"
_ALL, _SOME = "runs.all", "runs.some"  # whether every run is selected, and whether a row of them was just deselected
_PAGE, _SHOWN = "runs.page", "runs.shown"
_BEST, _NEWEST = "Best first", "Newest first"
_BY_SET = "Best first within each validation set. "
_VIEWS = ("Runs", "By recipe", "By setting", "By budget")
PAGE = 200  # runs at a time: a page of them is some 100 kB
_LISTED = 1000  # ids in an address: a server refuses one of more than 64 KiB
_GROUP = "study"
_FEW = 12  # runs that need no table as high as the window; its rows are drawn over at least 25rem
_MANY = 100  # runs that fill the table of every window
_STYLE = """<style>
.st-key-runs-high [data-testid=stDataFrame] {height: max(25rem, calc(100vh - 21.5rem)) !important}
@media (max-width: 640px) {.st-key-runs-high [data-testid=stDataFrame] {height: 25rem !important}}
.st-key-runs-head h1 {padding-bottom: .4rem}
.st-key-runs-split > div:has(> .st-key-run-panel) {flex: 1 1 24rem !important; min-width: min(100%, 22rem)}
.st-key-runs-split > div:has(> .st-key-runs-list) {flex: 100 1 24rem !important; min-width: min(100%, 22rem)}
.st-key-runs-split > div:has(> .st-key-runs-curves-panel) {flex: 100 1 36rem !important; min-width: min(100%, 22rem)}
@media (min-width: 1600px) {
  .st-key-runs-split > div:has(> .st-key-run-panel) {flex-grow: 60 !important}
}
[class*=st-key-runs-bar] {flex-wrap: nowrap; gap: .5rem; min-height: 2.5rem; overflow: auto hidden; scrollbar-width: none}
[class*=st-key-runs-bar] {padding-bottom: .75rem; margin-bottom: -.75rem}
[class*=st-key-runs-bar] > * {flex-shrink: 0}
[class*=st-key-runs-bar] button {min-height: 2rem; padding: .25rem .5rem}
[class*=st-key-runs-bar] :is(button p, label p, strong) {font-size: .875rem}
[class*=st-key-runs-table] [data-testid=stElementToolbar] {top: auto !important; bottom: -2.1rem}
[class*=st-key-runs-table] {padding-bottom: 1.75rem}
@media (max-width: 640px) {
  [class*=st-key-runs-bar] > :has(> :is([class*=st-key-runs-hint], [class*=st-key-runs-deleted]:empty)) {display: none}
  [class*=st-key-runs-deleted] span:has(> [data-testid=stIconMaterial]) {display: none}
  [class*=st-key-runs-bar] {padding-right: 1rem; mask-image: linear-gradient(to left, transparent, #000 1rem)}
  .st-key-runs-controls {gap: .5rem}
  .st-key-runs-controls button {padding-inline: .5rem}
  .st-key-runs-controls > * {order: 2}
  .st-key-runs-controls > :first-child {order: 0}
  .st-key-runs-controls > :last-child {order: 1; margin-left: auto}
  .st-key-runs-order {flex: 0 1 8.5rem !important; width: 8.5rem !important; min-width: 0 !important}
}
.st-key-card-metrics table {font-size: .875rem; font-variant-numeric: tabular-nums}
.st-key-card-metrics :is(th, td) {padding: .25rem .5rem !important}
.st-key-runs-chips button {min-height: 1.8rem; padding-block: 0}
</style>"""
# On a phone a panel follows the table, which then has five rows.
_STYLE_BESIDE = """<style>
@media (max-width: 640px) {
  .st-key-runs-list .st-key-runs-high [data-testid=stDataFrame] {height: 14.4rem !important}
  .st-key-runs-list :is([data-testid=stDataFrameResizable], .stDataFrameGlideDataEditor) {min-height: 0 !important; max-height: 14.4rem !important}
}
</style>"""
_STYLE_CURVES = """<style>
.st-key-runs-split > div:has(> .st-key-runs-list) {flex: 65 1 23rem !important; min-width: min(100%, 20rem)}
</style>"""

Rows = Sequence[dict[str, Any]]


def draw() -> None:
    """Draw the page."""
    st.html(_STYLE)
    head = st.container(horizontal=True, vertical_alignment="center", key="runs-head")
    head.title("Runs", anchor=False, width="content")
    table = cache.read_table(form.outputs_root())
    rows = cache.named(table.training_runs)
    linked = linked_ids.read_ids("runs", _LINK, {row["run_id"] for row in rows}, {row["run_id"] for row in table.rows})
    with st.container():  # what follows keeps its place
        deletion.offer_undo()
        bulk.draw_result()
        if not readonly.is_on():
            queue.draw([row["run_dir"] for row in reversed(table.rows) if row["state"] in ACTIVE])
        damaged.draw_list(table.damaged)
    if rows:
        _runs(rows, linked, head)
    else:
        text = "Each training run appears here with its settings, curves and metrics."
        show_empty("No runs yet", text, "Configure a run", "train")
        deletion.link_to_deleted()
    if not readonly.is_on():
        import_runs.draw(form.outputs_root())


def _runs(every: Rows, linked: list[str], head: Any) -> None:
    """Draw the query, the controls, and the view that they choose.

    Args:
        linked: the runs selected by the address.
        head: the place beside the title.
    """
    expression = filters.draw(every, head)
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="runs-controls"):
        view, order, columns = _controls()
    if expression is None:
        return
    rows = filters.matching(every, expression)
    if view != "By recipe":
        _linked_recipes(every)
        address.write_ids(_RECIPE, [])
    if not rows:
        st.info("No runs match.", icon=":material/filter_alt_off:")
        st.button("Clear filters", key="runs.clear-all", on_click=filters.clear)
    elif view == "By budget":
        by_budget.draw(pd.DataFrame(rows))
    elif view == "By recipe":
        _by_recipe(rows, order, columns, every, linked)
    elif view == "By setting":
        _by_setting(rows, expression, every)
    else:
        _list(rows, order, columns, every, linked)


def _controls() -> tuple[str, str, list[str]]:
    """Draw the choice of view, grouping, order and columns."""
    view = str(
        st.segmented_control(
            "View",
            _VIEWS,
            default=default_of("runs.view", _VIEWS[0]),
            required=True,
            label_visibility="collapsed",
            persist_state="session",
            **address.bound("runs.view", _VIEWS),
        )
    )
    titles = run_table.column_titles()
    orders = [_BEST, _NEWEST, *(f"{title} {arrow}" for title in titles.values() for arrow in "↑↓")]
    order, columns = _BEST, []
    if view == "By setting":
        names = list(run_fields())
        st.selectbox(
            "Group by",
            names,
            index=default_of("runs.group", names.index(_GROUP)),
            label_visibility="collapsed",
            width=200,
            persist_state="session",
            **address.bound("runs.group", names),
        )
    elif view != "By budget":  # which has an order and columns of its own
        order = st.selectbox(
            "Order",
            orders,
            label_visibility="collapsed",
            persist_state="session",
            width=170,
            **address.bound("runs.order", orders),
        )
        columns = run_table.pick_columns()
    known = {"runs.view": _VIEWS, "runs.group": list(run_fields()), "runs.order": orders, "runs.columns": list(titles)}
    saved_views.draw(form.outputs_root(), known)
    readonly.offer_link(st.container(width="content"))
    return view, order, columns


def _by_recipe(rows: Rows, order: str, columns: Sequence[str], every: Rows, linked: list[str]) -> None:
    frame = pd.DataFrame(rows)
    table = recipes.table(frame)
    bar = _make_bar("recipes")
    with st.container(key="runs-table-recipes"):
        chosen = _select_recipes(table, frame, every)
    runs = [row for row in rows if row["recipe"] in chosen]
    with bar:
        if len(chosen) > 1:
            st.markdown(f"**{len(chosen):,} selected**", width="content")
            ranked = run_table.best_first(pd.DataFrame(runs))
            compare_recipes.offer(compare_recipes.best_runs(chosen, ranked), ranked, "compare-recipes", is_short=True)
        else:
            _count(
                f"{plural(len(table), 'recipe')} of {plural(len(every), 'run')}",
                f"{_describe_means(table)}Select one for its runs, two to compare them.",
                "recipes",
            )
        exports.download("CSV", table, "recipes.csv", "runs-csv")
    if len(chosen) == 1:
        _list(runs, order, columns, every, linked, "recipe-runs-csv")


def _select_recipes(table: pd.DataFrame, frame: pd.DataFrame, every: Rows) -> list[str]:
    """Draw recipes to select; return the selected ones, each of which the address names by the id of a run."""
    state, linked = st.session_state, _linked_recipes(every)
    if linked != state.get(_RECIPES, []):  # the address has changed: a table that begins with its selection
        state[_RECIPE_TABLE] = state.get(_RECIPE_TABLE, 0) + 1
    key = f"recipes-{state[_RECIPE_TABLE]}" if _RECIPE_TABLE in state else "recipes"
    state[_RECIPES] = recipes.draw(table, frame, linked, key)
    oldest = {row["recipe"]: row["run_id"] for row in every}  # rows come newest first
    address.write_ids(_RECIPE, [oldest[recipe] for recipe in state[_RECIPES]])
    return list(state[_RECIPES])


def _linked_recipes(every: Rows) -> list[str]:
    """Return the recipes that the address names; report one of a run that is not stored, and end the page."""
    recipe_of = {row["run_id"]: row["recipe"] for row in every}
    return [recipe_of[run_id] for run_id in linked_ids.read_ids("runs", _RECIPE, recipe_of)]


def _describe_means(table: pd.DataFrame) -> str:
    """Write how recipes are ordered, and why one has no mean."""
    has_none = (table["n"].gt(0) & table["val_auprc"].isna()).any()
    return f"{_BY_SET if table['set'].nunique() > 1 else ''}{'No mean over several sets. ' if has_none else ''}"


def _make_bar(name: str = "") -> Any:
    """Return the place of the controls above a table: one line, whatever is selected, so that the table stays where it is."""
    key = "-".join(filter(None, ("runs-bar", name)))
    return st.container(horizontal=True, vertical_alignment="center", gap="small", key=key)


def _count(count: str, hint: str, name: str) -> None:
    """Draw how much a table shows, and on a wide screen what can be done with its rows."""
    st.caption(count, width="content")
    with st.container(width="content", key=f"runs-deleted-{name}"):
        deletion.link_to_deleted()
    with st.container(width="content", key=f"runs-hint-{name}"):
        st.caption(hint)


def _by_setting(rows: Rows, expression: Expression, every: Rows) -> None:
    name = str(st.session_state["runs.group"])
    table = groups.table(rows, name)
    bar = _make_bar("groups")
    with st.container(key="runs-table-groups"):
        chosen = groups.draw(table, name)
    with bar:
        _count(f"{plural(len(table), 'group')} of {plural(len(every), 'run')}", "Select one for its runs.", "groups")
        if chosen is not None:
            text = query.write(functools.reduce(query.with_term, groups.terms(name, *chosen), expression), run_fields())
            st.button(
                "Show these runs", key="group-runs", icon=":material/filter_list:", on_click=_show_group, args=(text,)
            )
        exports.download("CSV", table, "groups.csv", "runs-csv")


def _show_group(text: str) -> None:
    st.session_state[filters.KEY] = text
    set_value("runs.view", _VIEWS[0])


def _list(
    rows: Rows, order: str, columns: Sequence[str], every: Rows, linked: list[str], csv_key: str = "runs-csv"
) -> None:
    """Draw runs to select from, the actions on those selected, and the panel of a single one."""
    rows, sets = _ordered(rows, order)
    tags = sorted({tag for row in every for tag in row["tags"]})
    bar = _make_bar()
    with st.container(horizontal=True, gap="small", key="runs-split"):
        with st.container(key="runs-list"):
            with st.container(key="runs-table"):
                _limit_height(len(rows))
                place = st.container(key="runs-high" if len(rows) > _FEW else "runs-low")
            first = _first_row(rows, order, linked)
            selected, has_curves = _draw_table(rows, sets, first, columns, linked, place, bar)
        with bar:
            _bar(rows, selected, every, tags, csv_key, order == _BEST and len(set(sets)) > 1)
        if has_curves or len(selected) == 1:
            st.html(_STYLE_BESIDE)
        if len(selected) == 1:
            with st.container(key="run-panel"):
                card.draw(Path(selected[0]["run_dir"]), selected[0]["name"], tags)
        elif has_curves:
            with st.container(key="runs-curves-panel"):
                st.html(_STYLE_CURVES)
                learning_curves.draw(selected or rows, "selected run" if selected else "run")


def _draw_table(
    rows: Rows, sets: Sequence[str], first: int, columns: Sequence[str], linked: list[str], place: Any, bar: Any
) -> tuple[Rows, bool]:
    """Draw a page of the table, and the controls of all its rows; return the selected runs, and whether curves are shown.

    Args:
        place: the container of the table. bar: that of the controls above it.
    """
    with bar:
        takes_all = _takes_all(rows)
    page, ids = slice(first, first + PAGE), [row["run_id"] for row in rows]
    linked = ids[page] if takes_all else _begin_selection(linked)
    shown = (rows[page], _table_key())
    before = ids if takes_all else _join_pages(ids, page, linked, run_table.runs_selected(*shown, linked))
    with bar:
        has_curves = learning_curves.offer(has_card=len(before) == 1)
    by_id = {row["run_id"]: row for row in rows}
    with place:
        chosen = run_table.select_runs(
            *shown,
            sets[page],
            columns,
            linked,
            height="stretch" if len(rows) > _FEW else "auto",
            is_beside=has_curves or len(before) == 1,
            places=learning_curves.marked_rows([by_id[run_id] for run_id in before] or rows) if has_curves else {},
        )
        chosen = _keep_all(ids, page, chosen) if takes_all else _keep_some(ids, page, linked, chosen)
    return [by_id[run_id] for run_id in chosen], has_curves


def _limit_height(rows: int) -> None:
    """Keep a table from being higher than its rows, which a high window would show as empty ones."""
    if rows < _MANY:
        height = run_table.height_of(rows)
        st.html(f"<style>.st-key-runs-high [data-testid=stDataFrame] {{max-height: {height}px}}</style>")


def _first_row(rows: Rows, order: str, linked: list[str]) -> int:
    """Draw the choice of a page, where there are several; return the place of its first row."""
    return (_pick_page([row["run_id"] for row in rows], order, linked) - 1) * PAGE if len(rows) > PAGE else 0


def _takes_all(rows: Rows) -> bool:
    """Draw the choice of all runs, where there are several; return whether it is made.

    Each change draws a new table, as the selection of one that is drawn cannot be set.
    """
    if st.session_state.pop(_SOME, False):
        st.session_state[_ALL] = False
    help = "Select every run that matches, on all pages." if len(rows) > PAGE else None
    return len(rows) > 1 and st.checkbox(
        f"Select all {len(rows):,}", help=help, width="content", on_change=_start_table, **address.bound(_ALL)
    )


def _start_table() -> None:
    """Draw a new table, without the rows selected one by one."""
    st.session_state[_TABLE] = st.session_state.get(_TABLE, 0) + 1
    _keep([])


def _pick_page(ids: list[str], order: str, linked: list[str]) -> int:
    """Draw the choice of a page, which begins at the first for another list, and at that of a run in the address."""
    pages, state = -(-len(ids) // PAGE), st.session_state
    shown = (len(ids), ids[0], ids[-1], order)
    is_other = state.get(_SHOWN, shown) != shown and not address.is_opened()
    if _PAGE in state and (is_other or state[_PAGE] > pages):
        state[_PAGE] = 1
    state[_SHOWN] = shown
    selected = next((ids.index(run_id) for run_id in linked if run_id in ids), 0)
    options = address.bound(_PAGE, range(1, pages + 1))
    return st.pagination(pages, default=selected // PAGE + 1, persist_state="session", **options)


def _bar(rows: Rows, selected: Rows, every: Rows, tags: list[str], csv_key: str, is_by_set: bool) -> None:
    """Draw how many runs are shown, or the actions on those selected.

    Args:
        is_by_set: whether the best come first only within each validation set.
    """
    if len(selected) > 1:
        st.markdown(f"**{len(selected):,} selected**", width="content")
        bulk.draw(selected, tags)
        return
    rest = (
        "The card has the curves of the selected run."
        if selected
        else "Select one for its details, several to act on them."
    )
    hint = f"{_BY_SET if is_by_set else ''}{rest}"
    _count(f"{len(rows):,} of {plural(len(every), 'run')}", hint, "runs")
    exports.download("CSV", lambda: run_table.export_frame(pd.DataFrame(rows)), "runs.csv", csv_key)


def _ordered(rows: Rows, order: str) -> tuple[list[dict[str, Any]], list[str]]:
    """Return runs in an order, and the name of each one's validation set."""
    places = best_order(*([row[name] for row in rows] for name in ("validation_set", "created", "val_auprc")))
    names = run_table.where_several([row["validation_name"] for row in rows])
    if order == _NEWEST:
        places.sort(key=lambda place: rows[place]["created"], reverse=True)
    elif order != _BEST:
        title, _, arrow = order.rpartition(" ")
        name = next(name for name, shown in run_table.column_titles().items() if shown == title)
        places = _by_column(rows, places, name, names, arrow == "↓")
    return [rows[place] for place in places], [names[place] for place in places]


def _by_column(rows: Rows, places: list[int], name: str, names: Sequence[str], is_descending: bool) -> list[int]:
    """Return places ordered by a column; runs without a value come last."""
    field = run_fields().find(name)
    values = {place: field.value(rows[place]) if field else names[place] for place in places}
    is_text = any(isinstance(value, str) for value in values.values())
    filled = [place for place in places if values[place] is not None]
    key = (lambda place: str(values[place]).casefold()) if is_text else values.__getitem__
    return sorted(filled, key=key, reverse=is_descending) + [place for place in places if values[place] is None]


def _begin_selection(linked: list[str]) -> list[str]:
    """Return the runs that are selected at first; where the address has changed, a new table begins with them."""
    shown = st.session_state.setdefault(_CHOSEN, [])
    if not linked and address.is_opened():  # back on the page: what was selected last
        linked = shown
    if linked != shown:
        st.session_state[_TABLE] = st.session_state.get(_TABLE, 0) + 1
    return linked


def _join_pages(ids: Sequence[str], page: slice, linked: Sequence[str], chosen: Sequence[str]) -> list[str]:
    """Return the selected runs of all pages: those of the other pages, then those of this one."""
    others = set(ids) - set(ids[page])
    return [run_id for run_id in linked if run_id in others] + list(chosen)


def _keep_some(ids: Sequence[str], page: slice, linked: Sequence[str], chosen: Sequence[str]) -> list[str]:
    """Keep the runs selected one by one; return those of all pages."""
    chosen = _join_pages(ids, page, linked, chosen)
    _keep(chosen)
    if hidden := len(set(linked).difference(ids)):
        st.caption(f":material/filter_alt: {plural(hidden, 'selected run')} outside these filters.")
    return chosen


def _keep_all(ids: Sequence[str], page: slice, chosen: Sequence[str]) -> list[str]:
    """Return all runs; where a row of this page was deselected, keep the others as selected one by one."""
    if len(chosen) < len(ids[page]):
        left = set(ids) - set(ids[page]) | set(chosen) if len(ids) <= _LISTED else set(chosen)
        _keep([run_id for run_id in ids if run_id in left])
        st.session_state[_SOME] = True
        st.rerun()
    _keep([])
    return list(ids)


def _table_key() -> str:
    return f"runs-{st.session_state.get(_TABLE, 0)}"


def _keep(chosen: list[str]) -> None:
    """Keep the selected runs for the next look at the page, and in the address."""
    st.session_state[_CHOSEN] = chosen
    address.write_ids(_LINK, chosen)
