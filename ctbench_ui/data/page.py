"""Data: choose features and manifests, check them, keep the choice under a name; make manifests from tables, and budgets of them; compare label sources."""

from __future__ import annotations

import json

import streamlit as st

from ctbench_core.checks import check
from ctbench_ui import form
from ctbench_ui.data import budget_tab, check_report, data_form, label_sources_tab, prepare_tab
from ctbench_ui.shared import datasets, demo, feedback

_RESULT = "data.result"


def draw() -> None:
    """Draw the page."""
    st.title("Data", anchor=False)
    chosen, prepared, budgets, compared = st.tabs(
        ["Data set", "Prepare manifests", "Budget files", "Compare labels"], key="data.tab", on_change="rerun"
    )
    if chosen.open:
        with chosen:
            _data_set()
    if prepared.open:
        with prepared:
            prepare_tab.draw()
    if budgets.open:
        with budgets:
            budget_tab.draw()
    if compared.open:
        with compared:
            label_sources_tab.draw()
    form.keep()


def _fingerprint() -> str:
    """Return the chosen data as text: a check belongs to exactly this choice."""
    chosen = form.config().to_dict()
    return json.dumps({"root": chosen["paths"], "data": chosen["data"]}, sort_keys=True)


def _data_set() -> None:
    root = form.outputs_root()
    saved = datasets.names(root)
    if problem := st.session_state.pop("data.problem", None):
        feedback.problem("This data set cannot be opened", problem)
    left, right = st.columns([2, 3], gap="large")
    with left:
        if saved:
            data_form.saved(saved)
        data_form.places(root)
        data_form.findings()
        data_form.details()
        with st.container(horizontal=True):
            asked = st.button("Check", type="primary", icon=":material/fact_check:", key="check")
            if not saved and st.button("Use demo data", icon=":material/science:", key="demo"):
                demo.make()
    with right:
        if asked:
            _check()
        _show()


def _check() -> None:
    st.session_state.pop(_RESULT, None)
    with feedback.guarded("The check could not run"):
        with feedback.progress("Reading manifests") as progress:
            result = check(form.config(), progress)
        st.session_state[_RESULT] = check_report.of_check(result) | {"fingerprint": _fingerprint()}


def _show() -> None:
    shown = st.session_state.get(_RESULT)
    if shown is None:
        check_report.waiting()
        return
    with feedback.guarded("The choice cannot be read"):
        check_report.draw(shown, stale=shown["fingerprint"] != _fingerprint())
