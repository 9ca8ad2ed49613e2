"""The runs that Evaluate and Compare show: what can be chosen, and the links that carry the choice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

from ctbench_core.formatting import format_metric, plural
from ctbench_ui.pages import go
from ctbench_ui.shared import cache

MOST = 6  # a baseline and five others
_RUN, _RUNS = "run", "runs"  # query parameters
_LAST_LINK = "compare.link"


def evaluable(outputs_root: str) -> dict[str, dict[str, Any]]:
    """Return the runs with results, trained or imported predictions: rows of `cache.run_row` by run id, newest first."""
    return {row["run_id"]: row for row in cache.run_rows(outputs_root, None) if _has_results(row)}


def _has_results(row: dict[str, Any]) -> bool:
    if row["kind"] == "score":
        return bool(row["tests"])
    return row["kind"] == "train" and (row["best_epoch"] is not None or row["val_auprc"] is not None)


def title(row: dict[str, Any]) -> str:
    """Write a run as an option of a picker."""
    trained = f"{row['encoder']} · validation AUPRC {format_metric(row['val_auprc'])}"
    return f"{row['name']} · {'predictions' if row['kind'] == 'score' else trained} · {row['run_id']}"


def pick_run(rows: dict[str, dict[str, Any]]) -> str:
    """Draw the choice of a run; the address carries its id, where a bound widget would carry its title."""
    linked = st.query_params.get(_RUN)
    if linked in rows:
        st.session_state[_RUN] = linked
    elif st.session_state.get(_RUN) not in rows:
        st.session_state.pop(_RUN, None)
    return st.selectbox(
        "Run",
        list(rows),
        key=_RUN,
        persist_state="session",
        format_func=lambda run_id: title(rows[run_id]),
        on_change=_write_run_link,
    )


def _write_run_link() -> None:
    st.query_params[_RUN] = st.session_state[_RUN]


def offer_comparison(runs: pd.DataFrame) -> None:
    """Offer to compare the selected runs; the first one selected is the baseline.

    Args:
        runs: rows of `cache.run_row` by run id, in the order of their selection.
    """
    scored = list(runs.index[runs["tests"].map(bool)])
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        text = f"**{plural(len(runs), 'run')} selected**"
        if missing := len(runs) - len(scored):
            text += f" :gray[{missing} without test results]"
        st.markdown(text)
        if st.button(
            "Compare selected",
            type="primary",
            icon=":material/compare:",
            key="compare-selected",
            disabled=not 2 <= len(scored) <= MOST,
            help=f"2 to {MOST} runs with test results.",
        ):
            go("compare", {_RUNS: ",".join(scored)})


def read_compare_link(rows: Mapping[str, Any]) -> None:
    """Set the fields of the Compare page to the runs of the address, once for each new address.

    Args:
        rows: what can be compared, by run id.
    """
    link = st.query_params.get(_RUNS, "")
    if link == st.session_state.get(_LAST_LINK, ""):
        return
    st.session_state[_LAST_LINK] = link
    linked_ids = [run_id for run_id in link.split(",") if run_id in rows]
    if len(linked_ids) > 1:
        st.session_state["compare.baseline"], *st.session_state["compare.others"] = linked_ids[:MOST]


def write_compare_link(run_ids: list[str]) -> None:
    """Put the compared runs into the address."""
    st.session_state[_LAST_LINK] = st.query_params[_RUNS] = ",".join(run_ids)
