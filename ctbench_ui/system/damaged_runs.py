"""Damaged runs on the System page: what is wrong with each, repair, and setting one aside with Undo."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from ctbench_core.runs import DamagedRun, repair, set_aside, undo_set_aside
from ctbench_ui.shared import as_text, show_error, show_errors

_ASIDE = "system.set-aside"


def draw(outputs_root: Path, runs: list[DamagedRun]) -> None:
    """Draw the damaged runs of the store; nothing where there is none."""
    _offer_undo(outputs_root)
    if runs:
        st.header("Damaged runs", anchor=False)
    for run in runs:
        with st.container(border=True):
            show_error(as_text(run.run_id), run.reason)
            with st.container(horizontal=True, gap="small"):
                for label, icon, key, act, effect in _ACTIONS:
                    st.button(
                        label, icon=icon, key=f"{key}-{run.folder}", on_click=act, args=(outputs_root, run), help=effect
                    )


def _repair(outputs_root: Path, run: DamagedRun) -> None:
    with show_errors("The run cannot be repaired"):
        moved = repair(outputs_root, run.folder)
        places = ", ".join(str(path.relative_to(outputs_root.resolve())) for path in moved)
        st.toast(f"Repaired {as_text(run.run_id)}. Moved to {as_text(places)}.", icon=":material/healing:")


def _set_aside(outputs_root: Path, run: DamagedRun) -> None:
    with show_errors("The run cannot be set aside"):
        st.session_state[_ASIDE] = (run.run_id, str(set_aside(outputs_root, run.folder)))


# Of each damaged run: label, icon, beginning of the key, what is done, and what to know of it.
_ACTIONS = (
    (
        "Repair",
        ":material/healing:",
        "repair",
        _repair,
        "Moves damaged notes and damaged validation, test and alignment results of this run to the trash. The run stays.",
    ),
    ("Set aside", ":material/drive_file_move:", "aside", _set_aside, "Moves the run to the trash. Can be undone."),
)


def _offer_undo(outputs_root: Path) -> None:
    """Offer to move the last run back, until the offer is closed."""
    if _ASIDE not in st.session_state:
        return
    run_id, trashed = st.session_state[_ASIDE]
    with st.container(border=True, horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(f":material/drive_file_move: Set aside **{as_text(run_id)}**", width="stretch")
        if st.button("Undo", icon=":material/undo:", key="aside-undo", type="primary"):
            with show_errors("The run cannot be moved back"):
                undo_set_aside(outputs_root, Path(trashed))
                st.session_state.pop(_ASIDE)
                st.rerun()
        st.button("Close", key="aside-close", type="tertiary", on_click=lambda: st.session_state.pop(_ASIDE, None))
