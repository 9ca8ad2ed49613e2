"""The Data page: choose and check a data set, prepare manifests, write budgets, compare label sources."""

from __future__ import annotations

import json
from typing import Any

import streamlit as st

from ctbench_core.checks import check_features, check_tables
from ctbench_core.config import DEFAULT_TESTS, Config
from ctbench_core.dataset import manifest_path
from ctbench_ui import form
from ctbench_ui.data import budget_tab, check_report, data_form, label_sources_tab, prepare_tab
from ctbench_ui.shared import cache, datasets, draw_tabs, progress_bar, show_error, show_errors

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


def _draw_data_set() -> None:
    root = form.outputs_root()
    saved = datasets.names(root)
    if error := st.session_state.pop("data.problem", None):
        show_error("This data set cannot be opened", error)
    # On a phone the report is above the fields (page_style.py).
    with st.container(key="data-set"):
        fields, report = st.columns([2, 3], gap="large")
    with fields:
        if saved:
            data_form.draw_saved(saved)
        data_form.draw_places(root)
        data_form.draw_findings()
        data_form.draw_details()
    with report:
        _draw_check(offer_demo=not saved)


def _draw_check(offer_demo: bool) -> None:
    """Draw the check of the present fields, which runs by itself when they change."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        verdict = st.container()
        again = st.button("Check again", icon=":material/refresh:", key="check", help="Reads every file again.")
    with show_errors("The fields cannot be read"):
        config = form.config()
        if not (again or form.is_data_changed() or manifest_path(config, config.data.train_manifest).is_file()):
            check_report.draw_waiting(verdict, offer_demo)
            return
        fields = _fingerprint(config)
        report = st.session_state.get(_REPORT)
        if again or report is None or report["fingerprint"] != fields:
            report = st.session_state[_REPORT] = _check(config) | {"fingerprint": fields}
        check_report.draw(report, verdict)


def _fingerprint(config: Config) -> str:
    """Return the data fields and the state of their tables as text: a check belongs to exactly these."""
    fields, data = config.to_dict(), config.data
    names = (data.train_manifest, data.val_manifest, *(data.test_manifests or DEFAULT_TESTS))
    stamps = [cache.stamp(manifest_path(config, name)) for name in names]
    keys = {key: fields[key] for key in ("paths", "data")} | {
        "inputs": config.model.inputs,
        "findings": config.training.target_labels,
        "stamps": stamps,
    }
    return json.dumps(keys, sort_keys=True, default=str)


def _check(config: Config) -> dict[str, Any]:
    """Check the tables, show their sizes, then read the features; a field that changes meanwhile ends it."""
    result = check_tables(config)
    first = st.empty()
    with first.container(), progress_bar("Reading features") as progress:
        check_report.draw_counts(result.counts)
        check_features(result, config, progress)
    first.empty()
    return check_report.to_report(result)
