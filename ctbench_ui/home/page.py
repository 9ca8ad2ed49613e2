"""The Home page: three steps with their state, the best runs, and demo data for a start."""

from __future__ import annotations

from typing import Any

import streamlit as st

from ctbench_core.errors import CtbenchError
from ctbench_core.formatting import format_cohort, format_metric, plural
from ctbench_core.runs import RunTable, name_of
from ctbench_ui import form
from ctbench_ui.home import best_runs, recent_runs
from ctbench_ui.pages import go, page
from ctbench_ui.shared import active_jobs, as_text, cache, damaged, demo, newest_data

_DONE, _NOW, _OPEN = ":green[:material/check_circle:]", ":blue[:material/pending:]", ":gray[:material/circle:]"
_EVERY_S = 1.5


def draw() -> None:
    """Draw the page."""
    root = form.outputs_root()
    table = cache.read_table(root)
    rows = cache.named(table.training_runs)
    with st.container(horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute"):
        st.title("ctbench", anchor=False)
        if rows and st.button("New run", type="primary", icon=":material/add:", key="new-run"):
            go("train")
    st.markdown(
        "Train heads on pre-computed embeddings of chest CT volumes and reports, evaluate by finding, and measure how well "
        "images and reports align."
    )
    _draw_steps(rows, table)
    damaged.draw_list(table.damaged)
    if not rows:
        _offer_demo()
        return
    best, recent = st.columns([7, 2], gap="medium")
    with best:
        best_runs.draw(rows)
    with recent:
        recent_runs.draw_recent(rows, recent_runs.last_visit(root))


def _draw_steps(rows: list[dict[str, Any]], table: RunTable) -> None:
    """Draw the three steps from data to results; while a run is active, the second redraws itself."""
    active = bool(active_jobs.list_runs())
    data, train, results = (column.container(border=True, height="stretch", gap="small") for column in st.columns(3))
    with data:
        _draw_data_step(table)
    with train:
        st.fragment(_draw_train_step, run_every=_EVERY_S if active else None)(len(rows))
    with results:
        _draw_results_step(rows)


def _draw_data_step(table: RunTable) -> None:
    try:
        summary = cache.manifest_summary(form.config())
    except CtbenchError:
        _draw_step(_NOW, "1 · Data", "Choose features and manifests.")
        newest_data.offer(table)
    else:
        _draw_step(
            _DONE, "1 · Data", f"{as_text(form.dataset_name() or summary['name'])} · {format_cohort(summary['counts'])}"
        )
    st.page_link(page("data"), label="Choose and check data", icon=":material/database:")


def _draw_train_step(runs: int) -> None:
    active = active_jobs.list_runs()
    status = active_jobs.status_of(active[0]) if active else None
    if status is not None:
        queued = f" · {len(active) - 1} more" if len(active) > 1 else ""
        _draw_step(
            _NOW,
            "2 · Train",
            f"{as_text(name_of(active[0], status))} · epoch {status.epoch:,}/{status.max_epochs:,}{queued}",
        )
        st.progress(active_jobs.share_done(status))
        st.page_link(page("runs"), label="Open the run", icon=":material/monitoring:")
        return
    _draw_step(_DONE if runs else _OPEN, "2 · Train", f"{plural(runs, 'run')} so far." if runs else "No runs yet.")
    st.page_link(page("train"), label="Configure a run", icon=":material/model_training:")


def _draw_results_step(rows: list[dict[str, Any]]) -> None:
    evaluated = next((row for row in rows if row["tests"]), None)
    text = "No test results yet. Tune on validation first."
    if evaluated is not None:
        name, value = next(iter(evaluated["tests"].items()))
        text = f"Latest: AUPRC {format_metric(value)} on {as_text(name)}, {as_text(evaluated['name'])}."
    _draw_step(_DONE if evaluated else _OPEN, "3 · Results", text)
    st.page_link(page("evaluate"), label="Evaluate by finding", icon=":material/query_stats:")


def _draw_step(mark: str, title: str, text: str) -> None:
    st.markdown(f"{mark} **{title}**")
    st.caption(text)


def _offer_demo() -> None:
    with st.container(border=True, horizontal_alignment="center"):
        st.space("small")
        st.header("See it work in a minute", text_alignment="center", anchor=False)
        st.markdown(
            "Demo data: synthetic vectors with CT-RATE's 18 findings and their prevalence.", text_alignment="center"
        )
        if st.button("Try it with demo data", type="primary", icon=":material/science:", key="demo"):
            demo.create()
        st.space("small")
