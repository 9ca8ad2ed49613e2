"""Runs: the queue, and every run of the store, one by one, grouped by recipe, or by label budget."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import streamlit as st

from ctbench_ui import form
from ctbench_ui.runs import by_budget, card, edits, filter, import_runs, queue, recipes
from ctbench_ui.shared import cache, compare_link, feedback, run_table, tables

_CHOSEN = "runs.chosen"
_ORDERS = {"Best first": "val_auprc", "Newest first": "created"}


def draw() -> None:
    """Draw the page."""
    st.title("Runs", anchor=False)
    edits.offer_undo()
    queue.draw()
    rows = cache.run_rows(str(form.outputs_root()))
    if not rows:
        feedback.empty(
            "No run yet", "Every training is kept here with its settings, curves and figures.", "Set up a run", "train"
        )
        import_runs.draw(form.outputs_root())
        st.stop()
    frame = pd.DataFrame(rows)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        view = st.segmented_control(
            "View",
            ["Runs", "By recipe", "By budget"],
            default="Runs",
            required=True,
            key="runs.view",
            persist_state="session",
        )
        plain = view != "By budget"  # which has an order and columns of its own
        order = next(iter(_ORDERS))
        if plain:
            order = st.selectbox("Order", list(_ORDERS), key="runs.order", persist_state="session", width=128)
        kept = filter.draw(frame)
        columns = run_table.pick_columns() if plain else []
    kept = kept.sort_values(_ORDERS[order], ascending=False, na_position="last", kind="stable")
    if not len(kept):
        st.info("No run passes these filters.", icon=":material/filter_alt_off:")
        st.stop()
    if not plain:
        by_budget.draw(kept)
        import_runs.draw(form.outputs_root())
        st.stop()
    table = run_table.export(kept)
    if view == "By recipe":
        grouped = recipes.table(kept)
        recipe = recipes.draw(grouped)
        table = grouped
        kept = kept[kept["recipe"] == recipe]
    chosen: list[str] = []
    if len(kept):
        chosen = run_table.draw(kept, "runs", columns, st.session_state.get(_CHOSEN, []))
        st.session_state[_CHOSEN] = chosen
    with st.container(horizontal=True, vertical_alignment="center"):
        picks = "a run for its settings, curves and files, several to compare them"
        what = "a recipe for its runs" if view == "By recipe" and not len(kept) else picks
        st.caption(f"{len(table)} shown, {len(frame)} runs in the store. Select {what}.")
        tables.download("Export table", table, "recipes.csv" if view == "By recipe" else "runs.csv", "runs-csv")
    if len(chosen) > 1:
        compare_link.draw(kept[kept["run_id"].isin(chosen)].set_index("run_id").loc[chosen])
    for run_dir in kept.loc[kept["run_id"].isin(chosen), "run_dir"] if len(chosen) == 1 else ():
        card.draw(Path(run_dir), sorted({tag for tags in frame["tags"] for tag in tags}))
    import_runs.draw(form.outputs_root())
