"""Alignment: how well each volume retrieves its report, and each report its volume."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import streamlit as st

from ctbench_core.config import Config
from ctbench_core.jobs import get_runner
from ctbench_core.runs import delete_alignment, open_run
from ctbench_ui import form
from ctbench_ui.alignment import result, two_results
from ctbench_ui.frame import address, readonly
from ctbench_ui.shared import active_jobs, deletion, demo, folders, linked_ids, show_empty, show_errors

_MEASURED = "alignment.run"
_RESULT, _LINK = "alignment.result", "result"
_ICON = ":material/compare_arrows:"


def draw() -> None:
    """Draw the page: the choice of a result beside the title, and the settings of a measurement while there is none."""
    header = st.container(key="alignment-header", horizontal=True, vertical_alignment="center", gap="small")
    header.title("Alignment", anchor=False, width="content")
    deletion.offer_undo()
    stored = result.list_stored(str(form.outputs_root()))
    _choose_measured(stored)
    runs = {Path(key).parent.name: key for key in reversed(stored)}
    linked = linked_ids.read_id("alignment", _LINK, runs)
    linked_ids.read_id("alignment", two_results.OTHER, runs)
    has_data = demo.has_data() or form.is_data_changed()
    if not has_data and not stored:
        show_empty(
            "No data yet",
            "Choose features of volumes and reports that share one embedding space.",
            "Choose data",
            "data",
        )
        return
    changeable = not readonly.is_on()
    measure_box: Any = None
    if stored:
        with header:
            chosen = _pick_result(stored, runs.get(linked or ""))
            if changeable and has_data:
                measure_box = st.popover("Measure", icon=_ICON, key="measure-box")
            run_dir, _, name = chosen.rpartition("/")
            if changeable:
                _draw_delete(Path(run_dir), name)
            place = st.container(width="content")
    elif changeable:
        measure_box = st.container()
    if measure_box is not None:
        _offer_measurement(measure_box)
    with st.container():  # what follows keeps its place
        queued = [Path(st.session_state[_MEASURED])] if _MEASURED in st.session_state else []
        for folder in dict.fromkeys([*active_jobs.list_alignments(), *queued]) if changeable else ():
            active_jobs.draw_alignment(folder)
    if not stored:
        with st.container(border=True):
            st.markdown(
                "Press **Measure**: the cosine similarity of every volume with every report. The result is stored in the run store "
                "and shown here."
            )
        return
    with show_errors("This result cannot be shown"):
        readonly.offer_link(place)
        result.draw(Path(run_dir), name)


def _choose_measured(stored: Collection[str]) -> None:
    """Choose what was measured here, once it is stored."""
    folder = str(st.session_state.get(_MEASURED, ""))
    if measured := next((key for key in stored if str(Path(key).parent) == folder), None):
        st.session_state.pop(_MEASURED)
        st.session_state[_RESULT] = measured
        _write_link()


def _pick_result(stored: Mapping[str, Mapping[str, str]], linked: str | None) -> str:
    """Draw the choice of a stored result; the address names its run, which may have several."""
    present = st.session_state.get(_RESULT)
    if present not in stored or (linked and Path(str(present)).parent != Path(linked).parent):
        st.session_state[_RESULT] = linked or next(iter(stored))
    _write_link()
    return st.selectbox(
        "Result",
        list(stored),
        key=_RESULT,
        persist_state="session",
        format_func=lambda key: " · ".join(stored[key].values()),
        on_change=_write_link,
        label_visibility="collapsed",
    )


def _draw_delete(run_dir: Path, name: str) -> None:
    if st.button("Delete", icon=":material/delete:", key="alignment-delete", help="Can be undone."):
        with show_errors("The result cannot be deleted"):
            run = open_run(run_dir)
            deletion.note(f"{run.name} · {run.run_id}", [delete_alignment(form.outputs_root(), run, name)])
            address.write_ids(_LINK, [])
            st.rerun()


def _write_link() -> None:
    address.write_ids(_LINK, [Path(st.session_state[_RESULT]).parent.name])


def _offer_measurement(place: Any) -> None:
    """Draw the settings of a measurement in a place, and queue one on the click."""
    manifest = None
    with place, show_errors("A setting is not valid"):
        manifest = _draw_settings()
    if manifest:
        config = form.config()
        config.data.train_manifest, config.job_name = manifest, "align"
        with show_errors("Alignment cannot be measured"):
            st.session_state[_MEASURED] = str(_queue(config))
            st.rerun()  # the status bar shows it too


def _draw_settings() -> str | None:
    """Draw the settings of a measurement; return its manifest on the click."""
    manifests = folders.list_manifests(Path(form.config().paths.manifest_dir))
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        tests = [place for place, name in enumerate(manifests) if "test" in name]
        manifest = st.selectbox(
            "Manifest",
            manifests,
            index=tests[0] if tests else 0,
            key="alignment.manifest",
            persist_state="session",
            accept_new_options=True,
            width=180,
        )
        form.field("analysis.truth", "Match by")
        form.field("analysis.k", "K", width=150)
        form.field("analysis.filter_normal_cases", "Exclude normal")
        form.field("analysis.within", "Same modality")
        pressed = st.button("Measure", type="primary", icon=_ICON, key="measure", disabled=not manifest)
    return manifest if pressed else None


def _queue(config: Config) -> Path:
    """Queue a measurement; the part of the core that needs torch is loaded now, not with the page."""
    from ctbench_core.alignment import queue_alignment, run_alignment

    get_runner().require_place()
    folder = queue_alignment(config)
    return get_runner().submit_work(folder, lambda cancel: run_alignment(config, run_dir=folder, cancel=cancel))
