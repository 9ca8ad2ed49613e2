"""What can be done with one run wherever it is shown: Stop, Resume, Clone."""

from __future__ import annotations

import streamlit as st

from ctbench_core.config import KEYS, Config
from ctbench_core.jobs import get_runner
from ctbench_core.runs import Run, why_not_resumable, will_fail_again
from ctbench_ui import form
from ctbench_ui.frame import readonly, sign_in
from ctbench_ui.pages import go
from ctbench_ui.shared import active_jobs, feedback


def draw(run: Run, key: str) -> None:
    """Draw the buttons that fit a run's state; none in a read-only link, or for what is no training.

    Args:
        key: how the keys of the buttons begin.
    """
    if readonly.is_on() or run.status.kind != "train":
        return
    draw_next(run, key)
    if not will_fail_again(run):
        _offer_clone(run, key)


def draw_next(run: Run, key: str) -> None:
    """Draw what a run needs next: *Stop* while active, *Resume* where it can go on, *Clone* where that can only fail."""
    if run.status.active:
        hint = "Keeps the best epoch so far. Resume continues from here."
        stopping = run.status.state == "cancelling"
        if st.button("Stop", icon=":material/stop:", key=f"{key}-stop", help=hint, disabled=stopping):
            active_jobs.stop(run.paths.root)
            st.rerun(scope="app")
    elif will_fail_again(run):
        _offer_clone(run, key, "Resume would end in the same loss. Clone these settings, then change them.")
    elif not why_not_resumable(run) and st.button("Resume", icon=":material/resume:", key=f"{key}-resume"):
        with feedback.show_errors("This run cannot be resumed"):
            get_runner().resume(run.paths.root, sign_in.user())
            st.rerun(scope="app")


def _offer_clone(run: Run, key: str, hint: str = "Fill the Train form with these settings.") -> None:
    if st.button("Clone", icon=":material/content_copy:", key=f"{key}-clone", help=hint):
        clone(run.config, run.name)


def clone(config: Config, name: str) -> None:
    """Fill the Train form with the settings of a run, and open it."""
    form.fill_on_rerun(config, _is_cloned, f"Settings from run {name}")
    go("train")


def _is_cloned(key: str) -> bool:
    """Whether a clone takes over a setting: all but where the run is stored."""
    return KEYS[key].scope != "place" and key != "paths.outputs_root"
