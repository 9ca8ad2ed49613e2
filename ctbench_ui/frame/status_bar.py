"""The status bar on top of every page: data set, active job, device; and the toast when a job ends."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from ctbench_core.errors import CtbenchError
from ctbench_core.formatting import format_cohort, plural
from ctbench_core.runs import Status, name_of
from ctbench_ui import form
from ctbench_ui.pages import page
from ctbench_ui.shared import active_jobs, as_text, cache, meters

_WATCHED = "strip.watched"
_EVERY_S = 1.5
_IDLE_EVERY_S = 4.0


def draw() -> None:
    """Draw the bar; it redraws itself, and the page when a job of any tab or process starts or ends."""
    for folder in _update_watched():
        text, icon = _describe_end(folder)
        st.toast(text, icon=icon, duration="long")
    every_s = _EVERY_S if st.session_state[_WATCHED] else _IDLE_EVERY_S
    with st.container(key="strip", horizontal=True, vertical_alignment="center", gap="medium"):
        st.caption(_describe_dataset(), width="content")
        st.caption(f":material/memory: {describe_device()}", width="content")
        with st.container(key="strip-job"):
            st.fragment(_draw_job, run_every=every_s)({"whole page"})


def _update_watched() -> list[Path]:
    """Update the jobs that this session watches; return those that have ended since."""
    watched, active = st.session_state.get(_WATCHED, {}), _active_states()
    st.session_state[_WATCHED] = active
    return [Path(folder) for folder in watched if folder not in active]


def _active_states() -> dict[str, str]:
    """Return the state of every active job by its folder; a study's runs change theirs all the time."""
    folders = active_jobs.list_jobs()
    states = {folder: active_jobs.status_of(folder) for folder in folders if not active_jobs.is_study(folder)}
    return {str(folder): status.state if (status := states.get(folder)) else "" for folder in folders}


def _describe_dataset() -> str:
    try:
        summary = cache.manifest_summary(form.config())
    except CtbenchError:
        return (
            f":material/database: {'The chosen data have errors' if form.is_data_changed() else 'No data set chosen'}"
        )
    name = form.dataset_name() or summary["name"]
    return f":material/database: **{as_text(name)}** · {format_cohort(summary['counts'])}"


def _draw_job(first: set[str]) -> None:
    # A rerun of the page while it is being drawn would lose the click that it is drawn for.
    if first:
        first.clear()
    elif _active_states() != st.session_state.get(_WATCHED, {}):
        st.rerun(scope="app")
    watched = list(st.session_state.get(_WATCHED, {}))  # a session that ends meanwhile has lost its state
    more = f" · {len(watched) - 1} more" if len(watched) > 1 else ""
    if watched and active_jobs.is_study(Path(watched[0])):
        st.page_link(page("studies"), label=f"{as_text(Path(watched[0]).name)}{more}", icon=":material/play_circle:")
        return
    status = active_jobs.status_of(Path(watched[0])) if watched else None
    if status is None:
        st.caption(":material/hourglass_empty: No active job")
        return
    name = as_text(name_of(Path(watched[0]), status))
    label = " · ".join(filter(None, (_describe_progress(status), active_jobs.time_left(status), f"{name}{more}")))
    link, bar = st.columns([4, 1], vertical_alignment="center", gap="small")
    link.page_link(page("runs"), label=label, icon=":material/play_circle:")
    bar.progress(active_jobs.share_done(status))


def _describe_progress(status: Status) -> str:
    """Write how far a run is; only training counts epochs."""
    if status.kind == "train":
        return f"epoch {status.epoch:,}/{status.max_epochs:,}"
    return f"{active_jobs.share_done(status):.0%}"


def _describe_end(folder: Path) -> tuple[str, str]:
    """Return the text and icon of the toast of an ended job."""
    if active_jobs.is_study(folder):
        return f"{as_text(folder.name)}: ended", ":material/check_circle:"
    status = active_jobs.status_of(folder)
    if status is None:
        return f"{as_text(folder.name)}: deleted", ":material/help:"
    icon = ":material/check_circle:" if status.state == "finished" else ":material/info:"
    after = f" after {plural(status.epoch, 'epoch')}" if status.kind == "train" else ""
    return f"{as_text(name_of(folder, status))}: {status.state}{after}", icon


def describe_device() -> str:
    """Name the device that runs train on, once the job thread has loaded torch."""
    gpu = meters.gpu()
    return "CPU" if gpu is None else f"{gpu[0]} · {gpu[1] / 2**30:.0f} of {gpu[2] / 2**30:.0f} GiB"
