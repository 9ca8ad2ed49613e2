"""Data: choose features and manifests, check them, keep the choice under a name."""

from __future__ import annotations

import json
from pathlib import Path

import streamlit as st

from ctbench_core.checks import check
from ctbench_core.config import DEFAULT_TESTS
from ctbench_core.errors import CtbenchError
from ctbench_ui import datasets, demo, feedback, folders, form, report

_RESULT = "data.result"


def _open() -> None:
    name = st.session_state["data.open"]
    if name:
        try:
            form.open_dataset(name)
            st.session_state.pop(_RESULT, None)
        except CtbenchError as error:
            st.session_state["data.problem"] = str(error)


def _fingerprint() -> str:
    """Return the chosen data as text: a check belongs to exactly this choice."""
    chosen = form.config().to_dict()
    return json.dumps({"root": chosen["paths"], "data": chosen["data"]}, sort_keys=True)


root = form.outputs_root()
saved = datasets.names(root)
st.title("Data", anchor=False)
if problem := st.session_state.pop("data.problem", None):
    feedback.problem("This data set cannot be opened", problem)
left, right = st.columns([2, 3], gap="large")

with left:
    if saved:
        st.session_state["data.open"] = form.dataset_name()
        st.selectbox(
            "Saved data sets", saved, index=None, key="data.open", on_change=_open, placeholder="Open a saved data set"
        )
    form.choice(
        "paths.data_root",
        "Feature root",
        folders.feature_roots(root),
        accept_new_options=True,
        placeholder="Type or choose a folder",
    )
    form.choice(
        "paths.manifest_dir",
        "Manifest folder",
        folders.manifest_folders(root),
        accept_new_options=True,
        placeholder="Type or choose a folder",
    )
    found = folders.manifests(Path(st.session_state["paths.manifest_dir"] or "."))
    train, val = st.columns(2)
    with train:
        form.choice("data.train_manifest", "Training manifest", found, accept_new_options=True)
    with val:
        form.choice("data.val_manifest", "Validation manifest", found, accept_new_options=True)
    form.choices("data.test_manifests", "Test manifests", found, accept_new_options=True, placeholder="The usual names")
    if not st.session_state["data.test_manifests"]:
        usual = [name for name in DEFAULT_TESTS if name in found]
        st.caption(f"Test sets: {', '.join(usual) if usual else 'none of the usual names is in this folder'}.")
    with st.expander("Columns, cohort and split", icon=":material/tune:"):
        form.field("data.columns.visual_feature", "Visual feature column")
        form.field("data.columns.text_feature", "Text feature column")
        form.choices(
            "data.columns.labels",
            "Label columns",
            folders.columns(form.config),
            accept_new_options=True,
            placeholder="Every 0/1/blank column",
        )
        form.choices(
            "data.columns.metadata",
            "Columns that are no labels",
            folders.columns(form.config),
            accept_new_options=True,
            placeholder="None",
        )
        form.field("data.columns.grouping_col", "Patient column")
        form.field("data.cohort.recon", "Reconstructions")
        form.field("data.cohort.exclude", "File of volumes to leave out")
        form.field("data.auto_split.val_fraction", "Validation share", step=0.05)
        form.field("data.auto_split.group", "Never divided")
        form.field("data.on_leak", "Patients on both sides")
        form.field("data.on_bad_feature", "Unusable feature files")
        form.field("data.pool", "Token features")
        form.field("data.standardise", "Scaling")
    with st.container(horizontal=True):
        asked = st.button("Check", type="primary", icon=":material/fact_check:", key="check")
        if not saved and st.button("Use demo data", icon=":material/science:", key="demo"):
            demo.make()

with right:
    if asked:
        st.session_state.pop(_RESULT, None)
        with feedback.guarded("The check could not run"):
            with feedback.progress("Reading manifests") as progress:
                result = check(form.config(), progress)
            st.session_state[_RESULT] = report.of_check(result) | {"fingerprint": _fingerprint()}
    shown = st.session_state.get(_RESULT)
    if shown is None:
        report.waiting()
    else:
        with feedback.guarded("The choice cannot be read"):
            report.draw(shown, stale=shown["fingerprint"] != _fingerprint())
        if shown["ok"]:
            report.save_form()
