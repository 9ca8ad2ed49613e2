"""Home: where one stands, the best runs so far, and the way in for a newcomer."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from ctbench_ui import form
from ctbench_ui.home import checklist, recent_runs
from ctbench_ui.pages import go, page
from ctbench_ui.shared import cache, demo, run_table

_BEST = 5


def draw() -> None:
    """Draw the page."""
    root = form.outputs_root()
    rows = cache.run_rows(str(root))
    with st.container(horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute"):
        st.title("ctbench", anchor=False)
        if rows and st.button("New run", type="primary", icon=":material/add:", key="new-run"):
            go("train")
    st.markdown(
        "Benchmark heads trained on pre-computed embeddings of chest CT volumes and reports: train, watch, evaluate by "
        "finding, and measure how well images and reports align."
    )
    checklist.draw(rows)
    if not rows:
        with st.container(border=True, horizontal_alignment="center"):
            st.space("small")
            st.subheader("See it work in a minute", text_alignment="center", anchor=False)
            st.markdown(
                "The demo data are random vectors shaped like CT-RATE: its 18 findings, their prevalence and "
                "co-occurrence, patients with several exams, exams with two reconstructions.",
                text_alignment="center",
            )
            if st.button("Try it with demo data", type="primary", icon=":material/science:", key="demo"):
                demo.make()
            st.space("small")
        st.stop()
    best, lately = st.columns([3, 1], gap="medium")
    with best:
        st.subheader("Best runs", anchor=False)
        frame = pd.DataFrame(rows).sort_values(
            ["pinned", "val_auprc"], ascending=False, na_position="last", kind="stable"
        )
        run_table.brief(frame.head(_BEST), key="best-runs")
        st.page_link(page("runs"), label="All runs", icon=":material/list_alt:")
    with lately:
        recent_runs.draw(rows, recent_runs.last_visit(root))
