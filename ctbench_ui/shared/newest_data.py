"""Offer the data of the newest run where none are chosen: in a new browser, or after runs from Python."""

from __future__ import annotations

import streamlit as st

from ctbench_core.config import KEYS
from ctbench_core.runs import RunTable, open_run
from ctbench_ui import form
from ctbench_ui.frame import readonly
from ctbench_ui.shared import cache
from ctbench_ui.shared.feedback import show_errors
from ctbench_ui.shared.text import as_text


def offer(table: RunTable | None = None) -> None:
    """Say which data the newest training run used, with a button that chooses them; draw nothing without a run.

    Args:
        table: of the store, where the page has read it already.
    """
    rows = (table or cache.read_table(form.outputs_root())).training_runs
    if not rows or readonly.is_on():
        return
    row = rows[0]
    with show_errors("The newest run cannot be read"):
        config = open_run(row["run_dir"]).config
        place = f"{config.paths.manifest_dir.rstrip('/')}/{config.data.train_manifest}"
        st.caption(f"The newest run used {as_text(row['encoder'])} with {as_text(place)}.")
        if st.button("Use these data", icon=":material/history:", key="use-newest-data"):
            name = cache.named(rows)[0]["name"]  # of thousands of runs it takes its time
            form.fill_on_rerun(config, lambda key: KEYS[key].is_input, f"Data of run {name}")
            st.rerun(scope="app")
