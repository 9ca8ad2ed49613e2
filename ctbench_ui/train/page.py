"""The Train page: configure one run, start it, watch it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import streamlit as st

from ctbench_core.config import Config
from ctbench_core.dataset import read_training_manifests
from ctbench_core.errors import CtbenchError
from ctbench_core.jobs import get_runner
from ctbench_core.runs import open_run
from ctbench_core.train.refusals import check_training
from ctbench_ui import form
from ctbench_ui.frame import address, sign_in
from ctbench_ui.pages import PAGES, go
from ctbench_ui.shared import (
    active_jobs,
    as_text,
    cache,
    damaged,
    live,
    newest_data,
    run_actions,
    show_empty,
    show_error,
    show_errors,
)
from ctbench_ui.shared.commands import draw_command
from ctbench_ui.train import budget_preview, train_form

_RUN = "train_run"  # in the address, so that a refresh finds the run again
_OPEN, _FOLD = "train.form", "train.fold"  # whether the form is open beside a run, and whether it folds when next drawn


def draw() -> None:
    """Draw the page: the form, and below it the run that was started; its form is then a box that folds."""
    header = st.container(horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute")
    header.title("Train", anchor=False)
    run_dir = _shown_run()
    place = _draw_box(run_dir)
    if place is not None:
        _draw_configuration(header, place, can_be_empty=run_dir is None)
    if run_dir:
        with st.container(horizontal=True, vertical_alignment="center"):
            _draw_actions(run_dir)
        live.draw_run(run_dir, "train-live")


def _draw_box(run_dir: Path | None) -> Any:
    """Return where the form is drawn, None while it is folded.

    It folds when a run starts, so that its curves are in sight, and is open again when the page is next opened after its end.
    """
    if run_dir is None:
        return st.container()
    state = st.session_state
    if address.is_opened():
        own = _RUN in state and active_jobs.is_active(run_dir)
        state[_OPEN] = not (own or _RUN in st.query_params)
    if state.pop(_FOLD, False):
        state[_OPEN] = False
    box = st.expander("Configuration", expanded=True, icon=":material/settings:", key=_OPEN, on_change="rerun")
    return box if box.open else None


def _draw_configuration(header: Any, place: Any, can_be_empty: bool) -> None:
    """Draw where the settings come from into the header, and the form with *Start* into its place."""
    with header.container(horizontal=True, vertical_alignment="center", width="content"):
        source = st.empty()
        reset = st.empty()
        train_form.draw_presets()
    with place:
        _draw_form(_read_data(can_be_empty))
        form.save()
        source.caption(as_text(form.settings_source()))
        help_ = "Sets all settings of a run to their defaults. Data stay."
        if form.can_reset():
            reset.button("Reset", type="tertiary", key="train.reset", help=help_, on_click=form.reset)
        config = _read_form()
        budget_preview.draw_budget(config)
        _draw_start(config)


def _draw_start(config: Config | None) -> None:
    """Draw the run's name, *Start*, the equivalent command and the expected time; start the run on the click."""
    runner = get_runner()
    runner.start()  # its thread loads torch while the form is read; a server that only shows results never does
    has_place = runner.has_place()
    with st.container(horizontal=True, vertical_alignment="bottom", key="start-line"):
        form.field("logging.run_name", width=240)
        start = st.button(
            "Start" if has_place else "Queue",
            type="primary",
            icon=":material/play_arrow:",
            key="start",
            disabled=config is None,
        )
        if config is not None:
            _draw_command(config)
            if estimate := train_form.estimate(config):
                st.caption(estimate)
    if start and config is not None:
        _start(config, fold=has_place)


def _read_data(can_be_empty: bool) -> dict[str, Any] | None:
    """Return the summary of the chosen data; None when it is unreadable. Without any data, end the page."""
    try:
        return cache.manifest_summary(form.config())
    except CtbenchError as error:
        if can_be_empty and not form.is_data_changed():
            show_empty(
                "No data yet", "Choose a feature root and manifests, or create the demo data.", "Choose data", "data"
            )
            newest_data.offer()
            st.stop()
        show_error("The chosen data cannot be read", str(error))
        return None


def _read_form() -> Config | None:
    """Return the settings; None, with the reason, when a field does not fit or the head refuses another setting."""
    try:
        config = form.config()
        check_training(config, config.training.target_labels or ())
    except CtbenchError as error:
        show_error("Invalid setting", str(error))
        return None
    return config


def _draw_form(data: dict[str, Any] | None) -> None:
    inputs, head, training = st.columns(3, gap="large")
    with inputs:
        train_form.draw_inputs(data)
    with head:
        train_form.draw_head(data)
    with training:
        train_form.draw_training()
    train_form.draw_advanced()


def _draw_command(config: Config) -> None:
    with st.popover(
        "Equivalent command", icon=":material/terminal:", key="train.command", on_change="rerun", type="tertiary"
    ) as popover:
        if popover.open:
            draw_command(config)


def _start(config: Config, fold: bool) -> None:
    """Queue a run and show it; ``fold`` the form where it trains at once."""
    with show_errors("The run cannot start"):
        read_training_manifests(config)  # shows an error of a manifest before anything is queued
        run_dir = get_runner().submit(config, sign_in.user())
        st.session_state[_RUN] = str(run_dir)
        st.query_params[_RUN] = run_dir.name
        st.session_state[_FOLD] = fold
        st.rerun()


def _shown_run() -> Path | None:
    """Return the run to show: the one started here, that of the address, or the active one."""
    if _RUN in st.session_state:
        return Path(st.session_state[_RUN])
    linked = st.query_params.get(_RUN)
    if not linked:
        return next(iter(get_runner().active()), None)
    rows = cache.run_rows(str(form.outputs_root()))
    run_dir = next((Path(row["run_dir"]) for row in rows if row["run_id"] == linked), None)
    if run_dir is None and not damaged.show(form.outputs_root(), [linked]):
        show_error(PAGES["train"].ids[_RUN], linked)
    return run_dir


def _draw_actions(run_dir: Path) -> None:
    """Draw *Stop* for an active run, else *Resume* where it can go on, and the way to its results."""
    if active_jobs.is_active(run_dir):
        if st.button("Stop", icon=":material/stop:", key="stop", help="Keeps the best epoch so far."):
            active_jobs.stop(run_dir)
        return
    with show_errors("This run cannot be read"):
        run_actions.draw_next(open_run(run_dir), "train")
    if st.button("Evaluate this run", icon=":material/query_stats:", key="to-evaluate"):
        go("evaluate", {"run": run_dir.name})
    st.button("Close", key="close", type="tertiary", on_click=_close)


def _close() -> None:
    st.session_state.pop(_RUN, None)
    st.query_params.pop(_RUN, None)
