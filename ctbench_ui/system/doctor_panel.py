"""The Doctor on the System page: what may be wrong on this machine, the same checks as the verb of that name."""

from __future__ import annotations

import re
from typing import Any

import streamlit as st

from ctbench_core.doctor import ERROR, OK, WARNING, examine
from ctbench_core.formatting import plural
from ctbench_ui import form
from ctbench_ui.shared import feedback

_RESULT = "system.doctor"
_MARKS = {
    ERROR: ":red[:material/error:]",
    WARNING: ":orange[:material/warning:]",
    OK: ":green[:material/check_circle:]",
}
_SPECIAL = re.compile(r"([\\`*_\[\]$~<>#|:])")


def draw() -> None:
    """Offer to look, and tell what was found; what is in order is folded."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader("Doctor", anchor=False, width="content")
        asked = st.button("Look for problems", icon=":material/stethoscope:", key="doctor")
    if asked:
        _look()
    found = last()
    if found is None:
        st.caption(
            "Packages, device, disk, file locks, clock, the chosen data, packed features, and every run of the store. "
            "Nothing is changed; `python -m ctbench_core doctor` looks at the same."
        )
        return
    _tell(found)


def last() -> dict[str, Any] | None:
    """Return what this session's last look gave, as the `doctor` JSON; None before the first."""
    return st.session_state.get(_RESULT)


def _look() -> None:
    st.session_state.pop(_RESULT, None)
    with feedback.guarded("The settings of this session cannot be read"), feedback.progress("Looking") as progress:
        st.session_state[_RESULT] = examine(form.config(), progress).to_json()


def _tell(result: dict[str, Any]) -> None:
    findings = result["findings"]
    wrong = [one for level in (ERROR, WARNING) for one in findings if one["level"] == level]
    fine = [one for one in findings if one["level"] == OK]
    if wrong:
        said = [plural(result[f"{level}s"], level) for level in (ERROR, WARNING) if result[f"{level}s"]]
        st.markdown(f"**{' and '.join(said)}**")
        with st.container(border=True):
            for one in wrong:
                _row(one)
    with st.expander(f"{plural(len(fine), 'check')} in order", icon=":material/check_circle:", expanded=not wrong):
        for one in fine:
            _row(one)


def _row(finding: dict[str, Any]) -> None:
    name, said = st.columns([1, 4], gap="small")
    name.markdown(f"{_MARKS[finding['level']]} **{finding['name']}**")
    with said.container(gap=None):
        st.markdown(_plain(finding["found"]))
        if finding["advice"]:
            st.caption(finding["advice"])


def _plain(text: str) -> str:
    """Keep paths and names from being read as Markdown; advice is ours and holds none."""
    return _SPECIAL.sub(r"\\\1", text).replace("\n", "  \n")
