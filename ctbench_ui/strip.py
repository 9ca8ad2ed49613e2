"""The slim strip on top of every page: data set, running job, device; and the toast when a job ends."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import streamlit as st

from ctbench_core.errors import CtbenchError
from ctbench_core.jobs import get_runner
from ctbench_core.runs import RunPaths, Status, read_status
from ctbench_ui import cache, form
from ctbench_ui.navigation import page
from ctbench_ui.style import counts, duration, seconds_between

_WATCHED = "strip.watched"
_TOASTS = "strip.toasts"
_EVERY_S = 1.5


def draw() -> None:
    """Draw the strip; while a run is at work it redraws itself."""
    for text, icon in st.session_state.pop(_TOASTS, []):
        st.toast(text, icon=icon, duration="long")
    active = get_runner().active() or next(iter(get_runner().queued()), None)
    with st.container(horizontal=True, vertical_alignment="center", gap="medium", key="strip"):
        st.caption(_dataset())
        st.fragment(_job, run_every=_EVERY_S if active else None)()
        st.caption(f":material/memory: {device()}")


def _dataset() -> str:
    try:
        found = cache.peek(form.config())
    except CtbenchError:
        return ":material/database: no data set chosen"
    name = st.session_state.get(form.DATASET) or found["name"]
    return f":material/database: **{name}** · {counts(found['counts'])}"


def _job() -> None:
    runner = get_runner()
    watched: list[str] = st.session_state.setdefault(_WATCHED, [])
    ended = [folder for folder in watched if runner.active() != Path(folder) and Path(folder) not in runner.queued()]
    present = [str(folder) for folder in (runner.active(), *runner.queued()) if folder is not None]
    st.session_state[_WATCHED] = present
    if ended:
        st.session_state[_TOASTS] = [_farewell(Path(folder)) for folder in ended]
        st.rerun(scope="app")
    if set(present) - set(watched) and not watched:
        st.rerun(scope="app")  # a job has begun: the strip must start to redraw itself
    status = _status(Path(present[0])) if present else None
    if status is None:
        st.caption(":material/hourglass_empty: no job")
        return
    waiting = f" · {len(present) - 1} waiting" if len(present) > 1 else ""
    label = f"{status.label} · epoch {status.epoch:,}/{status.max_epochs:,}{waiting}"
    with st.container(horizontal=True, vertical_alignment="center", gap="small", width=440):
        st.page_link(page("runs"), label=label, icon=":material/play_circle:")
        st.progress(share(status), width=110)


def _status(folder: Path) -> Status | None:
    try:
        return read_status(RunPaths(folder).status)
    except CtbenchError:
        return None


def _farewell(folder: Path) -> tuple[str, str]:
    status = _status(folder)
    if status is None:
        return f"{folder.name} has gone", ":material/help:"
    icon = ":material/check_circle:" if status.state == "finished" else ":material/info:"
    return f"{status.label}: {status.state} after {status.epoch} epochs", icon


def share(status: Status) -> float:
    """Return the share of a run's epochs that is done, 0 to 1."""
    return min(1.0, status.epoch / max(1, status.max_epochs))


def eta(status: Status) -> str:
    """Return how long the remaining epochs would take; early stopping often ends a run before."""
    if not status.epoch:
        return "–"
    spent = seconds_between(status.created, status.updated)
    return duration(spent / status.epoch * (status.max_epochs - status.epoch))


def device() -> str:
    """Name the device that runs train on, once the job thread has brought up torch."""
    torch: Any = sys.modules.get("torch")
    cuda = getattr(torch, "cuda", None)
    if cuda is None or not hasattr(cuda, "is_available"):
        return "CPU"
    if not cuda.is_available():
        return "CPU"
    free, total = cuda.mem_get_info()
    return f"{cuda.get_device_name()} · {(total - free) / 2**30:.0f} of {total / 2**30:.0f} GiB"


