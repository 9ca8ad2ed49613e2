"""A search at work and what it found: history, importance, parallel coordinates, and the best on fresh seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from ctbench_core.config import changed_keys
from ctbench_core.errors import CtbenchError
from ctbench_core.formatting import format_metric, plural
from ctbench_core.jobs import get_runner
from ctbench_core.studies import (
    DEFAULT_SPACE,
    PAUSED,
    TOP,
    Search,
    Study,
    StudyPaths,
    importance,
    is_worked_on,
    plan_search,
    plan_study,
    read_search,
    row,
    run_search,
    search_from,
    stability,
    trials_of,
    want,
)
from ctbench_ui import form
from ctbench_ui.shared import cache, charts, feedback
from ctbench_ui.shared.style import state_badge
from ctbench_ui.studies import plots, progress, run_tables

EVERY_S = 2.0
_OWN = (
    "data.budget",
    "logging.run_name",
    "paths.run_dir",
    "paths.output_dir",
    "training.resume",
    "model.params.hidden_dims",
)


def build() -> Search | None:
    """Draw the builder of a search; return it once it is asked to start."""
    st.session_state.setdefault("search.name", "search")
    left, middle, right = st.columns(3)
    left.text_input("Name", key="search.name", persist_state="session")
    trials = middle.number_input("Trials", 1, 10_000, 30, key="search.trials", persist_state="session")
    batch = right.number_input(
        "Drawn together",
        1,
        100,
        3,
        key="search.batch",
        persist_state="session",
        help="Trials drawn before any of them has ended; those of one shape train as one bank.",
    )
    names = st.pills(
        "Search over",
        list(DEFAULT_SPACE),
        selection_mode="multi",
        default=list(DEFAULT_SPACE),
        format_func=plots.short,
        key="search.space",
        persist_state="session",
    )
    st.caption(
        "Judged by the validation figure alone (median pruning, TPE); no test is opened. Everything else is as set on Data and Train."
    )
    try:
        changed = changed_keys(form.config())
        base = {k: v for k, v in changed.items() if k != "job_name" and not k.startswith(_OWN) and k not in names}
        space = {name: DEFAULT_SPACE[name] for name in names}
        search = search_from(
            {
                "name": st.session_state["search.name"],
                "base": base,
                "space": space,
                "trials": int(trials),
                "batch": int(batch),
            }
        )
    except CtbenchError as error:
        feedback.problem("A value does not fit", str(error))
        return None
    start = st.button(
        f"Search {plural(int(trials), 'trial')}",
        type="primary",
        icon=":material/play_arrow:",
        key="search-start",
        disabled=not names,
    )
    return search if start else None


def start(search: Search) -> StudyPaths:
    """Plan a search and queue it.

    Raises:
        InputError: the input is at fault.
    """
    paths = plan_search(search)
    get_runner().submit_work(paths.root, lambda cancel: run_search(paths.root, cancel=cancel))
    return paths


def draw(paths: StudyPaths) -> None:
    """Draw a search; while it is at work it redraws itself."""
    with feedback.guarded("This search cannot be shown"):
        search = read_search(paths.search)
        at_work = progress.is_queued(paths) or is_worked_on(paths)
        with st.container(horizontal=True):
            if at_work and st.button("Pause", icon=":material/pause:", key="search-pause"):
                want(paths, PAUSED)
                get_runner().cancel(paths.root)
                st.rerun()
            if not at_work and st.button(
                "Go on", icon=":material/play_arrow:", key="search-resume", help="Untold trials are finished first."
            ):
                get_runner().submit_work(paths.root, lambda cancel: run_search(paths.root, cancel=cancel))
                st.rerun()
        st.fragment(_view, run_every=EVERY_S if at_work else None)(str(paths.root), search.trials, at_work)
        _again(search, paths)


@st.cache_resource(max_entries=8, show_spinner=False)
def _trials(at: cache.Stamp) -> list[Any]:
    return trials_of(StudyPaths(Path(at[0]).parent))


def _view(folder: str, planned: int, was_at_work: bool) -> None:
    paths = StudyPaths(Path(folder))
    if was_at_work and not (progress.is_queued(paths) or is_worked_on(paths)):
        st.rerun(scope="app")
    trials = _trials(cache.stamp(paths.journal)) if paths.journal.is_file() else []
    frame = pd.DataFrame([row(trial) for trial in trials])
    told = 0 if not len(frame) else int(frame["state"].isin(["finished", "pruned", "failed"]).sum())
    state = "running" if was_at_work else "finished" if told >= planned else "paused"
    best = frame[frame["state"] == "finished"]["value"].max() if told else None
    st.markdown(
        f"{state_badge(state)} {told} of {plural(planned, 'trial')} · best validation figure **{format_metric(best, 4)}**"
    )
    st.progress(min(1.0, told / planned))
    if not told:
        return
    history, shares = st.columns([3, 2])
    with history:
        st.markdown("**History**")
        st.plotly_chart(plots.search_history(frame), key="search-history", config=charts.CONFIG)
    with shares:
        st.markdown("**Importance**")
        found = importance(trials)
        if found:
            st.plotly_chart(plots.importance_bars(found), key="search-importance", config=charts.CONFIG)
        else:
            st.caption("After four finished trials.")
    done = frame[frame["state"] == "finished"].sort_values("value", ascending=False)
    parameters = [name for name in frame if name not in ("trial", "state", "value", "epochs", "run")]
    if len(done) > 1:
        st.markdown("**Parallel coordinates**")
        st.plotly_chart(plots.parallel(done, parameters), key="search-parallel", config=charts.CONFIG)
    st.dataframe(done.rename(columns=plots.short), hide_index=True, column_config=run_tables.shares(done[["value"]]))


def _again(search: Search, paths: StudyPaths) -> None:
    """Offer the best on fresh seeds: the best of many trials flatters itself."""
    trials = _trials(cache.stamp(paths.journal)) if paths.journal.is_file() else []
    done = sorted((trial for trial in trials if trial.state.name == "COMPLETE"), key=lambda trial: -trial.value)
    if not done:
        return
    with st.container(horizontal=True):
        if st.button(
            "Train best with 5 fresh seeds",
            type="primary",
            icon=":material/repeat:",
            key="search-again",
            help="Opens the test for each, as a study of its own.",
        ):
            _begin(search.again(done[0].params))
        if len(done) >= TOP and st.button(
            f"Do the top {TOP} hold? 3 fresh seeds",
            icon=":material/leaderboard:",
            key="search-stability",
            help="Validation alone; shows whether the order of the best is more than luck.",
        ):
            _begin(search.stability([trial.params for trial in done[:TOP]]))
    if len(done) >= TOP:
        _held(search, done[:TOP])


def _held(search: Search, best: list[Any]) -> None:
    """Show whether the order of the best held on fresh seeds, once they were trained again."""
    found = stability(search, [(trial.value, trial.params) for trial in best])
    if found is None:
        return
    st.markdown(f"**Top {len(best)} on fresh seeds**")
    st.dataframe(
        found.table,
        hide_index=True,
        width=720,
        column_config=run_tables.shares(found.table),
        key="search-stability-table",
    )
    st.caption(
        f"Validation alone. Kendall's τ of both orders: {found.tau:.2f}. The search's best is the best of these in "
        f"{found.stays:.0%} of {plural(int(found.table['n'].iloc[0]), 'fresh seed')}. Flattered: value in the search less the mean of fresh seeds. "
        f"The runs are the study {found.paths.root.name}."
    )


def _begin(study: Study) -> None:
    with feedback.guarded("The study cannot start"):
        paths = plan_study(study)
        progress.start(paths)
        st.query_params["study"] = paths.root.name
        st.rerun()
