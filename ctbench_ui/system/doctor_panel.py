"""The Doctor on the System page: the same checks of this machine as the command's."""

from __future__ import annotations

from typing import Any

import streamlit as st

from ctbench_core.doctor import ERROR, OK, WARNING, examine
from ctbench_core.formatting import plural
from ctbench_core.installation import program
from ctbench_ui import form
from ctbench_ui.shared import as_text, name_fields, progress_bar, show_errors

_RESULT = "system.doctor"
_MARKS = {
    ERROR: ":red[:material/error:]",
    WARNING: ":orange[:material/warning:]",
    OK: ":green[:material/check_circle:]",
}


def draw() -> None:
    """Offer the checks and draw their result: problems first, passed checks folded."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.header("Doctor", anchor=False, width="content")
        start = st.button("Run checks", icon=":material/stethoscope:", key="doctor")
    if start:
        _examine()
    result = last_result()
    if result is None:
        st.caption(
            "Checks packages, device, disk, file locks, clock, the chosen data, packed features, and whether the files of "
            f"every run can be read. Changes nothing. `{program()} doctor` runs the same checks."
        )
        return
    _draw_result(result)


def last_result() -> dict[str, Any] | None:
    """Return the last result of this session, as the `doctor` JSON; None before the first."""
    return st.session_state.get(_RESULT)


def _examine() -> None:
    st.session_state.pop(_RESULT, None)
    with (
        show_errors("The settings of this session cannot be read"),
        progress_bar("Checking") as progress,
    ):
        st.session_state[_RESULT] = examine(form.config(), progress).to_json()


def _draw_result(result: dict[str, Any]) -> None:
    findings = result["findings"]
    problems = [finding for level in (ERROR, WARNING) for finding in findings if finding["level"] == level]
    passed = [finding for finding in findings if finding["level"] == OK]
    if problems:
        counts = [plural(result[f"{level}s"], level) for level in (ERROR, WARNING) if result[f"{level}s"]]
        st.markdown(f"**{' and '.join(counts)}**")
        with st.container(border=True):
            for finding in problems:
                _draw_finding(finding)
    with st.expander(f"{plural(len(passed), 'check')} passed", icon=":material/check_circle:"):
        for finding in passed:
            _draw_finding(finding)


def _draw_finding(finding: dict[str, Any]) -> None:
    name, text = st.columns([1, 4], gap="small")
    name.markdown(f"{_MARKS[finding['level']]} **{as_text(finding['name'])}**")
    with text.container(gap=None):
        st.markdown("  \n".join(as_text(name_fields(line)) for line in finding["found"].splitlines()))
        if finding["advice"]:
            st.caption(finding["advice"])
