"""The tab of published results: what these runs reach here, and below it what was published, with what differs."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from ctbench_core.compare import published_frame
from ctbench_core.formatting import plural
from ctbench_core.inference import MACRO
from ctbench_core.report import difference_text, interval_title
from ctbench_core.runs import open_run
from ctbench_ui.shared import as_text, exports

_METRIC = "auroc"
_NUMBER, _TEXT = st.column_config.NumberColumn, st.column_config.TextColumn
_ROW = 68  # pixels of a row: three lines; Streamlit wraps no text in rows up to 64
# In the order of the tables; a phone shows the first ones. Long texts are wrapped, so that 1,280 pixels show all columns.
_RESULTS: dict[str, Any] = {
    "model": _TEXT("Published model", pinned=True, width=140),
    "value": _NUMBER("Macro AUROC", help="Mean AUROC over the findings, as published.", width=105),
    "why": _TEXT(
        "What differs from these runs", help="Compare by eye only where nothing of weight differs.", width=290
    ),
    "findings": _NUMBER("Findings", help="How many findings the mean goes over.", width=78),
    "cohort": _TEXT("Test set", width=140),
    "protocol": _TEXT("How it was trained", width=222),
}
_SOURCES: dict[str, Any] = {
    "model": _TEXT("Published model", pinned=True, width=140),
    "source": _TEXT("Source", width=190),
    "evidence": _TEXT("Read in", help="The source itself, its abstract, or another text.", width=100),
    "n": _NUMBER("Test volumes", help="A dash: not stated.", format="localized", width=100),
    "sd": _NUMBER("SD", help="Standard deviation over seeds or folds, where it is published.", width=60),
    "note": _TEXT("Note", width=370),
}


def tab(comparison: dict[str, Any], run_dirs: list[str], on: str) -> None:
    """Draw the macro AUROC of these runs, then published ones with what differs from these runs."""
    volumes, labels = comparison["n"]["volumes"], comparison["labels"]
    st.markdown(
        f"**These runs**, measured here: macro AUROC on **{as_text(on)}**, {plural(volumes, 'volume')}, "
        f"{plural(len(labels), 'finding')}"
    )
    _draw_own(comparison["metrics"])
    st.markdown("**Published results**, as their sources state them; none was measured here")
    table = published_frame(_METRIC, labels, volumes, open_run(run_dirs[0]).config.model.inputs)
    table = table.astype(dict.fromkeys(["n", "findings"], "Int64"))  # counts, not metrics
    # Streamlit gives a table without selection no class from its key.
    with st.container(key="compare-published"):
        _draw_wrapped(table, _RESULTS, "Published macro AUROC, and what differs from these runs")
    with st.expander("Sources and notes"):
        _draw_wrapped(table, _SOURCES, "Sources of the published results, test volumes, SD and notes")
    st.caption(
        "No difference from a published result is tested: a test pairs the scores of the same volumes, and these are not "
        "published. Where volumes, findings or training differ, so may the results of one and the same model."
    )


def _draw_wrapped(table: pd.DataFrame, columns: dict[str, Any], alt: str) -> None:
    shown = exports.styled(table[list(columns)], pinned="model")
    st.dataframe(
        shown,
        hide_index=True,
        column_config=columns,
        width="content",
        height=38 + 8 * _ROW,
        row_height=_ROW,
        placeholder="–",
        alt=alt,
    )


def _draw_own(metrics: pd.DataFrame) -> None:
    """Draw the macro mean of each run or recipe, over all its seeds."""
    rows = metrics[(metrics["finding"] == MACRO) & (metrics["metric"] == _METRIC)]
    shown = {
        "Run": rows["model"],
        interval_title(rows, "Macro AUROC"): [
            difference_text(row.value, (row.lo, row.hi), (row.range_lo, row.range_hi)) for row in rows.itertuples()
        ],
    }
    if rows["seeds"].max() > 1:
        shown["Seeds"] = rows["seeds"]
    st.dataframe(pd.DataFrame(shown), hide_index=True, width="content", alt="Macro AUROC of these runs")
