"""What a test set of another data set was judged by: pairs of findings, both prevalences, and what was left out."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from ctbench_core.declared import SOURCE_PREVALENCE, metric_help, short_title
from ctbench_core.formatting import plural
from ctbench_core.runs import Metrics
from ctbench_ui.shared import as_text, exports

_NUMBERS = (*SOURCE_PREVALENCE.values(), "prevalence", "labelled")


def draw(metrics: Metrics) -> None:
    """Draw the findings with their columns and prevalences; nothing for a set of the run's own data set."""
    facts = metrics.external
    if facts is None:
        return
    source = f" · label map {facts.label_map}" if facts.label_map else ""
    title = f"Another data set: {plural(len(metrics.findings), 'finding')} judged{source}"
    with st.expander(title, icon=":material/public:", expanded=True):
        number = st.column_config.NumberColumn
        shown = external_frame(metrics)
        st.dataframe(
            exports.styled(shown).format("{:.0f}", subset=["labelled"]),
            hide_index=True,
            column_config={name: number(short_title(name), help=metric_help(name)) for name in _NUMBERS},
            key="external",
            alt="Findings of a test set of another data set",
        )
        st.caption(
            "Thresholds and calibration come from the run's validation data. The Calibration tab also shows probabilities "
            "recalibrated for this test set's prevalence."
        )
        for text, names in (
            ("Findings of the run that are not judged", facts.not_judged),
            ("Label columns of this test set that are not used", facts.unused),
        ):
            if names:
                st.caption(f"**{text}**: " + as_text("; ".join(f"{name} ({why})" for name, why in names.items())))


def external_frame(metrics: Metrics) -> pd.DataFrame:
    """Return a row a finding: its columns in the test set, prevalences, N, and the choice that was made."""
    pairs = metrics.external.pairs if metrics.external else {}
    rows = []
    for label, finding in metrics.findings.items():
        pair = pairs.get(label, {})
        row: dict[str, Any] = {"Finding": label, "Columns": " or ".join(pair.get("columns", [label]))}
        row |= {name: finding.value(name) for name in _NUMBERS}
        rows.append(row | {"Choice": pair.get("note", "")})
    return pd.DataFrame(rows)
