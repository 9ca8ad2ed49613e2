"""The progress of a study: a matrix of its runs, the time left, and the buttons to pause, resume and cancel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from ctbench_core.executors import read_session
from ctbench_core.formatting import plural
from ctbench_core.jobs import get_runner
from ctbench_core.studies import (
    CANCELLED,
    PAUSED,
    REPEATS,
    Plan,
    StudyPaths,
    StudyStatus,
    axis_title,
    cell_axes,
    cell_of,
    cell_title,
    read_plan,
    request_state,
    run_study,
    study_status,
)
from ctbench_ui.frame import readonly
from ctbench_ui.shared import as_text, duration, fragment, pictures, show_errors, state_badge
from ctbench_ui.studies import study_charts, workers

EVERY_S = 1.5
_DRAWN = "study.drawn"  # of how many finished runs the page shows the results
_GROWTH = 1.25  # results are drawn again when so many times these runs have finished


def start(paths: StudyPaths) -> None:
    """Queue the remaining runs of a planned study."""
    folder = paths.root
    get_runner().submit_work(folder, lambda cancel: run_study(folder, cancel=cancel), workers.are_elsewhere(folder))


def is_queued(paths: StudyPaths) -> bool:
    """Whether the study is running or queued on this server."""
    runner = get_runner()
    return paths.root in (*runner.active(), *runner.queued())


def _is_active(paths: StudyPaths, status: StudyStatus) -> bool:
    """Whether the study trains, is queued here, or waits for its workers elsewhere."""
    return status.state == "running" or is_queued(paths) or read_session(paths.root) is not None


def draw(paths: StudyPaths) -> None:
    """Draw the progress of a study, with its buttons; it redraws itself while the study is active."""
    with show_errors("This study cannot be shown"):
        plan = read_plan(paths)
        status = study_status(paths, plan)
        active = _is_active(paths, status)
        st.session_state[_DRAWN] = status.counts["finished"]
        if not readonly.is_on():
            _buttons(paths, status, active)
        for text in plan.warnings:
            st.warning(as_text(text))
        if active:
            fragment(_view, "This study cannot be shown", EVERY_S)(str(paths.root))
        else:
            _show(paths, plan, status)


def _buttons(paths: StudyPaths, status: StudyStatus, active: bool) -> None:
    titles = {"finished": "Retry failed runs", "waiting": "Start"}
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        if active:
            help_ = "Finishes the epoch, then pauses. Resume continues from the checkpoints."
            if st.button("Pause", icon=":material/pause:", key="study-pause", help=help_):
                _stop(paths, PAUSED)
            help_ = "Stops the study. Finished runs stay."
            if st.button("Cancel", icon=":material/stop:", key="study-cancel", help=help_):
                _stop(paths, CANCELLED)
        elif status.state != "finished" or status.counts["failed"]:
            title = titles.get(status.state, "Resume")
            if st.button(title, type="primary", icon=":material/play_arrow:", key="study-resume"):
                start(paths)
                st.rerun()


def _stop(paths: StudyPaths, state: str) -> None:
    request_state(paths, state)
    get_runner().cancel(paths.root)
    st.rerun()


def _view(folder: str) -> None:
    """Draw an active study; redraw the whole page once it has ended."""
    paths = StudyPaths(Path(folder))
    plan = read_plan(paths)
    status = study_status(paths, plan)
    if not _is_active(paths, status) or _has_news(paths, status):
        st.rerun(scope="app")
    _show(paths, plan, status)


def _has_news(paths: StudyPaths, status: StudyStatus) -> bool:
    """Whether the results below are of none of the finished runs, or of far fewer."""
    return status.counts["finished"] > st.session_state.get(_DRAWN, 0) * _GROWTH


def _show(paths: StudyPaths, plan: Plan, status: StudyStatus) -> None:
    counts, total, queued = status.counts, len(plan.runs), is_queued(paths)
    done = counts["finished"]
    parts = [f"{done:,} of {plural(total, 'run')}"]
    parts += [f"{counts['failed']} failed"] if counts["failed"] else []
    parts += [f"{counts['damaged']} damaged"] if counts["damaged"] else []
    parts += [f"training {plural(counts['running'], 'run')} together"] if counts["running"] > 1 else []
    parts += [f"about {duration(status.eta)} left"] if status.eta and (queued or status.state == "running") else []
    parts += [f"extended {plural(len(plan.extensions) - 1, 'time')}"] if len(plan.extensions) > 1 else []
    parts += ["computing intervals"] if queued and done + counts["failed"] == total else []
    state = "queued" if queued and status.state != "running" else status.state
    st.markdown(f"{state_badge(state)} {' · '.join(parts)}")
    workers.show(paths.root)
    if done < total:
        st.progress(done / max(1, total))
        chart = study_charts.run_matrix(matrix_frame(plan, status.states))
        pictures.draw_figure(chart, f"matrix-{paths.root.name}", "State of every run")


def matrix_frame(plan: Plan, states: dict[str, str]) -> pd.DataFrame:
    """Return one row a run: run, cell, repeat, state."""
    axes = cell_axes(plan)
    rows: list[dict[str, Any]] = []
    for run in plan.runs:
        repeat = (
            " · ".join(f"{axis_title(axis).lower()} {run.labels[axis]}" for axis in REPEATS if axis in run.labels)
            or "run"
        )
        cell = cell_title(dict(zip(axes, cell_of(run, axes)))) or "all"
        rows.append({"run": run.id, "cell": cell, "repeat": repeat, "state": states[run.id]})
    return pd.DataFrame(rows)
