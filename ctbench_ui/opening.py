"""Opening a test set: a deliberate step, since each look at a test set makes its figures less of a test."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from ctbench_core.config import DEFAULT_TESTS
from ctbench_core.errors import CtbenchError
from ctbench_core.evaluate.opening import evaluate_run
from ctbench_core.runs import open_run
from ctbench_ui import feedback, folders


def open_tests(run_dir: Path, done: list[str]) -> None:
    """Offer to open test sets of a run; what is done already can be opened again."""
    with feedback.guarded("The test sets of this run cannot be listed"):
        config = open_run(run_dir).config
        offered = list(config.data.test_manifests or [])
        found = folders.manifests(Path(config.paths.manifest_dir))
        offered = offered or [name for name in DEFAULT_TESTS if name in found]
        with st.expander("Open a test set", expanded=not done, icon=":material/lock_open:"):
            st.markdown(
                "Choose on validation, open a test set once. Every opening is written into `evaluations.jsonl` of the run store."
            )
            known = [*offered, *(name for name in found if name not in offered)]
            names = st.multiselect(
                "Test manifests", known, default=offered, key=f"tests-{run_dir.name}", accept_new_options=True
            )
            if st.button("Open and evaluate", type="primary", key="evaluate", disabled=not names):
                _evaluate(run_dir, names)


def _evaluate(run_dir: Path, names: list[str]) -> None:
    try:
        with feedback.progress("Reading") as progress:
            result = evaluate_run(run_dir, names, progress=progress)
    except CtbenchError as error:
        feedback.problem("The test set cannot be evaluated", str(error))
        return
    for text in result["warnings"]:
        st.toast(text, icon=":material/warning:", duration="long")
    st.rerun()
