"""The three steps from data to figures, each with where one stands."""

from __future__ import annotations

from typing import Any

import streamlit as st

from ctbench_core.errors import CtbenchError
from ctbench_core.formatting import format_cohort, format_metric, plural
from ctbench_ui import form
from ctbench_ui.frame import status_bar
from ctbench_ui.pages import page
from ctbench_ui.shared import active_jobs, cache

_DONE, _NOW, _OPEN = ":green[:material/check_circle:]", ":blue[:material/pending:]", ":gray[:material/circle:]"


def draw(rows: list[dict[str, Any]]) -> None:
    """Draw the steps; while a run is at work they redraw themselves.

    Args:
        rows: rows of `cache.run_row`.
    """
    active = bool(active_jobs.folders())
    data, train, look = st.columns(3)
    with data.container(border=True, height="stretch", gap="small"):
        _data()
    with train.container(border=True, height="stretch", gap="small"):
        st.fragment(_train, run_every=1.5 if active else None)(len(rows))
    with look.container(border=True, height="stretch", gap="small"):
        _look(rows)


def _data() -> None:
    try:
        found = cache.manifest_summary(form.config())
    except CtbenchError:
        _step(_NOW, "1 · Data", "Choose features and manifests.")
    else:
        _step(_DONE, "1 · Data", f"{form.dataset_name() or found['name']} · {format_cohort(found['counts'])}")
    st.page_link(page("data"), label="Choose and check", icon=":material/database:")


def _train(runs: int) -> None:
    going = active_jobs.folders()
    status = active_jobs.status_of(going[0]) if going else None
    if status is not None:
        waiting = f" · {len(going) - 1} more" if len(going) > 1 else ""
        _step(_NOW, "2 · Train", f"{status.label} · epoch {status.epoch:,}/{status.max_epochs:,}{waiting}")
        st.progress(status_bar.share(status))
        st.page_link(page("runs"), label="Watch it", icon=":material/monitoring:")
        return
    _step(_DONE if runs else _OPEN, "2 · Train", f"{plural(runs, 'run')} so far." if runs else "No run yet.")
    st.page_link(page("train"), label="Set up a head", icon=":material/model_training:")


def _look(rows: list[dict[str, Any]]) -> None:
    opened = next((row for row in rows if row["tests"]), None)
    said = "No test set opened yet: choose on validation first."
    if opened is not None:
        name, value = next(iter(opened["tests"].items()))
        said = f"Last opened: {name}, AUPRC {format_metric(value)}, {opened['name']}."
    _step(_DONE if opened else _OPEN, "3 · Look", said)
    st.page_link(page("evaluate"), label="Evaluate by finding", icon=":material/query_stats:")


def _step(mark: str, title: str, said: str) -> None:
    st.markdown(f"{mark} **{title}**")
    st.caption(said)
