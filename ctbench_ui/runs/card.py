"""One run in detail: what was set, what it was made with, its files, and what can be done with it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from ctbench_core.config import KEYS, changed_keys, get_key
from ctbench_core.export import export_run
from ctbench_core.jobs import get_runner
from ctbench_core.overrides import to_command
from ctbench_core.runs import RESUMABLE, Run, open_run, read_json, why_not_resumable
from ctbench_ui import form
from ctbench_ui.pages import go
from ctbench_ui.runs import edits
from ctbench_ui.shared import cache, feedback, live
from ctbench_ui.shared.style import state_badge

# What a clone does not take over: where the run lies.
_PLACE = ("paths.run_dir", "paths.output_dir", "paths.outputs_root", "paths.checkpoint_dir", "training.resume")


def draw(run_dir: Path, known_tags: list[str]) -> None:
    """Draw the card of a run.

    Args:
        known_tags: tags of other runs, to choose from.
    """
    with feedback.guarded("This run cannot be read"), st.container(border=True, key="run-card"):
        run = open_run(run_dir)
        st.subheader(run.name, anchor=False)
        st.markdown(f"{state_badge(run.status.state)} `{run.paths.root}`")
        if run.status.error:
            feedback.problem("What happened", run.status.error)
        reason = why_not_resumable(run)
        _actions(run, resumable=not reason)
        if reason and run.status.state in RESUMABLE:
            st.caption(f":material/info: {reason}")
        edits.draw_notes(run, known_tags)
        settings, curves, made = st.tabs(
            ["Settings", "Curves", "Provenance and files"], on_change="rerun", key="card-tabs"
        )
        if settings.open:
            with settings:
                _settings(run)
        if curves.open:
            with curves:
                live.curves_of(run, "card")
        if made.open:
            with made:
                _made(run)


def _actions(run: Run, resumable: bool) -> None:
    with st.container(horizontal=True, gap="small"):
        if run.paths.final_model.is_file() and st.button(
            "Evaluate", icon=":material/query_stats:", key="card-evaluate", type="primary"
        ):
            go("evaluate", {"run": run.run_id})
        if resumable and st.button("Resume", icon=":material/resume:", key="card-resume"):
            get_runner().resume(run.paths.root)
            st.rerun()
        if st.button(
            "Clone", icon=":material/content_copy:", key="card-clone", help="Fill the Train form with these settings."
        ):
            form.fill_next(run.config, lambda key: not key.startswith(_PLACE))
            go("train")
        edits.star(run)
        st.download_button(
            "Zip",
            data=lambda: zipped(run),
            file_name=f"{run.run_id}.zip",
            mime="application/zip",
            key="card-zip",
            icon=":material/folder_zip:",
            on_click="ignore",
            help="Config, command, scores, tables, curves, weights and provenance in one file.",
        )
        said = "Stop it first." if run.status.active else "Can be undone."
        if st.button("Delete", icon=":material/delete:", key="card-delete", disabled=run.status.active, help=said):
            edits.delete(run)
            st.rerun()


def zipped(run: Run) -> bytes:
    """Return a run as one zip.

    Raises:
        InputError: its folder has gone.
    """
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "run.zip"
        export_run(run.paths.root, target)
        return target.read_bytes()


def _settings(run: Run) -> None:
    changed = changed_keys(run.config)
    st.caption("What differs from the defaults.")
    _keys(changed, "Settings that differ from the defaults")
    st.code(to_command(run.config), language="bash", wrap_lines=True)
    with st.expander("All settings", key="card-all", on_change="rerun") as box:
        if box.open:
            _keys({key: get_key(run.config, key) for key in KEYS}, "All settings")


def _keys(values: dict[str, Any], alt: str) -> None:
    rows = [{"key": key, "value": str(value)} for key, value in values.items()]
    st.dataframe(pd.DataFrame(rows), hide_index=True, alt=alt)


def _made(run: Run) -> None:
    content: dict[str, Any] = read_json(run.paths.provenance) or {}
    left, right = st.columns(2)
    with left:
        st.json(content, expanded=1)
    with right:
        files = [file for file in sorted(run.paths.root.rglob("*")) if file.is_file()]
        rows = [
            {"file": file.relative_to(run.paths.root).as_posix(), "KiB": cache.stamp(file)[2] / 1024} for file in files
        ]
        config = {"KiB": st.column_config.NumberColumn(format="%.1f")}
        st.dataframe(pd.DataFrame(rows), hide_index=True, column_config=config, alt="Files of the run")
