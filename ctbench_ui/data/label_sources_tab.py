"""The tab that compares two label sources over the volumes that both label."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import streamlit as st

from ctbench_core.errors import InputError, first_rows
from ctbench_core.features import check_allowed
from ctbench_core.formatting import format_cohort, plural
from ctbench_core.manifest import Agreement, compare_labels, read_configured
from ctbench_ui import form
from ctbench_ui.data import plots
from ctbench_ui.shared import as_text, exports, folders, path_field, show_errors, show_hint
from ctbench_ui.shared.pictures import draw_plot

_FIELDS = {"first": "First manifest", "second": "Second manifest"}
_COMPARED = "sources.asked"


def draw() -> None:
    """Draw the tab."""
    left, right = st.columns([2, 3], gap="large")
    folder = Path(st.session_state.get("paths.manifest_dir") or ".")
    near = [str(folder / file) for file in folders.list_manifests(folder)]
    with left:
        paths = [path_field(f"sources.{name}", label, near) for name, label in _FIELDS.items()]
        if st.button("Compare", type="primary", icon=":material/compare:", key="compare-labels"):
            st.session_state[_COMPARED] = paths
    with right:
        if st.session_state.get(_COMPARED) != paths:
            _draw_waiting()
            return
        with show_errors("These label sources cannot be compared"):
            _draw_agreement(compare_manifests(paths))


def _draw_waiting() -> None:
    show_hint(
        "Do two label sources agree?",
        "Choose two manifests of the same volumes, such as manual labels and labels from reports. **Compare** gives "
        "agreement, Cohen's kappa and both prevalences for each finding.",
    )


def compare_manifests(paths: list[str]) -> Agreement:
    """Read two manifests and compare their labels.

    Raises:
        InputError: one is not named, not allowed or unreadable, or they share no volume or finding.
    """
    if not all(paths):
        raise InputError("Two manifests are needed. Choose the missing one.")
    first, second = (read_configured(check_allowed(path), form.config()) for path in paths)
    return compare_labels(first, second)


def _draw_agreement(agreement: Agreement) -> None:
    st.success(f"{format_cohort(agreement.n)} in both", icon=":material/compare:")
    if agreement.only_first or agreement.only_second:
        st.caption(
            f"{plural(agreement.only_first, 'volume')} only in {as_text(agreement.first)}, "
            f"{plural(agreement.only_second, 'volume')} only in {as_text(agreement.second)}: left out, as are blank labels."
        )
    for name, findings in (
        (agreement.first, agreement.findings_only_first),
        (agreement.second, agreement.findings_only_second),
    ):
        if findings:
            st.caption(f"Only in {as_text(name)}, not compared: {as_text(first_rows(findings, 'finding'))}.")
    for text in agreement.warnings:
        st.warning(as_text(text), icon=":material/warning:")
    names = (agreement.first, agreement.second)
    if agreement.first == agreement.second:
        names = ("first", "second")
    st.caption(f"Columns {as_text(names[0])} and {as_text(names[1])} hold the prevalence in each.")
    table = agreement.table.rename(columns={"prevalence_first": names[0], "prevalence_second": names[1]})
    columns = ["finding", "kappa", "agreement", *names, "volumes", "both", "only_first", "only_second", "undefined"]
    if not table["undefined"].any():
        columns.remove("undefined")
    config: dict[str, Any] = {
        **{name: name.capitalize() for name in ("finding", "volumes", "undefined")},
        "agreement": "Agreement",
        "kappa": "Kappa",
        "both": "Positive in both",
        "only_first": f"Positive in {agreement.first} only",
        "only_second": f"Positive in {agreement.second} only",
    }
    alt = "Agreement of two label sources"
    st.dataframe(exports.styled(table[columns]), hide_index=True, height="content", column_config=config, alt=alt)
    exports.download("Download CSV", agreement.table, "label-agreement.csv", "agreement-csv")
    alt = "Prevalence of each finding in two label sources"
    draw_plot(plots.prevalences(agreement.table, *names), "sources-chart", "label-agreement", alt)
