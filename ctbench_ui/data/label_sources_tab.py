"""The tab that compares two label sources over the volumes that both label."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import streamlit as st

from ctbench_core.errors import InputError
from ctbench_core.features import check_allowed
from ctbench_core.formatting import format_cohort, plural
from ctbench_core.manifest import Agreement, compare_labels, read_manifest
from ctbench_ui import form
from ctbench_ui.data import plots
from ctbench_ui.shared import charts, feedback, folders, tables

_FIELDS = {"first": "First manifest", "second": "Second manifest"}
_ASKED = "sources.asked"


def draw() -> None:
    """Draw the tab."""
    left, right = st.columns([2, 3], gap="large")
    with left:
        given = [_field(name, label) for name, label in _FIELDS.items()]
        if st.button("Compare", type="primary", icon=":material/compare:", key="compare-labels"):
            st.session_state[_ASKED] = given
    with right:
        if st.session_state.get(_ASKED) != given:
            _waiting()
            return
        with feedback.guarded("These label sources cannot be compared"):
            _show(compared(given))


def _field(name: str, label: str) -> str:
    key = f"sources.{name}"
    present = st.session_state.setdefault(key, None)
    folder = Path(st.session_state.get("paths.manifest_dir") or ".")
    near = [str(folder / file) for file in folders.manifests(folder)]
    known = near if present is None or present in near else [present, *near]
    more: dict[str, Any] = {"accept_new_options": True, "persist_state": "session"}
    chosen = st.selectbox(label, known, key=key, placeholder="Type a path or choose", **more)
    return str(chosen or "").strip()


def _waiting() -> None:
    with st.container(border=True):
        st.subheader("Do two label sources agree?", anchor=False)
        st.markdown(
            "Choose two manifests of the same volumes, such as labels read by people and labels taken from the reports. "
            "**Compare** gives agreement, Cohen's kappa and both prevalences for each finding."
        )


def compared(paths: list[str]) -> Agreement:
    """Read two manifests and compare their labels.

    Raises:
        InputError: one is not named, not allowed or unreadable, or they share no volume or finding.
    """
    if not all(paths):
        raise InputError("Two manifests are needed. Choose the one that is blank.")
    columns, labels = form.config().data.columns, form.config().data.columns.labels
    first, second = (read_manifest(check_allowed(path), columns, labels) for path in paths)
    return compare_labels(first, second)


def _show(found: Agreement) -> None:
    st.success(f"{format_cohort(found.n)} in both", icon=":material/compare:")
    if found.only_first or found.only_second:
        st.caption(
            f"{plural(found.only_first, 'volume')} only in {found.first}, {plural(found.only_second, 'volume')} only in "
            f"{found.second}: left out. So are blank labels."
        )
    names = _names(found)
    st.caption(f"Columns {names[0]} and {names[1]} hold the prevalence in each.")
    share = st.column_config.NumberColumn(format=tables.SHARE)
    shown = found.table.rename(columns={"prevalence_first": names[0], "prevalence_second": names[1]})
    columns = ["finding", "kappa", "agreement", *names, "volumes", "both", "only_first", "only_second", "undefined"]
    if not shown["undefined"].any():
        columns.remove("undefined")
    config: dict[str, Any] = dict.fromkeys(("agreement", "kappa", *names), share)
    config |= {"only_first": f"positive in {found.first} only", "only_second": f"positive in {found.second} only"}
    st.dataframe(
        shown[columns], hide_index=True, height="content", column_config=config, alt="Agreement of two label sources"
    )
    tables.download("CSV", found.table, "label-agreement.csv", "agreement-csv")
    st.plotly_chart(
        plots.sources(found.table, *names),
        config=charts.CONFIG,
        key="sources-chart",
        alt="Prevalence of each finding in two label sources",
    )


def _names(found: Agreement) -> tuple[str, str]:
    """Tell two manifests of one file name apart."""
    if found.first != found.second:
        return found.first, found.second
    return "first", "second"
