"""Actions on the selected runs."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from ctbench_core.compare import can_compare
from ctbench_core.export import export_runs
from ctbench_core.formatting import plural
from ctbench_core.legacy import evaluate_runs
from ctbench_core.runs import (
    ACTIVE,
    BulkResult,
    delete_runs,
    for_each,
    open_run,
    star_runs,
    tag_runs,
)
from ctbench_ui import form
from ctbench_ui.frame import address, readonly
from ctbench_ui.pages import go
from ctbench_ui.shared import as_text, deletion, exports, progress_bar, run_table, show_warning
from ctbench_ui.shared.run_picker import MOST

_DONE = "runs.done"
_TAG_BOX, _EVALUATE_BOX = "bulk-tag-box", "bulk-evaluate-box"
_TAGS, _UNTAGS = "bulk-tags", "bulk-untags"
_LISTED = 5


def draw(rows: Sequence[dict[str, Any]], known_tags: list[str]) -> None:
    """Draw the actions on several runs.

    Args:
        rows: those selected, in the order of their selection.
    """
    folders = [row["run_dir"] for row in rows]
    _compare(rows)
    if not readonly.is_on():
        _tag(folders, known_tags, sorted({tag for row in rows for tag in row["tags"]}))
        starred = all(row["pinned"] for row in rows)
        if st.button("Unstar" if starred else "Star", icon=":material/star:", key="bulk-star"):
            _finish(star_runs(folders, not starred), "unstarred" if starred else "starred")
        _evaluate(rows)
    st.download_button(
        "ZIP",
        data=lambda: zip_bytes(folders),
        file_name="runs.zip",
        mime="application/zip",
        key="bulk-zip",
        icon=":material/folder_zip:",
        on_click="ignore",
        help="A folder for each run: config, command, scores, tables, weights and provenance.",
    )
    exports.download("CSV", lambda: run_table.export_frame(pd.DataFrame(rows)), "runs.csv", "bulk-csv")
    if not readonly.is_on():
        _delete(rows, folders)


def _delete(rows: Sequence[dict[str, Any]], folders: list[str]) -> None:
    active = sum(row["state"] in ACTIVE for row in rows)
    hint = f"{plural(active, 'run')} must be stopped first." if active else "Can be undone."
    if st.button("Delete", icon=":material/delete:", key="bulk-delete", disabled=active == len(rows), help=hint):
        result = delete_runs(form.outputs_root(), folders)
        deletion.note(plural(len(result.done), "run"), result.done)
        address.write_ids("run", [])
        _finish(result, "deleted")


def _compare(rows: Sequence[dict[str, Any]]) -> None:
    """Draw the button that compares the runs, and beside it why it takes not all of them."""
    lacking = [] if len(rows) > MOST else [row for row in rows if not can_compare(row)]
    left_out = {row["run_id"] for row in lacking}
    ready = [row["run_id"] for row in rows if row["run_id"] not in left_out]
    names = ", ".join(as_text(row["name"]) for row in lacking)
    reason = f" Left out, without test results: {names}." if lacking else ""
    advice = " Press *Evaluate* for these." if lacking and not readonly.is_on() else ""
    if st.button(
        "Compare",
        type="primary",
        icon=":material/compare:",
        key="compare-selected",
        disabled=not 2 <= len(ready) <= MOST,
        help=f"2 to {MOST} runs with test results; the uppermost is the baseline.{reason}{advice}",
    ):
        go("compare", {"runs": ",".join(ready)})
    if len(rows) > MOST:
        st.caption(f"select 2 to {MOST}", width="content")
    elif lacking:
        st.caption(f"{len(ready)} of {len(rows)} have results", width="content")


def _tag(folders: list[str], known: list[str], present: list[str]) -> None:
    with st.popover("Tag", icon=":material/sell:", key=_TAG_BOX, on_change="rerun"):
        with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):  # no list opens over the button
            add = st.multiselect(
                "Add", known, key=_TAGS, accept_new_options=True, placeholder="Choose or type a tag", width=220
            )
            remove = st.multiselect("Remove", present, key=_UNTAGS, width=220) if present else []
            pressed = st.button("Apply", key="bulk-tag", type="primary", disabled=not (add or remove))
        if pressed:
            _finish(tag_runs(folders, add, remove), "tagged")


def _evaluate(rows: Sequence[dict[str, Any]]) -> None:
    ready = [row["run_dir"] for row in rows if not row["tests"] and row["best_epoch"] is not None]
    with st.popover("Evaluate", icon=":material/query_stats:", key=_EVALUATE_BOX, on_change="rerun"):
        st.markdown(
            f"Evaluate {plural(len(ready), 'run')} on the test sets of their configs. Each evaluation is logged. "
            f"{plural(len(rows) - len(ready), 'run')} of the selection: already evaluated, or without an epoch."
        )
        if st.button("Evaluate on test", key="bulk-evaluate", type="primary", disabled=not ready):
            with progress_bar("Evaluating runs") as progress:
                done = iter(range(1, len(ready) + 1))

                def evaluate(folder: Path) -> list[str]:
                    progress("evaluating runs", next(done), len(ready))
                    return evaluate_runs([open_run(folder)])

                result = for_each(ready, evaluate)
            warnings = dict.fromkeys(text for texts in result.done for text in texts)
            _finish(result, "evaluated on test", list(warnings))


def _finish(result: BulkResult, verb: str, warnings: Sequence[str] = ()) -> None:
    """Say on the next run of the page what was done."""
    st.session_state[_DONE] = (
        result.sentence(verb),
        [f"{run_id}: {why}" for run_id, why in result.refused.items()],
        list(warnings),
    )
    st.rerun()


def draw_result() -> None:
    """Draw what became of the last action: a notification, and a warning for each run that refused; close its box."""
    if (done := st.session_state.pop(_DONE, None)) is None:
        return
    st.session_state.update({_TAG_BOX: False, _EVALUATE_BOX: False, _TAGS: [], _UNTAGS: []})
    sentence, refused, warnings = done
    st.toast(sentence, icon=":material/warning:" if refused else ":material/check:")
    for title, lines in ((sentence, refused), ("Warnings of the evaluation", warnings)):
        if lines:
            more = len(lines) - _LISTED
            show_warning(title, "\n".join([*lines[:_LISTED], *([f"and {more} more"] if more > 0 else [])]))


def zip_bytes(run_dirs: Sequence[Path | str]) -> bytes:
    """Return runs as one zip; one that cannot be read is named in it."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "runs.zip"
        export_runs(run_dirs, target)
        return target.read_bytes()
