"""A search over settings: its form, its trials, and the best trials trained again with new seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from ctbench_core.config import key_title
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
    has_active_worker,
    parameter_importance,
    parse_search,
    plan_search,
    plan_study,
    read_search,
    read_trials,
    request_state,
    run_search,
    shared_keys,
    space_edges,
    stability,
    titled_sentences,
    trial_row,
)
from ctbench_ui import form
from ctbench_ui.frame import readonly
from ctbench_ui.shared import as_text, cache, exports, fragment, is_dark, show_error, show_errors, state_badge
from ctbench_ui.studies import progress, study_charts, workers

EVERY_S = 2.0
_WORKERS = "search.workers"
_ENDED = ("finished", "pruned", "failed")
_KEEP: dict[str, Any] = {"persist_state": "session"}


def draw_form() -> Search | None:
    """Draw the form of a search; return the search when *Start* is pressed."""
    st.session_state.setdefault("search.name", "search")
    left, middle, right = st.columns(3)
    left.text_input("Name", key="search.name", **_KEEP)
    trials = middle.number_input("Trials", 1, 10_000, 30, key="search.trials", **_KEEP)
    help_ = "Trials proposed at once, before any of them ends. Trials with heads of the same shape train together."
    batch = right.number_input("Parallel trials", 1, 100, 3, key="search.batch", help=help_, **_KEEP)
    names = st.pills(
        "Search over",
        list(DEFAULT_SPACE),
        selection_mode="multi",
        default=list(DEFAULT_SPACE),
        format_func=key_title,
        key="search.space",
        **_KEEP,
    )
    st.caption(
        "Uses the validation metric only (TPE, median pruning); no trial is evaluated on test. All other settings are "
        "those of Data and Train."
    )
    try:
        base = {key: value for key, value in shared_keys(form.config()).items() if key not in names}
        space = {name: DEFAULT_SPACE[name] for name in names}
        values = {"name": st.session_state["search.name"], "base": base, "space": space}
        search = parse_search({**values, "trials": int(trials), "batch": int(batch)})
    except CtbenchError as error:
        show_error("Invalid value", str(error))
        return None
    with st.container(horizontal=True, vertical_alignment="bottom"):
        pressed = st.button(
            f"Start {plural(int(trials), 'trial')}",
            type="primary",
            icon=":material/play_arrow:",
            key="search-start",
            disabled=not names,
        )
        workers.draw_field(_WORKERS)
    return search if pressed else None


def start(search: Search) -> StudyPaths:
    """Plan a search and queue it.

    Raises:
        InputError: the input is at fault.
    """
    paths = plan_search(search)
    workers.store_field(_WORKERS, paths)
    _queue(paths)
    return paths


def _queue(paths: StudyPaths) -> None:
    folder = paths.root
    get_runner().submit_work(folder, lambda cancel: run_search(folder, cancel=cancel), workers.are_elsewhere(folder))


def draw(paths: StudyPaths) -> None:
    """Draw a search; it redraws itself while the search is active."""
    with show_errors("This search cannot be shown"):
        search = read_search(paths.search)
        active, can_change = _is_active(paths), not readonly.is_on()
        help_ = "Unfinished trials are completed first."
        if can_change and active and st.button("Pause", icon=":material/pause:", key="search-pause"):
            request_state(paths, PAUSED)
            get_runner().cancel(paths.root)
            st.rerun()
        can_resume = can_change and not active
        if can_resume and st.button("Resume", icon=":material/play_arrow:", key="search-resume", help=help_):
            _queue(paths)
            st.rerun()
        every_s = EVERY_S if active else None
        fragment(_view, "This search cannot be shown", every_s)(str(paths.root), search.trials, active)
        _new_seeds(search, paths)


def _is_active(paths: StudyPaths) -> bool:
    return progress.is_queued(paths) or has_active_worker(paths)


@cache.per_file(max_entries=8)
def _load_trials(journal: Path) -> list[Any]:
    return read_trials(StudyPaths(journal.parent)) if journal.is_file() else []


def _view(folder: str, planned: int, was_active: bool) -> None:
    """Draw the state of a search, and its trials."""
    paths = StudyPaths(Path(folder))
    if was_active and not _is_active(paths):
        st.rerun(scope="app")
    trials = _load_trials(paths.journal)
    frame = pd.DataFrame([trial_row(trial) for trial in trials])
    ended = int(frame["state"].isin(_ENDED).sum()) if len(frame) else 0
    finished = frame[frame["state"] == "finished"].sort_values("value", ascending=False) if ended else frame
    state = "running" if was_active else "finished" if ended >= planned else "paused"
    best = format_metric(finished["value"].max() if len(finished) else None, 4)
    st.markdown(f"{state_badge(state)} {ended} of {plural(planned, 'trial')} · best validation metric **{best}**")
    workers.show(paths.root)
    st.progress(min(1.0, ended / planned))
    if not ended:
        return
    on = "validation metric of each trial"
    source = exports.Source(f"Search {paths.root.name}", on, on, paths.root.name, is_on_page=True)
    left, right = st.columns([3, 2])
    left.markdown("**History**")
    with left:
        alt = "Validation metric by trial"
        exports.draw_chart(study_charts.search_history(frame), frame, source, "search-history", alt)
    right.markdown("**Importance**")
    if shares := parameter_importance(trials):
        with right:
            alt = "Share of the metric's variance by setting"
            table = pd.DataFrame({"setting": list(shares), "share": list(shares.values())})
            exports.draw_chart(study_charts.importance_bars(shares), table, source, "search-importance", alt)
    else:
        right.caption("Available after four finished trials.")
    if len(finished) > 1:
        parameters = [name for name in frame if name not in ("trial", "state", "value", "epochs", "run")]
        st.markdown("**Parallel coordinates**")
        alt = "Settings of every trial and its metric, a line each"
        chart = study_charts.parallel(finished, parameters, dark=is_dark())
        exports.draw_chart(chart, finished, source, "search-parallel", alt)
    if len(finished):
        best_trial = next(trial for trial in trials if trial.number == finished["trial"].iloc[0])
        for text in titled_sentences(space_edges(read_search(paths.search).parsed_space(), best_trial.params)):
            st.info(as_text(text), icon=":material/open_in_full:")
    shown = finished.rename(columns=key_title)
    st.dataframe(shown.style.format(format_metric, subset=["Value"]), hide_index=True)


def _new_seeds(search: Search, paths: StudyPaths) -> None:
    """Draw the best trials with new seeds, and offer to train them: the best of many trials is optimistic."""
    finished = [trial for trial in _load_trials(paths.journal) if trial.state.name == "COMPLETE"]
    distinct: dict[str, Any] = {}
    for trial in sorted(finished, key=lambda trial: -trial.value):
        distinct.setdefault(str(trial.params), trial)  # a space of lists may draw a setting twice
    top = list(distinct.values())[:TOP]
    if not top:
        return
    if not readonly.is_on():
        _offer_new_seeds(search, top)
    _best_again(search, top[0])
    if len(top) == TOP:
        _stability(search, top)


def _offer_new_seeds(search: Search, top: list[Any]) -> None:
    with st.container(horizontal=True):
        if st.button(
            "Retrain best with 5 new seeds",
            type="primary",
            icon=":material/repeat:",
            key="search-again",
            help="Starts a study that evaluates each run on test.",
        ):
            _start_study(search.confirmation_study(top[0].params))
        if len(top) == TOP and st.button(
            f"Retrain top {TOP} with 3 new seeds",
            icon=":material/leaderboard:",
            key="search-stability",
            help="On validation only. Shows whether the ranking of the best trials is more than chance.",
        ):
            _start_study(search.stability_study([trial.params for trial in top]))


def _best_again(search: Search, best: Any) -> None:
    """Draw how good the best trial is with new seeds, once it was trained again."""
    result = stability(search, [(best.value, best.params)])
    if result is not None:
        row = result.table.iloc[0]
        st.markdown(
            f"Best trial with {plural(int(row['n']), 'new seed')}: **{format_metric(row['mean'], 4)}** ± "
            f"{format_metric(row['sd'], 4)} on validation; the search had {format_metric(row['value'], 4)}, which is the best "
            f"of many trials. The runs are in the study {as_text(result.paths.root.name)}."
        )


def _stability(search: Search, top: list[Any]) -> None:
    """Draw whether the order of the best trials was the same with new seeds, once they were trained."""
    result = stability(search, [(trial.value, trial.params) for trial in top])
    if result is None:
        return
    st.markdown(f"**Top {len(top)} with new seeds**")
    headings = {name: name.capitalize() for name in result.table} | {"flattered": "Search − new seeds"}
    st.dataframe(
        exports.styled(result.table),
        hide_index=True,
        width=720,
        column_config=headings,
        key="search-stability-table",
    )
    st.caption(
        f"On validation only. Kendall's τ between the two rankings: {format_metric(result.tau, 2)}. The best trial of the search is also the best "
        f"here in {result.stays:.0%} of {plural(int(result.table['n'].iloc[0]), 'new seed')}. "
        f"The runs are in the study {as_text(result.paths.root.name)}."
    )


def _start_study(study: Study) -> None:
    with show_errors("The study cannot start"):
        paths = plan_study(study)
        progress.start(paths)
        st.query_params["study"] = paths.root.name
        st.rerun()
