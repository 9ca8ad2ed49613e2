"""What was deleted, on the System page: restored, or deleted for good in two steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from ctbench_core.formatting import format_bytes
from ctbench_core.runs import BulkResult, Deleted, delete_for_good, deleted_in, empty_trash, for_each, restore
from ctbench_ui.shared import as_text, select_rows, show_warning

_DONE = "system.deleted-done"
_COLUMNS: dict[str, Any] = {
    "name": st.column_config.TextColumn("Name"),
    "kind": st.column_config.TextColumn("Kind"),
    "deleted": st.column_config.DatetimeColumn(
        "Deleted", format="distance", help="Blank: deleted by an earlier version, which did not note the time."
    ),
    "size": st.column_config.TextColumn("Size"),
    "home": st.column_config.TextColumn("Restored to", help="Folder in the run store."),
}


def draw(outputs_root: Path) -> None:
    """Draw what is in the trash, and what can be done with the selected rows."""
    _draw_result()
    deleted = deleted_in(outputs_root)
    if not deleted:
        st.caption("Nothing deleted. Runs, studies and alignment results that are deleted come here first.")
        return
    st.caption("Kept until deleted here for good: nothing is removed by itself.")
    places = [str(one.place) for one in deleted]
    rows = select_rows(_table(deleted, outputs_root), places, "deleted-rows", _COLUMNS, "Deleted runs and results")
    _offer([deleted[row] for row in rows], deleted, outputs_root)


def _table(deleted: Sequence[Deleted], outputs_root: Path) -> pd.DataFrame:
    root = outputs_root.resolve()
    return pd.DataFrame(
        {
            "name": [one.name for one in deleted],
            "kind": [one.kind for one in deleted],
            "deleted": pd.to_datetime([one.deleted or None for one in deleted], format="ISO8601", errors="coerce"),
            "size": [format_bytes(one.size) for one in deleted],
            "home": [one.home.relative_to(root).as_posix() for one in deleted],
        }
    )


def _offer(chosen: Sequence[Deleted], every: Sequence[Deleted], outputs_root: Path) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.button(
            f"Restore {len(chosen)}" if chosen else "Restore",
            icon=":material/restore_from_trash:",
            key="deleted-restore",
            type="primary",
            disabled=not chosen,
            help="Moves the selected rows back to where they were.",
            on_click=_act,
            args=(chosen, lambda place: restore(outputs_root, place), "restored"),
        )
        gain = format_bytes(sum(one.size for one in chosen))
        title = f"Delete {len(chosen)} for good · frees {gain}" if chosen else "Delete for good"
        with st.popover(title, icon=":material/delete_forever:", disabled=not chosen, key="deleted-remove"):
            st.markdown(f"This frees **{gain}** and cannot be undone.")
            st.button(
                "Delete permanently",
                key="deleted-remove-now",
                type="primary",
                on_click=_act,
                args=(chosen, lambda place: delete_for_good(outputs_root, place), "deleted for good"),
            )
        with st.popover("Empty the trash", icon=":material/delete_sweep:", key="deleted-empty"):
            size = format_bytes(sum(one.size for one in every))
            st.markdown(f"This deletes all {len(every):,} for good, frees **{size}**, and cannot be undone.")
            st.button(
                "Delete all permanently", key="empty-trash", type="primary", on_click=_empty, args=(outputs_root,)
            )


def _act(chosen: Sequence[Deleted], change: Callable[[Path], Any], verb: str) -> None:
    names = {one.place.name: one.name for one in chosen}
    result: BulkResult = for_each([one.place for one in chosen], change)
    refused = {names.get(key, key): reason for key, reason in result.refused.items()}
    st.session_state[_DONE] = (f"{len(result.done):,} of {len(chosen):,} {verb}", refused)


def _empty(outputs_root: Path) -> None:
    st.session_state[_DONE] = (f"Freed {format_bytes(empty_trash(outputs_root))}", {})


def _draw_result() -> None:
    """Say what became of the last action, with the reason of each row that refused."""
    if (done := st.session_state.pop(_DONE, None)) is None:
        return
    sentence, refused = done
    st.toast(sentence, icon=":material/warning:" if refused else ":material/check_circle:")
    for name, reason in refused.items():
        show_warning(as_text(name), reason)
