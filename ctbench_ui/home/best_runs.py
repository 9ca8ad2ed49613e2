"""The best run of each recipe on Home: two selected rows are one click from their comparison."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from ctbench_core.formatting import plural
from ctbench_ui.pages import go, page
from ctbench_ui.shared import run_table
from ctbench_ui.shared.run_picker import MOST

_HEIGHT = 320  # of the table, in pixels; it scrolls


def draw(rows: list[dict[str, Any]]) -> None:
    """Draw the best run of each recipe, starred ones first, and the actions on those selected.

    Validation metrics of different volumes do not rank runs: recipes with other validation sets come last.
    """
    ranked = run_table.best_first(pd.DataFrame(rows))
    shown = ranked[~ranked.duplicated("recipe") | ranked["pinned"]]
    shown = shown.sort_values("pinned", ascending=False, kind="stable")
    st.header("Best runs", anchor=False)
    chosen = run_table.select_brief(shown, "best-runs", _HEIGHT)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        _draw_actions(chosen, ranked)
        st.page_link(page("runs"), label="All runs", icon=":material/list_alt:")
        st.caption(
            f"The best of each recipe on validation: {plural(ranked['recipe'].nunique(), 'recipe')}. Select two to compare."
        )


def _draw_actions(chosen: list[str], ranked: pd.DataFrame) -> None:
    if st.button(
        "Open",
        icon=":material/open_in_new:",
        key="open-best",
        disabled=len(chosen) != 1,
        help="Opens the selected run.",
    ):
        go("runs", {"run": chosen[0]})
    scored = [run_id for row in chosen if (run_id := _with_results(row, ranked))]
    if st.button(
        "Compare",
        type="primary",
        icon=":material/compare:",
        key="compare-best",
        disabled=len(scored) < len(chosen) or not 2 <= len(scored) <= MOST,
        help=f"Select 2 to {MOST} recipes with test results; the uppermost is the baseline.",
    ):
        go("compare", {"runs": ",".join(scored)})


def _with_results(run_id: str, ranked: pd.DataFrame) -> str | None:
    """Return a run of the same recipe with test results: itself where it has any, else the best one."""
    (recipe,) = ranked.loc[ranked["run_id"] == run_id, "recipe"]
    scored = ranked.loc[(ranked["recipe"] == recipe) & ranked["tests"].map(bool), "run_id"].tolist()
    return run_id if run_id in scored else next(iter(scored), None)
