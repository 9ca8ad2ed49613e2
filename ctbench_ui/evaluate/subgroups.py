"""Subgroups of a test set: figures of each group of a metadata column, and the gap to its complement."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import streamlit as st

from ctbench_core.evaluate import MACRO, METRICS, columns_of, known_subgroups, subgroups_of
from ctbench_core.formatting import format_interval, format_p, plural
from ctbench_core.runs import EvaluationPaths
from ctbench_ui.shared import cache, feedback, figures, forest, tables
from ctbench_ui.shared.cache import Stamp
from ctbench_ui.shared.figures import Source

_TITLES = {"auprc": "AUPRC", "auroc": "AUROC"}
_NUMBER, _TEXT = st.column_config.NumberColumn, st.column_config.TextColumn
_COLUMNS = {
    "group": _TEXT("Group", pinned=True),
    "volumes": _NUMBER("Volumes", format="localized"),
    "patients": _NUMBER("Patients", format="localized"),
    "positives": _NUMBER("Positives", format="localized", help="Positive labels; of the macro mean, of all findings."),
    "prevalence": _NUMBER("Prev.", format=tables.SHARE, help="The AUPRC of chance in the group."),
    "value": _TEXT("Group [95 %]"),
    "complement": _NUMBER("Others", format=tables.SHARE, help="All other volumes whose group is known."),
    "gap": _TEXT("Gap [95 %]", help="Group less others; patients resampled, not adjusted."),
    "p_adjusted": _TEXT("adj. p", help="Benjamini-Hochberg over all groups, findings and metrics of this column."),
    "reason": _TEXT("Note"),
}


def tab(paths: EvaluationPaths, labels: list[str], source: Source) -> None:
    """Draw the groups of one metadata column against their complements."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        own = _columns(cache.stamp(paths.scores), cache.stamp(paths.metadata), None)
        table, names, column = _other_table(bool(own)), None, None
        with feedback.guarded("This table cannot be used"):
            names = own if table is None else _columns(cache.stamp(paths.scores), table, table)
            column = st.selectbox("Groups by", names, key="subgroups.column", width=220) if names else None
        metric = st.segmented_control(
            "Metric",
            list(METRICS),
            default=METRICS[0],
            required=True,
            key="subgroups.metric",
            format_func=_TITLES.__getitem__,
        )
        rows = [MACRO, *labels]
        finding = st.selectbox("Finding", rows, key="subgroups.finding", width=260, format_func=_titled)
    if names is None:
        return
    if column is None:
        st.info(
            "The manifest of this test set has no column that divides its volumes into groups (sex, age, manufacturer "
            "...). Name a table that has them, one row a volume.",
            icon=":material/group_off:",
        )
        return
    found = _table(paths, column, table)
    if not len(found):
        st.info(f"{column} has one group only: there is nothing to compare.")
        return
    _draw(found[found["metric"] == (metric or METRICS[0])], str(finding), column, labels, source)
    tables.download("All groups, findings and metrics", found, f"{source.stem}-{column}.csv", "subgroups-csv", source)


def _titled(finding: str) -> str:
    return "Macro mean" if finding == MACRO else finding


def _other_table(has_own: bool) -> Stamp | None:
    """Let a table of metadata be named; return its stamp."""
    path = st.text_input(
        "Table of metadata" if has_own else "Table of metadata (CSV or Parquet)",
        key="subgroups.table",
        width=240,
        placeholder="the manifest's own columns" if has_own else "path, one row a volume",
        persist_state="session",
    )
    return cache.stamp(Path(path.strip())) if path and path.strip() else None


@st.cache_data(max_entries=32, show_spinner=False)
def _columns(scores: Stamp, metadata: Stamp, table: Stamp | None) -> list[str]:
    return columns_of(EvaluationPaths(Path(scores[0]).parent), table[0] if table else None)


def _table(paths: EvaluationPaths, column: str, table: Stamp | None) -> pd.DataFrame:
    """Return the table of a column: stored, remembered, or worked out now under a bar."""
    if table is None and known_subgroups(paths, column) is not None:
        return cache.table(cache.stamp(paths.subgroups(column)))
    return _worked_out(cache.stamp(paths.scores), column, table)


@st.cache_data(max_entries=32, show_spinner=False)
def _worked_out(scores: Stamp, column: str, table: Stamp | None) -> pd.DataFrame:
    with feedback.progress(f"Resampling patients by {column}") as progress:
        return subgroups_of(EvaluationPaths(Path(scores[0]).parent), column, table[0] if table else None, progress)


def _draw(part: pd.DataFrame, finding: str, column: str, labels: list[str], source: Source) -> None:
    mine = part[part["finding"] == finding]
    st.dataframe(
        shown(mine), hide_index=True, column_config=_COLUMNS, key="subgroups-table", placeholder="–", alt="Groups"
    )
    family, unknown = int(part["family"].iloc[0]), int(part["unknown"].iloc[0])
    left_out = f" {plural(unknown, 'volume')} of unknown {column} left out." if unknown else ""
    st.caption(
        f"{column}, {_titled(finding)}: each group against all others; p adjusted over the {plural(family, 'test')} of "
        f"this column, intervals not adjusted; at least 10 patients with and without the finding on both sides.{left_out}"
    )
    gaps = part.rename(columns={"group": "a", "finding": "label"})
    plot = gaps[["a", "label", "p_adjusted"]].assign(delta=gaps["gap"], lo=gaps["gap_lo"], hi=gaps["gap_hi"])
    groups = list(dict.fromkeys(plot["a"]))
    if len(groups) == 2:  # the other group's gaps are these, mirrored
        plot = plot[plot["a"] == groups[0]]
    title = f"{groups[0]} less {groups[1]}" if len(groups) == 2 else "group less all others"
    metric = _TITLES[str(part["metric"].iloc[0])]
    found = forest.forest(plot.dropna(subset=["lo"]), [MACRO, *labels], f"difference in {metric}: {title}")
    alt = f"Gaps in {metric} by finding and {column}, with 95 % intervals; filled where adjusted p < .05"
    figures.show(found, part, source, f"subgroups-{column}", alt)
    if metric == "AUPRC":
        st.caption(
            ":material/info: AUPRC grows with prevalence: groups in which a finding is more frequent score higher by that alone."
        )


def shown(rows: pd.DataFrame) -> pd.DataFrame:
    """Return what the table shows: figures with intervals as papers write them; no reason column where all are defined."""
    table = rows.copy()
    table["value"] = [format_interval(*_parts(row)) for row in rows[["value", "lo", "hi"]].to_numpy().tolist()]
    table["gap"] = [format_interval(*_parts(row)) for row in rows[["gap", "gap_lo", "gap_hi"]].to_numpy().tolist()]
    table["p_adjusted"] = [format_p(p) for p in rows["p_adjusted"]]
    columns = [name for name in _COLUMNS if name != "reason" or (rows["reason"] != "").any()]
    return table[columns]


def _parts(row: list[float]) -> tuple[float, list[float | None]]:
    return row[0], [row[1], row[2]]
