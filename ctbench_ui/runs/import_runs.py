"""Import runs of the older system from a folder into the run store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from ctbench_core.declared import METRICS, compared_metrics, short_title
from ctbench_core.formatting import plural
from ctbench_core.legacy import ImportedRun, import_runs, list_runs
from ctbench_ui import form
from ctbench_ui.shared import exports, progress_bar, show_errors

_LISTED, _DONE = "bring-in.found", "bring-in.done"
_COLUMNS: dict[str, Any] = {
    "run": st.column_config.TextColumn("Run"),
    "epochs": st.column_config.NumberColumn("Epochs", format="%d"),
    **{name: f"Val. {short_title(name)}" for name in compared_metrics()},
    "there": st.column_config.CheckboxColumn("Already imported"),
    "problem": st.column_config.TextColumn("Problem", width="large"),
}


def draw(outputs_root: Path) -> None:
    """Draw the choice of a folder, the runs in it, and the button that imports them."""
    title = "Import runs from ct-rate-feature-benchmarks"
    with st.expander(title, icon=":material/move_to_inbox:", key="bring-in", on_change="rerun") as box:
        if not box.open:
            return
        if message := st.session_state.pop(_DONE, None):
            st.success(message, icon=":material/check:")
        with st.container(horizontal=True, vertical_alignment="bottom"):
            folder = st.text_input("Folder", "outputs", key="bring-in.folder", help="One run, or a folder of many.")
            pressed = st.button("List runs", icon=":material/search:", key="bring-in-look")
        st.toggle(
            "Use the data set chosen on the Data page",
            key="bring-in.moved",
            help="For runs whose data have moved. Otherwise each run keeps its own folders.",
        )
        if pressed:
            st.session_state.pop(_LISTED, None)
            with show_errors("No run to import"):
                st.session_state[_LISTED] = folder, _rows(list_runs(folder, outputs_root, _overrides()))
        if _LISTED in st.session_state:
            _offer(outputs_root, *st.session_state[_LISTED])


def _overrides() -> dict[str, Any]:
    if not st.session_state.get("bring-in.moved"):
        return {}
    paths = form.config().paths
    return {"paths.data_root": paths.data_root, "paths.manifest_dir": paths.manifest_dir}


def _rows(runs: list[ImportedRun]) -> list[dict[str, Any]]:
    return [
        {
            "run": f"{run.job}/{run.label}",
            "epochs": run.epochs or None,
            **{name: run.best_val.get(METRICS[name].macro) for name in compared_metrics()},
            "there": run.present,
            "problem": run.problem,
        }
        for run in runs
    ]


def _offer(outputs_root: Path, folder: str, rows: list[dict[str, Any]]) -> None:
    frame = pd.DataFrame(rows)
    shown = [name for name in _COLUMNS if name not in ("there", "problem") or frame[name].astype(bool).any()]
    st.dataframe(
        exports.styled(frame[shown]),
        hide_index=True,
        column_config=_COLUMNS,
        alt="Runs of the older system in this folder",
    )
    fresh = sum(not row["there"] and not row["problem"] for row in rows)
    label = f"Import {plural(fresh, 'run')}" if fresh else "Nothing to import"
    if st.button(label, type="primary", key="bring-in-take", disabled=not fresh):
        with show_errors("The runs cannot be imported"):
            with progress_bar("Importing") as progress:
                runs = import_runs(folder, outputs_root, _overrides(), progress)
            st.session_state.pop(_LISTED)
            count = plural(sum(run.new for run in runs), "run")
            st.session_state[_DONE] = f"{count} imported. The older folder is unchanged."
            st.rerun()
