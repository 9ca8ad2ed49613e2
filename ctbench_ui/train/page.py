"""Train: set up one run, start it, watch it."""

from __future__ import annotations

import streamlit as st

from ctbench_core.dataset import read_training_manifests
from ctbench_core.errors import CtbenchError
from ctbench_core.jobs import get_runner
from ctbench_core.overrides import to_command
from ctbench_ui import form
from ctbench_ui.shared import cache, feedback, live
from ctbench_ui.train import budget_preview, current_run, train_form


def draw() -> None:
    """Draw the page."""
    with st.container(horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute"):
        st.title("Train", anchor=False)
        train_form.preset_menu(train_form.HEADS)
    shown = current_run.chosen()
    found = None
    try:
        found = cache.manifest_summary(form.config())
    except CtbenchError as error:
        if not shown and not form.data_chosen():
            feedback.empty(
                "No data yet", "Choose a feature root and manifests, or make the demo data.", "Choose data", "data"
            )
            st.stop()
        feedback.problem("The chosen data cannot be read", str(error))
    what, head, how = st.columns(3, gap="large")
    with what:
        train_form.what(found)
    with head:
        train_form.head(found)
    with how:
        train_form.how()
    config = None
    more, command = st.columns(2, gap="large")
    with more:
        train_form.advanced()
    form.keep()
    with command, feedback.guarded("A setting does not fit"):
        config = form.config()
        with st.expander(
            "The same on the command line", icon=":material/terminal:", key="train.command", on_change="rerun"
        ) as box:
            if box.open:
                st.code(to_command(config), language="bash", wrap_lines=True)
    budget_preview.draw(config)
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
            current_run.actions(shown)
        if estimate := train_form.estimate(config):
            st.caption(estimate)
    if start and config is not None:
        with feedback.guarded("The run cannot start"):
            read_training_manifests(config)  # what is wrong with a manifest shows before anything is queued
            current_run.choose(runner.submit(config))
            st.rerun()
    if shown:
        live.draw(shown, "train-live")
