"""Compare of selected recipes: which run Compare takes of each, and the button that opens it."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd
import streamlit as st

from ctbench_core.compare import run_for_recipe
from ctbench_ui.frame import readonly
from ctbench_ui.pages import go
from ctbench_ui.shared.run_picker import MOST
from ctbench_ui.shared.text import as_text


def best_runs(recipes: Iterable[str], ranked: pd.DataFrame) -> list[str]:
    """Return the best run of each recipe.

    Args:
        ranked: rows of `cache.run_row`, best first.
    """
    best = ranked.drop_duplicates("recipe").set_index("recipe")["run_id"]
    return [best[recipe] for recipe in recipes]


def offer(chosen: list[str], ranked: pd.DataFrame, key: str, is_short: bool = False) -> None:
    """Draw the button that compares runs of different recipes, and say which repeat Compare takes in place of one.

    Args:
        ranked: rows of `cache.run_row`, best first, each under a name of its own. key: of the button.
        is_short: whether there is one line, which has room for a count; the button's help has the rest.
    """
    scored = [run_id for run_id in _runs_for(chosen, ranked).values() if run_id]
    texts = [as_text(text) for text in replaced(chosen, ranked)]
    help = f"Select 2 to {MOST} recipes with results; the uppermost is the baseline."
    if st.button(
        "Compare",
        type="primary",
        icon=":material/compare:",
        key=key,
        disabled=len(set(scored)) < len(chosen) or len(scored) > MOST,
        help=" ".join([help, *texts]) if is_short else help,
    ):
        go("compare", {"runs": ",".join(scored)})
    if texts:
        own = len(chosen) - len(texts)
        st.caption(f"{own} of {len(chosen)} have results" if is_short else " ".join(texts), width="content")


def replaced(chosen: Iterable[str], ranked: pd.DataFrame) -> list[str]:
    """Write which of some runs have no test results, and which repeat Compare takes in place of each."""
    names = dict(zip(ranked["run_id"], ranked["name"]))
    others = _runs_for(chosen, ranked)
    return [
        f"{names[row]} has no test results" + (f": Compare takes {names[other]} of its recipe." if other else _advice())
        for row, other in others.items()
        if other != row
    ]


def _advice() -> str:
    return "." if readonly.is_on() else ": evaluate it, or a repeat of it, first."


def _runs_for(chosen: Iterable[str], ranked: pd.DataFrame) -> dict[str, str | None]:
    """Return the run that Compare takes for each run; None where none of its recipe has results."""
    rows = {row["run_id"]: row for row in ranked.to_dict("records")}
    found = {run_id: run_for_recipe(rows[run_id], rows.values()) for run_id in chosen}
    return {run_id: row["run_id"] if row else None for run_id, row in found.items()}
