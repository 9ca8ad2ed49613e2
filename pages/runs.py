"""Runs: the queue, and every run of the store."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import streamlit as st

from ctbench_core.jobs import get_runner
from ctbench_core.runs import ENDED, open_run
from ctbench_ui import cache, feedback, form, live, run_card, tables
from ctbench_ui.style import STATES

runner = get_runner()
st.title("Runs", anchor=False)

waiting = runner.queued()
if (active := runner.active()) is not None:
    with st.container(border=True):
        if st.button("Stop", icon=":material/stop:", key="stop"):
            runner.cancel(active)
        live.draw(active, "runs-live")
for folder in waiting:
    with feedback.guarded("A waiting run cannot be read"), st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f":material/schedule: **{open_run(folder).name}** :gray[waiting]", width="stretch")
        if st.button("Remove", key=f"remove-{folder.name}"):
            runner.cancel(folder)
            st.rerun()

rows = cache.run_rows(str(form.outputs_root()))
if not rows:
    feedback.empty(
        "No run yet", "Every training is kept here with its settings, curves and figures.", "Set up a run", "train"
    )
    st.stop()

frame = pd.DataFrame(rows)
with st.container(horizontal=True, vertical_alignment="bottom"):
    text = st.text_input(
        "Filter", key="runs.filter", placeholder="name, encoder, head", persist_state="session", width=280
    )
    states = st.pills(
        "State",
        [state for state in STATES if state in ENDED],
        selection_mode="multi",
        key="runs.states",
        persist_state="session",
    )
words = frame[["name", "encoder", "head", "run_id"]].agg(" ".join, axis=1).str.lower()
kept = frame[words.map(lambda line: all(part in line for part in text.lower().split()))]
if states:
    kept = kept[kept["state"].isin(states)]
kept = kept.reset_index(drop=True)
# A selection is a position: another order or filter must not carry it over.
event = tables.runs(kept, key=f"runs-{abs(hash(tuple(kept['run_id'])))}", selection="single-row")
with st.container(horizontal=True, vertical_alignment="center"):
    st.caption(f"{len(kept)} of {len(frame)} runs. Select one for its settings and files.")
    tables.download("Export table", kept.drop(columns=["tests", "leaks", "alignments"]), "runs.csv", "runs-csv")

chosen = event.selection.rows
if chosen and chosen[0] < len(kept):
    run_card.draw(Path(kept.loc[chosen[0], "run_dir"]))
