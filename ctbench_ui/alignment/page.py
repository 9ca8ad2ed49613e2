"""Alignment: how well each volume finds its report, and each report its volume."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from ctbench_core.config import Config
from ctbench_core.jobs import get_runner
from ctbench_ui import form
from ctbench_ui.alignment import result
from ctbench_ui.frame import readonly
from ctbench_ui.shared import alignment_progress, demo, feedback, folders

_SHOWN = "alignment.run"
_LINK, _TAKEN = "result", "alignment.taken"


def draw() -> None:
    """Draw the page."""
    place = readonly.head("Alignment")
    st.caption(
        "Cosine similarity of every volume with every report: ties count by expectation, chance stands beside every figure."
    )
    stored = result.stored(str(form.outputs_root()))
    has_data = demo.has_data() or form.data_chosen()
    if not has_data and not stored:
        feedback.empty(
            "No data yet", "Choose features of volumes and reports that share one space.", "Choose data", "data"
        )
        st.stop()
    if has_data and not readonly.is_on():
        measure()
    asked_for = [Path(st.session_state[_SHOWN])] if _SHOWN in st.session_state else []
    for folder in dict.fromkeys([*alignment_progress.going(), *asked_for]) if not readonly.is_on() else ():
        alignment_progress.draw(folder)
    if not stored:
        with st.container(border=True):
            st.markdown("Press **Measure**: the result is kept in the run store and shown here.")
        st.stop()
    names = list(stored)
    if (asked := st.query_params.get(_LINK, "")) != st.session_state.get(
        _TAKEN, ""
    ):  # once for each address arrived with
        linked = [str(Path(key).parent) for key in names if Path(key).parent.name == asked]
        if linked:
            st.session_state[_SHOWN] = linked[0]
    shown = next((key for key in names if str(Path(key).parent) == str(st.session_state.get(_SHOWN))), names[0])
    chosen = st.selectbox("Result", names, index=names.index(shown), format_func=stored.__getitem__)
    with feedback.guarded("This result cannot be shown"):
        run_dir, _, name = chosen.rpartition("/")
        st.session_state[_TAKEN] = st.query_params[_LINK] = Path(run_dir).name
        readonly.offer(place, **{_LINK: Path(run_dir).name})
        result.draw(Path(run_dir), name)


def measure() -> None:
    """Draw the choices of a measurement, and measure when asked."""
    with feedback.guarded("A setting does not fit"):
        config = form.config()
        found = folders.manifests(Path(config.paths.manifest_dir))
        with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
            usual = [name for name in found if "test" in name]
            manifest = st.selectbox(
                "Manifest",
                found,
                index=found.index(usual[0]) if usual else 0,
                key="alignment.manifest",
                persist_state="session",
                accept_new_options=True,
                width=180,
            )
            form.field("analysis.truth", "A hit is of the same")
            form.field("analysis.k", "K", width=150)
            form.field("analysis.filter_normal_cases", "Skip normal")
            form.field("analysis.within", "Within")
            asked = st.button(
                "Measure", type="primary", icon=":material/compare_arrows:", key="measure", disabled=not manifest
            )
        if asked and manifest:
            config = form.config()
            config.data.train_manifest, config.job_name = manifest, "align"
            with feedback.guarded("Alignment cannot be measured"):
                st.session_state[_SHOWN] = str(queue(config))
                st.rerun()  # the strip on top shows it too


def queue(config: Config) -> Path:
    """Let the job thread measure; the core's part that needs torch is loaded now, not with the page."""
    from ctbench_core.alignment.job import queue_alignment, run_alignment

    folder = queue_alignment(config)
    return get_runner().submit_work(folder, lambda cancel: run_alignment(config, run_dir=folder, cancel=cancel))
