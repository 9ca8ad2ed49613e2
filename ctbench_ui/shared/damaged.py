"""The damaged runs of the store on the pages: one row each."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import pandas as pd
import streamlit as st

from ctbench_core.formatting import plural
from ctbench_core.runs import DamagedRun
from ctbench_ui.frame import readonly
from ctbench_ui.pages import page
from ctbench_ui.shared import cache
from ctbench_ui.shared.feedback import show_error


def show(outputs_root: Path, run_ids: Collection[str]) -> bool:
    """Show what is wrong with those of some runs that are damaged, and what to do; return whether any is."""
    reasons = [run.reason for run in cache.damaged_rows(str(outputs_root)) if run.run_id in run_ids]
    if reasons:
        show_error("This run is damaged", "\n".join(reasons))
    return bool(reasons)


def draw_list(runs: Sequence[DamagedRun]) -> None:
    """Draw a row for each damaged run, with its file and the cause; nothing where there is none."""
    if not runs:
        return
    rows = [{"Run": run.run_id, "State": "damaged", "What is wrong": run.summary} for run in runs]
    count = plural(len(runs), "damaged run")
    st.caption(f":material/broken_image: {count}, left out below. All other runs are unaffected.")
    columns = {"What is wrong": st.column_config.TextColumn(width="large")}
    st.dataframe(pd.DataFrame(rows), hide_index=True, key="damaged-runs", column_config=columns, alt=count)
    if not readonly.is_on():
        st.page_link(page("system"), label="Repair or set aside", icon=":material/healing:")
