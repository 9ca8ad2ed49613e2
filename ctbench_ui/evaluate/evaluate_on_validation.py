"""Evaluate a run on its validation set, so that runs and thresholds are chosen before a test is evaluated."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from ctbench_core.errors import CtbenchError
from ctbench_core.evaluate import evaluate_on_validation
from ctbench_core.runs import Run, read_metrics
from ctbench_ui.frame import readonly
from ctbench_ui.shared import progress_bar, show_error


def is_complete(run: Run) -> bool:
    """Return whether a run has validation results by finding; else offer to compute them."""
    if read_metrics(run.paths.validation.metrics) is not None:
        return True
    st.info("No validation results by finding yet. Validation results are not logged.")
    _offer(run, "Evaluate on validation")
    return False


def offer_again(run: Run, reason: str) -> None:
    """Warn about validation results of an older epoch, and offer to compute them again."""
    st.warning(reason, icon=":material/update:")
    _offer(run, "Evaluate on validation again")


def _offer(run: Run, title: str) -> None:
    if readonly.is_on():
        return
    hint = "Wait until the run ends." if run.status.active else None
    if st.button(
        title,
        type="primary",
        icon=":material/rule:",
        key="evaluate-validation",
        disabled=run.status.active,
        help=hint,
    ):
        _evaluate(run.paths.root)


def _evaluate(run_dir: Path) -> None:
    try:
        with progress_bar("Reading") as progress:
            evaluate_on_validation(run_dir, progress=progress)
    except CtbenchError as error:
        show_error("The run cannot be evaluated on validation", str(error))
        return
    st.rerun()
