"""The best runs or recipes of Home: of one validation set at a time, since metrics of others do not rank them."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from ctbench_core.formatting import plural
from ctbench_core.runs import open_run, recipe_query
from ctbench_ui.frame import address
from ctbench_ui.pages import go, page
from ctbench_ui.shared import as_text, cache, compare_recipes, linked_ids, run_actions, run_table, show_errors

_HEIGHT = 320  # of the table, in pixels; it scrolls
_RUNS, _RECIPES = "Runs", "Recipes"
_SET, _PARAMETER = "home.set", "set"
_NAMED = 2  # encoders that the title of a validation set names


def draw(rows: list[dict[str, Any]]) -> None:
    """Draw the best by validation AUPRC on the chosen validation set, at first that of most runs."""
    st.header("Best runs", anchor=False)
    frame = cache.frame_of(rows)
    ranked = frame[frame["val_auprc"].notna()]
    if ranked.empty:
        st.caption("No run has a validation AUPRC yet.")
    else:
        _draw_ranked(run_table.best_first(ranked), frame, rows)
    st.page_link(page("runs"), label="All runs", icon=":material/list_alt:")


def _draw_ranked(ranked: pd.DataFrame, frame: pd.DataFrame, rows: list[dict[str, Any]]) -> None:
    """Draw what is ranked, on which validation set, and the table.

    Args:
        ranked: the runs with a metric, best first. frame: every run.
    """
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        what = st.segmented_control(
            "Rank",
            [_RUNS, _RECIPES],
            default=_RUNS,
            required=True,
            label_visibility="collapsed",
            persist_state="session",
            **address.bound("home.best", (_RUNS, _RECIPES)),
        )
        chosen = _pick_set(ranked)
    ranked = ranked[ranked["validation_set"] == chosen]
    if what == _RECIPES:
        _draw_recipes(frame[frame["validation_set"] == chosen], ranked, rows)
    else:
        _draw_runs(ranked)


def _pick_set(ranked: pd.DataFrame) -> str:
    """Draw the choice of a validation set, where there are several; return its identity, which the address has."""
    titles = {str(name): _title(runs) for name, runs in ranked.groupby("validation_set", sort=False)}
    linked = linked_ids.read_id("home", _PARAMETER, titles)
    if len(titles) < 2:
        return next(iter(titles))
    if linked:
        st.session_state[_SET] = linked
    help_ = "Runs validated on the same volumes and labels. Only these are ranked against each other."
    return str(
        st.selectbox(
            "Validation set",
            list(titles),
            format_func=titles.__getitem__,
            key=_SET,
            help=help_,
            on_change=lambda: address.write_ids(_PARAMETER, [st.session_state[_SET]]),
            width=340,
            label_visibility="collapsed",
        )
    )


def _title(runs: pd.DataFrame) -> str:
    """Write a validation set: its name, how many runs have metrics on it, and of which encoders and budgets."""
    encoders = list(dict.fromkeys(runs["encoder"]))
    more = f" and {len(encoders) - _NAMED} more" if len(encoders) > _NAMED else ""
    budgets = sorted({int(budget) for budget in runs["budget"].dropna()})
    parts = [runs["set"].iloc[0], plural(len(runs), "run"), ", ".join(map(str, encoders[:_NAMED])) + more]
    text = f"budget {', '.join(map(str, budgets))}"
    parts += [text] if budgets and text not in parts[0].split(", ") else []  # a set may be named by its budget
    return "Validation set " + " · ".join(filter(None, parts))


def _draw_runs(ranked: pd.DataFrame) -> None:
    """Draw the best run of each recipe and the starred ones, and what can be done with those selected."""
    shown = ranked[~ranked.duplicated("recipe") | ranked["pinned"]]
    chosen = run_table.select_brief(shown, "best-runs", _HEIGHT)
    if len(chosen) == 1:
        _draw_one(shown[shown["run_id"] == chosen[0]].iloc[0])
    elif chosen:
        compare_recipes.offer(chosen, ranked, "compare-best")
    else:
        recipes = ranked["recipe"].nunique()
        starred = ", and starred runs" if len(shown) > recipes else ""
        st.caption(
            f"The best run of each recipe: {plural(recipes, 'recipe')}{starred}. Select one to open it, two to compare them."
        )


def _draw_one(row: pd.Series) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="best-actions"):
        st.markdown(f"**{as_text(row['name'])}**", width="content")
        if row["best_epoch"] is not None and st.button("Evaluate", icon=":material/query_stats:", key="best-evaluate"):
            go("evaluate", {"run": row["run_id"]})
        if st.button("Details", icon=":material/list_alt:", key="best-details"):
            go("runs", {"run": row["run_id"]})
        with show_errors("This run cannot be read"):
            run_actions.draw(open_run(row["run_dir"]), "best")


def _draw_recipes(runs: pd.DataFrame, ranked: pd.DataFrame, every: list[dict[str, Any]]) -> None:
    # The table of recipes and its intervals are of the Runs page, and loaded with it.
    from ctbench_ui.runs import filters, recipes

    table = recipes.table(runs)
    listed = runs["recipe"].isin(table.loc[table["val_auprc"].notna(), "recipe"])
    if not listed.all():  # the others are told apart without those that are not listed
        runs = runs[listed]
        table = recipes.table(runs) if len(runs) else table.iloc[:0]
    if table.empty:
        st.caption("No recipe has a finished run yet.")
        return
    chosen = recipes.draw(table, runs)
    if len(chosen) == 1:
        count = sum(row["recipe"] == chosen[0] for row in every)
        if st.button(f"Show {plural(count, 'run')}", icon=":material/filter_list:", key="best-recipe-runs"):
            filters.open_runs(recipe_query(every, chosen[0]))
    elif chosen:
        compare_recipes.offer(compare_recipes.best_runs(chosen, ranked), ranked, "compare-best")
    else:
        st.caption(f"{plural(len(table), 'recipe')}. Select one for its runs, two to compare them.")
