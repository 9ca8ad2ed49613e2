"""The Data page: choose and check a data set, prepare manifests, write budgets, compare label sources."""

from __future__ import annotations

import json

import streamlit as st

from ctbench_core.checks import check
from ctbench_ui import form
from ctbench_ui.data import budget_tab, check_report, data_form, label_sources_tab, mapping, prepare_tab
from ctbench_ui.shared import datasets, demo, draw_tabs, progress_bar, show_error, show_errors

_REPORT = "data.result"


def draw() -> None:
    """Draw the page."""
    st.title("Data", anchor=False)
    contents = {
        "Data set": _draw_data_set,
        "Prepare manifests": prepare_tab.draw,
        "Budget files": budget_tab.draw,
        "Compare labels": label_sources_tab.draw,
    }
    draw_tabs(contents, key="data.tab")
    form.save()


def _fields() -> str:
    """Return the data fields as text: a check belongs to exactly these."""
    config = form.config().to_dict()
    return json.dumps({"root": config["paths"], "data": config["data"]}, sort_keys=True)


def _draw_data_set() -> None:
    root = form.outputs_root()
    saved = datasets.names(root)
    if error := st.session_state.pop("data.problem", None):
        show_error("This data set cannot be opened", error)
    left, right = st.columns([2, 3], gap="large")
    with left:
        if saved:
            data_form.draw_saved(saved)
        data_form.draw_places(root)
        mapping.draw()
        data_form.draw_findings()
        data_form.draw_details()
        with st.container(horizontal=True):
            start = st.button("Check", type="primary", icon=":material/fact_check:", key="check")
            if not saved and st.button("Use demo data", icon=":material/science:", key="demo"):
                demo.create()
    with right:
        if start:
            _check()
        _draw_report()


def _check() -> None:
    st.session_state.pop(_REPORT, None)
    with show_errors("The check could not run"):
        with progress_bar("Reading manifests") as progress:
            result = check(form.config(), progress)
        st.session_state[_REPORT] = check_report.to_report(result) | {"fingerprint": _fields()}


def _draw_report() -> None:
    report = st.session_state.get(_REPORT)
    if report is None:
        check_report.draw_waiting()
        return
    with show_errors("The fields cannot be read"):
        check_report.draw(report, stale=report["fingerprint"] != _fields())
