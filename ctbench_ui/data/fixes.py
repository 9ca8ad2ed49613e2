"""The errors and warnings of a check, each with its fixes as buttons; after a click, what changed, and *Undo*."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from ctbench_core.config import KEYS, apply_fix, get_key
from ctbench_core.errors import Fix
from ctbench_core.formatting import plural
from ctbench_ui import form
from ctbench_ui.shared import as_text, show_error, show_warning, show_warnings

_APPLIED = "data.applied"
_KINDS = ("errors", "warnings")
_SHOWN = 6  # errors, and warnings with buttons
_KEY = re.compile(r"\b(?:data|paths|model|training|utils)\.[a-z_.]+\b")


def draw(report: Mapping[str, Any]) -> None:
    """Draw the errors and warnings of a check, and what the last fix changed."""
    fixes = {text: [_fix(one) for one in given] for text, given in report["fixes"].items()}
    messages = [*report["errors"], *(text for text in report["warnings"] if fixes.get(text))]
    draw_applied(report)
    _offer_all([fixes.get(text, []) for text in messages], report)
    drawn: set[str] = set()
    for text in messages[:_SHOWN]:
        show = show_error if text in report["errors"] else show_warning
        with st.container(gap="small"):
            show(_title(text, fixes.get(text, [])), text)
            draw_buttons(fixes.get(text, []), drawn, report)
    if rest := messages[_SHOWN:]:
        st.caption(f"… and {plural(len(rest), 'more message')}: they follow when these are solved.")
    show_warnings([text for text in report["warnings"] if not fixes.get(text)])


def _fix(stored: Mapping[str, Any]) -> Fix:
    return Fix(stored["label"], stored["set"], stored["sure"])


def _title(text: str, fixes: Sequence[Fix]) -> str:
    """Name the control that a message belongs to: that of its first fix, else of the first key it names."""
    keys = [key for fix in fixes for key in fix.values] + _KEY.findall(text)
    return next((KEYS[key].label for key in keys if key in KEYS and KEYS[key].label), "Data")


def draw_buttons(fixes: Sequence[Fix], drawn: set[str] | None = None, report: Mapping[str, Any] | None = None) -> None:
    """Draw one button a fix; one that an earlier message offers is not repeated.

    Args:
        drawn: the keys of the buttons so far, which grows. report: the check that has the messages, if one has.
    """
    drawn = set() if drawn is None else drawn
    with st.container(horizontal=True, gap="small"):
        for fix in fixes:
            if (key := fix_key(fix)) not in drawn:
                drawn.add(key)
                _draw_button(fix, key, report, type="secondary")


def fix_key(fix: Fix) -> str:
    """Return the key of a fix's button."""
    return "fix-" + ",".join(f"{key}={value}" for key, value in fix.values.items())


def _draw_button(fix: Fix, key: str, report: Mapping[str, Any] | None, **more: Any) -> None:
    counts = {} if report is None else {kind: len(report[kind]) for kind in _KINDS}
    settings = "; ".join(f"{KEYS[name].label}: {_value_text(value)}" for name, value in fix.values.items())
    st.button(
        as_text(fix.label),
        key=key,
        icon=":material/healing:",
        help=as_text(f"Sets {settings}."),
        on_click=use_fix,
        args=(fix, counts),
        **more,
    )


def _value_text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} = {meaning}" for name, meaning in value.items())
    return "automatic" if value is None else ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _offer_all(fixes: Sequence[Sequence[Fix]], report: Mapping[str, Any]) -> None:
    """Offer one button for the suggestions that leave no choice, where several messages have one."""
    sure = [next(fix for fix in given if fix.sure) for given in fixes if any(fix.sure for fix in given)]
    values: dict[str, Any] = {}
    for fix in sure:
        values = {**fix.values, **values}
    if len(sure) > 1:
        joined = Fix(f"Apply all: {'; '.join(fix.label for fix in sure)}", values)
        with st.container(horizontal=True, vertical_alignment="center"):
            _draw_button(joined, "fix-all", report, type="primary")


def use_fix(fix: Fix, counts: Mapping[str, int]) -> None:
    """Set the fields of a fix, and remember what they were and how many errors and warnings a check had."""
    before = form.config()
    after = before.copy()
    apply_fix(after, fix)
    changed = [key for key in KEYS if get_key(before, key) != get_key(after, key)]
    st.session_state[_APPLIED] = {
        "label": fix.label,
        "before": {key: get_key(before, key) for key in changed},
        "after": {key: get_key(after, key) for key in changed},
        "counts": counts,
    }
    form.set_fields({key: get_key(after, key) for key in changed})


def draw_applied(report: Mapping[str, Any] | None = None) -> None:
    """Say what the last fix changed, until one of its fields is changed again; with a check, how many errors it left."""
    applied = st.session_state.get(_APPLIED)
    if not applied or any(get_key(form.config(), key) != value for key, value in applied["after"].items()):
        return
    before = applied["counts"] if report is not None else {}
    counts = [f"{kind} {n} → {len(report[kind])}" for kind, n in before.items() if report and n != len(report[kind])]
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        text = as_text(applied["label"]) + (f" · {', '.join(counts) or 'same errors and warnings'}" if before else "")
        st.markdown(f":green-badge[:material/check: applied] {text}", width="content")
        st.button("Undo", key="undo-fix", type="tertiary", icon=":material/undo:", on_click=_undo, args=(applied,))


def _undo(applied: Mapping[str, Any]) -> None:
    st.session_state.pop(_APPLIED, None)
    form.set_fields(applied["before"])
