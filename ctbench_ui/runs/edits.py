"""What people write on a run: a star, tags and notes.

MERGED: Delete a run, and put it back.
"""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from ctbench_core.runs import Run, annotate, delete_run, restore_run
from ctbench_ui import form
from ctbench_ui.shared import feedback


def draw_notes(run: Run, known_tags: list[str]) -> None:
    """Draw a run's tags and notes as fields that keep themselves.

    Args:
        known_tags: tags of other runs, to choose from.
    """
    written, run_dir = run.annotations(), run.paths.root
    tags, notes = f"tags-{run.run_id}", f"notes-{run.run_id}"
    # The file is the truth: another tab may have written since this one was drawn.
    st.session_state[tags], st.session_state[notes] = list(written.tags), written.notes
    left, right = st.columns([2, 3])
    left.multiselect(
        "Tags",
        list(dict.fromkeys([*known_tags, *written.tags])),
        key=tags,
        accept_new_options=True,
        placeholder="Choose or type a tag",
        on_change=_keep,
        args=(run_dir, "tags", tags),
    )
    right.text_area(
        "Notes",
        key=notes,
        height=68,
        placeholder="What this run was for, what it showed",
        on_change=_keep,
        args=(run_dir, "notes", notes),
    )


def star(run: Run) -> None:
    """Draw the button that stars a run, or takes the star back."""
    pinned = run.annotations().pinned
    st.button(
        "Starred" if pinned else "Star",
        icon=":material/star:" if pinned else ":material/star_outline:",
        key="card-star",
        help="Starred runs come first on Home.",
        on_click=_toggle,
        args=(run.paths.root, not pinned),
    )


def _keep(run_dir: Path, name: str, key: str) -> None:
    annotate(run_dir, **{name: st.session_state[key]})


def _toggle(run_dir: Path, pinned: bool) -> None:
    annotate(run_dir, pinned=pinned)


_LAST = "runs.deleted"


def delete(run: Run) -> None:
    """Move a run to the trash, and offer to put it back.

    Raises:
        InputError: the run is at work, or lies outside the run store.
    """
    st.session_state[_LAST] = (run.name, run.run_id, str(delete_run(form.outputs_root(), run)))


def offer_undo() -> None:
    """Offer to put the last deleted run back, until the offer is closed."""
    if _LAST not in st.session_state:
        return
    name, run_id, trashed = st.session_state[_LAST]
    with st.container(border=True, horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(f":material/delete: Deleted **{name}** :gray[{run_id}]", width="stretch")
        if st.button("Undo", icon=":material/undo:", key="undo", type="primary"):
            with feedback.guarded("The run cannot be put back"):
                restore_run(form.outputs_root(), Path(trashed))
                st.session_state.pop(_LAST)
                st.rerun()
        st.button("Close", key="undo-close", type="tertiary", on_click=lambda: st.session_state.pop(_LAST, None))
