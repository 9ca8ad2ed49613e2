"""Runs of the older system, found in a folder and taken into the run store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from ctbench_core.formatting import plural
from ctbench_core.legacy.importing import Imported, import_runs, list_runs
from ctbench_ui import form
from ctbench_ui.shared import feedback

_FOUND, _DONE = "bring-in.found", "bring-in.done"
_COLUMNS = {
    "run": st.column_config.TextColumn("Run"),
    "epochs": st.column_config.NumberColumn("Epochs", format="%d"),
    "auprc": st.column_config.NumberColumn("Val. AUPRC", format="%.3f"),
    "auroc": st.column_config.NumberColumn("Val. AUROC", format="%.3f"),
    "there": st.column_config.CheckboxColumn("Here already"),
    "problem": st.column_config.TextColumn("Cannot be taken in", width="large"),
}


def draw(outputs_root: Path) -> None:
    """Draw the way in: a folder, what lies in it, and the button that takes it in."""
    title = "Bring in runs of ct-rate-feature-benchmarks"
    with st.expander(title, icon=":material/move_to_inbox:", key="bring-in", on_change="rerun") as box:
        if not box.open:
            return
        if told := st.session_state.pop(_DONE, None):
            st.success(told, icon=":material/check:")
        with st.container(horizontal=True, vertical_alignment="bottom"):
            folder = st.text_input("Folder", "outputs", key="bring-in.folder", help="One run, or a folder of many.")
            looked = st.button("Look", icon=":material/search:", key="bring-in-look")
        st.toggle(
            "Their data has moved: use the data set chosen on the Data page",
            key="bring-in.moved",
            help="By default each run keeps its own folders, which evaluation reads.",
        )
        if looked:
            st.session_state.pop(_FOUND, None)
            with feedback.guarded("Nothing to bring in"):
                st.session_state[_FOUND] = folder, _rows(list_runs(folder, outputs_root, _given()))
        if _FOUND in st.session_state:
            _offer(outputs_root, *st.session_state[_FOUND])


def _given() -> dict[str, Any]:
    if not st.session_state.get("bring-in.moved"):
        return {}
    paths = form.config().paths
    return {"paths.data_root": paths.data_root, "paths.manifest_dir": paths.manifest_dir}


def _rows(runs: list[Imported]) -> list[dict[str, Any]]:
    return [
        {
            "run": f"{run.job}/{run.label}",
            "epochs": run.epochs or None,
            "auprc": run.best_val.get("auprc"),
            "auroc": run.best_val.get("auroc"),
            "there": run.present,
            "problem": run.problem,
        }
        for run in runs
    ]


def _offer(outputs_root: Path, folder: str, rows: list[dict[str, Any]]) -> None:
    frame = pd.DataFrame(rows)
    shown = [name for name in _COLUMNS if name not in ("there", "problem") or frame[name].astype(bool).any()]
    st.dataframe(frame[shown], hide_index=True, column_config=_COLUMNS, alt="Runs of the older system in this folder")
    fresh = sum(not row["there"] and not row["problem"] for row in rows)
    label = f"Bring in {plural(fresh, 'run')}" if fresh else "All are here"
    if st.button(label, type="primary", key="bring-in-take", disabled=not fresh):
        with feedback.guarded("They cannot be brought in"):
            with feedback.progress("Importing") as progress:
                taken = import_runs(folder, outputs_root, _given(), progress)
            st.session_state.pop(_FOUND)
            st.session_state[_DONE] = (
                f"{plural(sum(run.new for run in taken), 'run')} brought in; the older folder is as it was."
            )
            st.rerun()
