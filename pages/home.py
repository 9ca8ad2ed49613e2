"""Home: where one stands, the best runs so far, and the way in for a newcomer."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from ctbench_ui import cache, demo, form, tables
from ctbench_ui.navigation import go, page
from ctbench_ui.style import ago, state_badge

rows = cache.run_rows(str(form.outputs_root()))

with st.container(horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute"):
    st.title("ctbench", anchor=False)
    if rows and st.button("New run", type="primary", icon=":material/add:", key="new-run"):
        go("train")
st.markdown(
    "Benchmark heads trained on pre-computed embeddings of chest CT volumes and reports: train, watch, evaluate by "
    "finding, and measure how well images and reports align."
)

data_done = demo.has_data()
active = next((row for row in rows if row["state"] in ("running", "queued", "cancelling")), None)
opened = next((row for row in rows if row["tests"]), None)
steps = st.columns(3)
with steps[0].container(border=True, height="stretch"):
    st.markdown("**1 · Data**")
    st.caption(
        f"{':material/check_circle: chosen' if data_done else ':material/radio_button_unchecked: choose features and manifests'}"
    )
    st.page_link(page("data"), label="Choose and check", icon=":material/database:")
with steps[1].container(border=True, height="stretch"):
    st.markdown("**2 · Train**")
    said = f"{state_badge(active['state'])} epoch {active['epoch']}" if active else f"{len(rows)} runs so far"
    st.caption(said)
    st.page_link(page("train"), label="Set up a head", icon=":material/model_training:")
with steps[2].container(border=True, height="stretch"):
    st.markdown("**3 · Look**")
    st.caption(f"last test opened: {next(iter(opened['tests']))}" if opened else "no test set opened yet")
    st.page_link(page("evaluate"), label="Evaluate by finding", icon=":material/query_stats:")

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
else:
    st.subheader("Best runs", anchor=False)
    frame = pd.DataFrame(rows).sort_values("val_auprc", ascending=False, na_position="last").head(5)
    tables.runs(frame, key="best-runs")
    st.page_link(page("runs"), label="All runs", icon=":material/list_alt:")
    ended = [row for row in rows if row["state"] in ("failed", "interrupted")][:3]
    if ended:
        st.subheader("Needs a look", anchor=False)
    for row in ended:
        st.markdown(f"{state_badge(row['state'])} **{row['name']}** · {ago(row['created'])}")
        st.caption(str(row["error"] or "").splitlines()[0] if row["error"] else "")
