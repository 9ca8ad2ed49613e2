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
# In the order of the table; a phone shows the first ones.
_COLUMNS: dict[str, Any] = {
    "model": st.column_config.TextColumn("Published model", pinned=True),
    "value": st.column_config.NumberColumn("Macro AUROC", help="Mean AUROC over the findings, as published."),
    "findings": st.column_config.NumberColumn("Findings", help="How many findings the mean goes over."),
    "why": st.column_config.TextColumn(
        "What differs from these runs", help="Compare by eye only where nothing of weight differs.", width=440
    ),
    "n": st.column_config.NumberColumn("Test volumes", help="A dash: not stated.", format="localized"),
    "cohort": st.column_config.TextColumn("Test set"),
    "protocol": st.column_config.TextColumn("How it was trained"),
    "source": st.column_config.TextColumn("Source"),
    "sd": st.column_config.NumberColumn("SD", help="Standard deviation over seeds or folds, where it is published."),
    "evidence": st.column_config.TextColumn("Read in", help="The source itself, its abstract, or another text."),
    "note": st.column_config.TextColumn("Note"),
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
    st.container(key="compare-published").dataframe(
        exports.styled(table[list(_COLUMNS)]),
        hide_index=True,
        column_config=_COLUMNS,
        placeholder="–",
        alt="Published macro AUROC, and what differs from these runs",
    )
    st.caption(
        "No difference from a published result is tested: a test pairs the scores of the same volumes, and these are not "
        "published. Where volumes, findings or training differ, so may the results of one and the same model."
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
