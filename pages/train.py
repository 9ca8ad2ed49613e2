"""Train: set up one run, start it, watch it."""

from __future__ import annotations

import streamlit as st

from ctbench_core.errors import CtbenchError
from ctbench_core.jobs import get_runner
from ctbench_core.train.splits import read_training_manifests
from ctbench_core.words import to_command
from ctbench_ui import cache, feedback, form, live, outlook, presets, setup, watched

with st.container(horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute"):
    st.title("Train", anchor=False)
    setup.preset_menu(presets.HEADS)

shown = watched.chosen()
found = None
try:
    found = cache.peek(form.config())
except CtbenchError as error:
    if not shown and not form.data_chosen():
        feedback.empty(
            "No data yet", "Choose a feature root and manifests, or make the demo data.", "Choose data", "data"
        )
        st.stop()
    feedback.problem("The chosen data cannot be read", str(error))

what, head, how = st.columns(3, gap="large")
with what:
    setup.what(found)
with head:
    setup.head(found)
with how:
    setup.how()
config = None
more, command = st.columns(2, gap="large")
with more:
    setup.advanced()
form.keep()
with command, feedback.guarded("A setting does not fit"):
    config = form.config()
    with st.expander(
        "The same on the command line", icon=":material/terminal:", key="train.command", on_change="rerun"
    ) as box:
        if box.open:
            st.code(to_command(config), language="bash", wrap_lines=True)

outlook.draw(config)
runner = get_runner()
with st.container(horizontal=True, vertical_alignment="center"):
    start = st.button(
        "Queue" if runner.active() else "Start",
        type="primary",
        icon=":material/play_arrow:",
        key="start",
        disabled=config is None,
    )
    if shown:
        watched.actions(shown)
    if estimate := setup.estimate(config):
        st.caption(estimate)
if start and config is not None:
    with feedback.guarded("The run cannot start"):
        read_training_manifests(config)  # what is wrong with a manifest shows before anything is queued
        watched.choose(runner.submit(config))
        st.rerun()
if shown:
    live.draw(shown, "train-live")
