"""A study at work: its cells filling up, how long it may still take, pause, resume and cancel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from ctbench_core.formatting import plural
from ctbench_core.jobs import get_runner
from ctbench_core.studies import (
    CANCELLED,
    PAUSED,
    REPEATS,
    Overview,
    Plan,
    StudyPaths,
    cell_axes,
    cell_of,
    overview,
    read_plan,
    run_study,
    want,
)
from ctbench_ui.shared import charts, feedback
from ctbench_ui.shared.style import duration, state_badge
from ctbench_ui.studies import plots

EVERY_S = 1.5


def start(paths: StudyPaths) -> None:
    """Queue the work that is left of a planned study."""
    folder = paths.root
    get_runner().submit_work(folder, lambda cancel: run_study(folder, cancel=cancel))


def is_queued(paths: StudyPaths) -> bool:
    """Whether this server has the study at work or waiting."""
    runner = get_runner()
    return paths.root in (runner.active(), *runner.queued())


def draw(paths: StudyPaths) -> None:
    """Draw where a study stands, with its buttons; while it is at work it redraws itself."""
    with feedback.guarded("This study cannot be shown"):
        plan = read_plan(paths)
        seen = overview(paths, plan)
        at_work = seen.state == "running" or is_queued(paths)
        _buttons(paths, seen, at_work)
        if at_work:
            st.fragment(_view, run_every=EVERY_S)(str(paths.root))
        else:
            _show(paths, plan, seen)


def _buttons(paths: StudyPaths, seen: Overview, at_work: bool) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        if at_work:
            if st.button(
                "Pause",
                icon=":material/pause:",
                key="study-pause",
                help="Stops in good order; Resume goes on from the checkpoints.",
            ):
                _stop(paths, PAUSED)
            if st.button(
                "Cancel",
                icon=":material/stop:",
                key="study-cancel",
                help="Stops and leaves the rest undone; what is finished stays.",
            ):
                _stop(paths, CANCELLED)
        elif seen.state != "finished" or seen.counts["failed"]:
            title = (
                "Try failed runs again"
                if seen.state == "finished"
                else "Start"
                if seen.state == "waiting"
                else "Resume"
            )
            if st.button(title, type="primary", icon=":material/play_arrow:", key="study-resume"):
                start(paths)
                st.rerun()


def _stop(paths: StudyPaths, what: str) -> None:
    want(paths, what)
    get_runner().cancel(paths.root)
    st.rerun()


def _view(folder: str) -> None:
    """Draw a study at work; once it has ended, the page around it is drawn anew."""
    paths = StudyPaths(Path(folder))
    plan = read_plan(paths)
    seen = overview(paths, plan)
    if not (seen.state == "running" or is_queued(paths)):
        st.rerun(scope="app")
    _show(paths, plan, seen)


def _show(paths: StudyPaths, plan: Plan, seen: Overview) -> None:
    done, total = seen.counts["finished"], len(plan.runs)
    queued = is_queued(paths)
    parts = [f"{done:,} of {plural(total, 'run')}"]
    parts += [f"{seen.counts['failed']} failed"] if seen.counts["failed"] else []
    parts += [f"{plural(seen.workers, 'bank')} at work"] if seen.workers else []
    parts += [f"about {duration(seen.eta)} left"] if seen.eta and (queued or seen.state == "running") else []
    parts += [f"extended {plural(len(plan.extensions) - 1, 'time')}"] if len(plan.extensions) > 1 else []
    parts += ["working out intervals"] if queued and done + seen.counts["failed"] == total else []
    state = "queued" if queued and seen.state != "running" else seen.state
    st.markdown(f"{state_badge(state)} {' · '.join(parts)}")
    if done < total:
        st.progress(done / max(1, total))
        matrix(plan, seen, f"matrix-{paths.root.name}")


def matrix(plan: Plan, seen: Overview, key: str) -> None:
    """Draw one square a run."""
    frame = matrix_frame(plan, seen.states)
    st.plotly_chart(plots.run_matrix(frame), key=key, config=charts.CONFIG, theme="streamlit")


def matrix_frame(plan: Plan, states: dict[str, str]) -> pd.DataFrame:
    """Return one row a run: run, cell, repeat, state."""
    axes = cell_axes(plan)
    rows: list[dict[str, Any]] = []
    for run in plan.runs:
        repeat = " · ".join(f"{axis} {run.labels[axis]}" for axis in REPEATS if axis in run.labels) or "run"
        cell = " · ".join(cell_of(run, axes)) or "all"
        rows.append({"run": run.id, "cell": cell, "repeat": repeat, "state": states[run.id]})
    return pd.DataFrame(rows)
