"""The slim strip on top of every page: data set, running job, device; and the toast when a job ends."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from ctbench_core.errors import CtbenchError
from ctbench_core.formatting import format_cohort
from ctbench_core.runs import Status
from ctbench_ui import form
from ctbench_ui.pages import page
from ctbench_ui.shared import active_jobs, cache, meters
from ctbench_ui.shared.style import duration, seconds_between

_WATCHED = "strip.watched"
_EVERY_S = 1.5
_IDLE_EVERY_S = 4.0


def draw() -> None:
    """Draw the strip; it redraws itself, and the page when a run begins or ends, in whichever tab or process."""
    for folder in _ended():
        text, icon = _farewell(folder)
        st.toast(text, icon=icon, duration="long")
    redraw = _EVERY_S if st.session_state[_WATCHED] else _IDLE_EVERY_S
    with st.container(key="strip"):
        dataset, job, machine = st.columns([4, 5, 1], vertical_alignment="center")
        dataset.caption(_dataset())
        with job:
            st.fragment(_job, run_every=redraw)({"whole page"})
        machine.caption(f":material/memory: {device()}", text_alignment="right")


def _ended() -> list[Path]:
    """Bring the watched runs up to date, and return those that have ended since."""
    watched = [Path(folder) for folder in st.session_state.get(_WATCHED, [])]
    going = active_jobs.jobs()
    st.session_state[_WATCHED] = [str(folder) for folder in going]
    return [folder for folder in watched if folder not in going]


def _dataset() -> str:
    try:
        found = cache.manifest_summary(form.config())
    except CtbenchError:
        return ":material/database: no data set chosen"
    name = form.dataset_name() or found["name"]
    return f":material/database: **{name}** · {format_cohort(found['counts'])}"


def _job(first: set[str]) -> None:
    # A rerun of the page while it is being drawn would swallow the click that it is drawn for.
    if first:
        first.clear()
    elif {str(folder) for folder in active_jobs.jobs()} != set(st.session_state.get(_WATCHED, [])):
        st.rerun(scope="app")  # one has ended, or another tab or process has begun one
    present = st.session_state.get(_WATCHED, [])  # a session that ends while this runs has lost its state
    waiting = f" · {len(present) - 1} more" if len(present) > 1 else ""
    if present and active_jobs.is_study(Path(present[0])):
        st.page_link(page("studies"), label=f"{Path(present[0]).name}{waiting}", icon=":material/play_circle:")
        return
    status = active_jobs.status_of(Path(present[0])) if present else None
    if status is None:
        st.caption(":material/hourglass_empty: no job")
        return
    label = f"{_place(status)} · ETA {eta(status)} · {status.label}{waiting}"
    link, bar = st.columns([4, 1], vertical_alignment="center", gap="small")
    link.page_link(page("runs"), label=label, icon=":material/play_circle:")
    bar.progress(share(status))


def _place(status: Status) -> str:
    """Say how far a run is; only training counts epochs."""
    return f"epoch {status.epoch:,}/{status.max_epochs:,}" if status.kind == "train" else f"{share(status):.0%}"


def _farewell(folder: Path) -> tuple[str, str]:
    if active_jobs.is_study(folder):
        return f"{folder.name} has ended", ":material/check_circle:"
    status = active_jobs.status_of(folder)
    if status is None:
        return f"{folder.name} has gone", ":material/help:"
    icon = ":material/check_circle:" if status.state == "finished" else ":material/info:"
    after = f" after {status.epoch} epochs" if status.kind == "train" else ""
    return f"{status.label}: {status.state}{after}", icon


def share(status: Status) -> float:
    """Return the share of a run's epochs that is done, 0 to 1."""
    return min(1.0, status.epoch / max(1, status.max_epochs))


def eta(status: Status) -> str:
    """Return how long the remaining epochs would take at the pace so far; early stopping often ends a run before."""
    done = status.epoch - status.started_epoch
    if done <= 0:
        return "–"
    return duration(worked(status) / done * (status.max_epochs - status.epoch))


def worked(status: Status) -> float:
    """Return the seconds since the run began to work, without its time in the queue."""
    return seconds_between(status.started or status.created, status.updated)


def device() -> str:
    """Name the device that runs train on, once the job thread has brought up torch."""
    gpu = meters.gpu()
    return "CPU" if gpu is None else f"{gpu[0]} · {gpu[1] / 2**30:.0f} of {gpu[2] / 2**30:.0f} GiB"
