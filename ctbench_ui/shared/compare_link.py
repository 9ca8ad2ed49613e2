"""Several runs at once: those that have opened a test set go to the Compare page, by a link that can be passed on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

from ctbench_core.formatting import plural
from ctbench_ui.pages import go

MOST = 6  # a baseline and five others
_LINK = "runs"
_TAKEN = "compare.taken"


def draw(runs: pd.DataFrame) -> None:
    """Offer to compare the selected runs; the first one selected is the baseline.

    Args:
        runs: rows of `cache.run_row` by run id, in the order of their selection.
    """
    scored = list(runs.index[runs["tests"].map(bool)])
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        said = f"**{plural(len(runs), 'run')} selected**"
        if left := len(runs) - len(scored):
            said += f" :gray[{left} without an opened test set]"
        st.markdown(said)
        if st.button(
            "Compare selected",
            type="primary",
            icon=":material/compare:",
            key="compare-selected",
            disabled=not 2 <= len(scored) <= MOST,
            help=f"Two to {MOST} runs whose test set was opened.",
        ):
            go("compare", {_LINK: ",".join(scored)})


def take_link(rows: Mapping[str, Any]) -> None:
    """Set the fields of the Compare page to the runs of the address, once for each address that one arrives with.

    Args:
        rows: what can be compared, by run id.
    """
    asked = st.query_params.get(_LINK, "")
    if asked == st.session_state.get(_TAKEN, ""):
        return
    st.session_state[_TAKEN] = asked
    known = [run_id for run_id in asked.split(",") if run_id in rows]
    if len(known) > 1:
        st.session_state["compare.baseline"], *st.session_state["compare.others"] = known[:MOST]


def keep_link(run_ids: list[str]) -> None:
    """Put the compared runs into the address."""
    st.session_state[_TAKEN] = st.query_params[_LINK] = ",".join(run_ids)
