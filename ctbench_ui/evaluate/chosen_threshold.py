"""The threshold that *Threshold* has set for a finding: *Volumes* takes it over, and the address has it on every tab."""

from __future__ import annotations

import math
from typing import NamedTuple

import streamlit as st

from ctbench_core.evaluate import on_slider
from ctbench_ui.frame import address

# Keys, of the session and the address.
SLIDER, FINDING, VOLUMES_FINDING = "threshold", "finding", "volumes.finding"
_DEFAULT = 0.5  # of the slider
_PRESET, _SHOWN = "threshold.set", "threshold.shown"


class Preset(NamedTuple):
    """What a button has set: on which results, for which finding, and why."""

    results: str
    finding: str
    value: float
    reason: str


def use(preset: Preset) -> None:
    """Move the slider to a preset, and note for what."""
    st.session_state.update({SLIDER: preset.value, _PRESET: preset})


def note_shown(finding: str, threshold: float) -> None:
    """Note what *Threshold* shows, for *Volumes*."""
    st.session_state[_SHOWN] = (finding, threshold)


def preset_at(results: str, finding: str, threshold: float) -> Preset | None:
    """Return the preset that has set this threshold of these results; None once the slider or the finding has changed."""
    preset = st.session_state.get(_PRESET)
    return preset if preset and preset[:3] == (results, finding, threshold) else None


def shown(labels: list[str]) -> tuple[str, float] | None:
    """Return the finding and threshold of *Threshold*, before it was opened those of the address; None without any."""
    if _SHOWN not in st.session_state:
        finding, threshold = _linked(labels)
        if 0 <= threshold <= 1:  # kept: an address keeps the threshold only while its slider is drawn
            st.session_state.setdefault(SLIDER, threshold)
            note_shown(finding, threshold)
    noted: tuple[str, float] | None = st.session_state.get(_SHOWN)
    return noted if noted and noted[0] in labels else None


def keep_in_address(labels: list[str]) -> None:
    """Keep the threshold that is set and its finding in the address, on a tab that does not draw their widgets."""
    finding, threshold = shown(labels) or ("", _DEFAULT)
    is_set = threshold != _DEFAULT
    address.keep({FINDING: finding if is_set else "", SLIDER: str(threshold) if is_set else ""})


def reset(finding: str, default: float) -> None:
    """Set the slider back, for this finding."""
    st.session_state[SLIDER] = default
    note_shown(finding, default)


def before_drawn() -> float:
    """Return the threshold that the slider is about to show: that of the session, at first that of the address or .5."""
    linked = _linked_threshold()
    is_first = SLIDER not in st.session_state
    present = on_slider(st.session_state.setdefault(SLIDER, _DEFAULT))
    return linked if is_first and 0 <= linked <= 1 else present


def _linked(labels: list[str]) -> tuple[str, float]:
    """Return what the address says of *Threshold*."""
    asked = (address.linked_value(FINDING) or address.linked_value(VOLUMES_FINDING)).casefold()
    return next((label for label in labels if label.casefold() == asked), labels[0]), _linked_threshold()


def _linked_threshold() -> float:
    """Return the threshold of the address; NaN where it names no number."""
    try:
        return on_slider(float(address.linked_value(SLIDER)))
    except ValueError:
        return math.nan
